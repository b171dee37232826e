"""Blurred photographs and their sharp ones, for training, choosing and judging.

`pairs`        pairs of a split, and the three splits of a study
`wanted`       how many, of which size
`frozen`       those of a study, fixed by its seed and kept
`photographs`  sharp ones: what is shipped, and folders
`debian`       more of them, from Debian's packages
`layouts`      data sets with pairs of their own
`listed`       pairs of files, by their names or a list
`split`        what is learned from, chosen by, judged by
`made`         pairs that are made, by what is drawn for each
`read`         pairs that are read
`kept`         arrays in the cache, whole or not at all
`light`        from numbers to light and back
`walk`         the path of a shaken camera, and its PSF
`blur`         what a blur is given and gives
`shake`        one PSF a picture; no blur
`frames`       an average of frames
`objects`      things that move
`warps`        what a camera sees that moves and turns
`noise`        noise of a sensor
"""
