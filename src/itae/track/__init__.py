"""Weights & Biases.

`tracking`       what a run logs
`wandb_service`  its background process, and how it ends
`sync`           runs that were logged offline
`dashboard`      a workspace and a report
"""
