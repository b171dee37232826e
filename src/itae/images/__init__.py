"""From files to pixels: which images there are, what they show, how they come to a model.

`datasets`     the classes that a ``dataset`` yaml names
`dataset`      what all of them have in common
`digits`       scikit-learn's digits, and what is made of them
`cub`, `cars`, `sop`, `inshop`  the benchmarks of metric learning
`listed_files` the lists of images that they come with
`files`        files and folders as a command line names them
`image_set`    the images that one of them finds: read, hashed, checked
`kept`         pictures as a store keeps them
`folder`       a folder of pictures as a data set
`walk`         what lies under a folder
`unread`       pictures in formats that are not read
`class_names`  which names can't be told apart, or are no classes
`formats`      how CIFAR, STL-10 and Tiny-ImageNet lie on the disk
`imagenet`     how ImageNet lies on the disk
`imagenet_lists`  the lists that come with it
`imagenet_real`  ImageNet ReaL's labels
`matlab`       the file that its devkit keeps its classes in
`decode`       one file to RGB, or why not
`header`       how large a picture is, before it is decoded
`chunks`       what in a PNG or JPEG its pixels hang on
`in_flight`    how many bytes of pictures there may be at once
`readers`      the formats that Pillow doesn't read as they are meant
`samples`      what a sample means: bits, colours, transparency
`tiff`         TIFF's photometric interpretations and layouts
`transform`    from a picture to the backbone's input
`batches`      pictures decoded ahead of the model
"""
