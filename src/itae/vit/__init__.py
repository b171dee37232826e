"""Frozen vision transformers of timm's.

`backbone`     the settings of a model, its weights, and how it is built
`hub`          files of weights on the Hugging Face hub
`checkpoint`   a file of weights held against a model: what has to be in it, and what doesn't matter
`facts`        what is known of a model without its weights
`reachable`    whether a model's attention can be edited
`linear`       a block taken for linear, and what all blocks stretch most
`door`         the one place where an attention call is seen, and answered
`tokens`       a token more behind the patches
`digits_vit`   the embedded model
`digits_clip`  the embedded model whose images share a space with words
`blank`        no random initialisation of weights that are loaded over
`timm_import`  timm without torch's compiler
"""
