"""Networks that suit devices, found instead of designed.

`options`     how a search is done
`space`       which U-Nets a search may choose from
`hand_made`   ten that a practitioner would draw, listed before any search
`parts`       where a U-Net's weights lie in those that all U-Nets of a space share
`supernet`    all U-Nets of a space in one set of weights
`settled`     its gains and biases at first
`sandwich`    which of them learn from a batch
`training`    that training, which goes on after a kill
`sliced`      one of them as a network of its own
`judge`       how well a U-Net of a space restores, and whether the supernet ranks as training alone would
`features`    what a network is made of, counted: from which its time is predicted
`predictor`   how long a network would take on a device, from those that were measured there
`candidates`  networks that a sampler asks for, judged and predicted
`trials`      one after the other: judged, predicted, told to the sampler
`lines`       what was judged, kept so that a killed search goes on
`chosen`      which of them are converted and measured
`fronts`      which are worth their time on a device, and the area under them
`regret`      what the best of one device costs on another, and one set for all
`summary`     all that was found, chosen on validation photographs and told on the test's
`front_file`  that as a file, with the networks themselves
`uses`        ten lines for each runtime that use one
`figures`     the same as pictures
`asked`       what a whole search is asked for
`measured`    networks that are measured before any is trained: what times are predicted from
`workers`     works side by side, in processes
`learned`     networks trained by themselves, the supernet beside them, and who judges candidates
`converted`   networks on devices: restored pictures, and times
`guidelines`  what a search says in sentences
`told`        what it came to: the result, and the files beside it
`study`       all of it, one stage after the other
`result`      what is written and printed of a run
"""
