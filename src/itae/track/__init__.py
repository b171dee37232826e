"""Weights & Biases.

`tracking`       what a run logs
`labels`         what a run is called there: settings, else W&B's variables, checked before any work
`going_on`       whether the process that writes an offline run is still there
`wandb_service`  its background process, and how it ends
`sync`           runs that were logged offline
`dashboard`      a workspace and a report
"""
