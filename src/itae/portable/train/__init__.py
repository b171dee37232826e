"""Networks learn from pairs, on the processor and in minutes, and what they reach is judged.

`options`  how a network is trained
`loop`     a training, kept by content, which goes on after a kill
`going`    what all trainings have in common
`kept`     its weights on the disk
`state`    where it stands, in one file
`start`    the network that it begins with
`steps`    one step, and a validation
`crops`    what a step learns from
`losses`   what an output is held against
`quality`  PSNR and SSIM, and their intervals over photographs
`lengths`  quality by the length of the blur
`wiener`   what is reached by who is told the blur
"""
