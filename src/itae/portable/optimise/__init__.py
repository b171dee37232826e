"""Nets made cheaper on devices, by steps in any order, and what is left of their quality after conversion.

`state`          what steps take and return
`swap`           operators replaced by others
`carried`        the weights that go along with that
`prune`          channels taken out
`channels`       which ones
`pruned`         the net that is left
`pruned_module`  it, as a torch module
`post_training`  pictures by which devices quantise
`aware`          training on as if in eight bits
`fake`           the net for that
`fake_module`    it, as a torch module
`tune`           training on after a step
`kept`           weights that steps make
`budgets`        the least parity that a trained net has to keep
`deployed`       what devices make of real pictures, what is refused, and what is warned of
"""
