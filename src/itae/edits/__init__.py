"""Which patch tokens are artifacts, and what is done about them.

`detectors`  those detectors that are chosen as `itae.detect`, from one place
`detect`     what they have in common; value, key, query and residual norm, attention, random
`combined`   a detector that takes several of these norms as one
`attenuate`  the attenuators: floor, scale, fade, blend, cap, mean value
`local_outlier`  one more detector: patches in thin places of their image's tokens
`singular_defect`  one more: patches along the direction that the weights stretch most
`controls`   what an edit is held against
`edit`       a detector, an attenuator and some blocks
`found`      what edits by a detector have in common
`neighbour_mean`  another kind of edit: flagged tokens become the mean of their neighbours
`registers`  another: a token more that takes the outliers
`augment`    another: the mean over several views of an image
`register_mean`  another, for a control: registers that say nothing of the image
`shuffle`    an attenuator for a control: values of other images
`gathered`   what an edit takes from calibration images beside thresholds
`site`       what a detector sees and returns
`bimodal`    a threshold between two modes, fitted without labels: the fit itself
`attention`  rows of attention under several rules
"""
