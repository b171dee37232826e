"""embeddings = f(dataset, backbone, edit): one pass of a frozen model for many edits.

`source`           a data set seen through a backbone
`encoder`          pictures in, vectors out, without a data set
`extract`          what is missing is computed, the rest is read
`settle`           thresholds and neurons, known before a pass
`kept`             the files that they are kept in
`gather`           values and registers of calibration images, for edits that take some
`kept_arrays`      the files that these are kept in
`row_space`        what a row depends on beside the image
`find_rows`        which other entries have rows that are missing
`rows`             what is taken from them, and what has to pass
`work`             the shards of one pass
`resume`           what an interrupted run has left, and how it is gone on with
`worker`           a model at work on the images
`on_ray`           the workers of a Ray cluster
`ray_cluster`      how to join one, and tasks on it
`replay`           the shared pass: record once, replay under each edit
`edited_blocks`    its blocks, each run under the edits whose turn it is
`plan`             in which blocks edits do the same
`watch`            who looks on, and what they are shown
`walk`             many images through the blocks, for what edits need of calibration images
`record`           what the untouched model did
`prove`            whether edits of a model can be trusted
`fit_layers`       runs the fit of ``rule: bimodal`` on a model's calibration images
`calibration`      the file that they travel in
`register_search`  which neurons make the outliers
`about`            what is known of an edited pass
`diagnostics`      what was seen during a pass
"""
