"""What was seen during a pass, streamed and kept beside the vectors.

`collect`       what all collectors share
`flags`         what was flagged in an edited pass
`flag_counts`   that of one batch and block, counted
`norms`         norms of the untouched model
`columns`       how much attention each token gets, in a few images
`sinks`         how long the values of flagged patches are, and how much attention they get
`outliers`      what an edit of tokens leaves
`per_image`     what is known of each image, and rates from it
`put_together`  of an entry whose rows are partly another's
`choose`        which of them a pass needs
"""
