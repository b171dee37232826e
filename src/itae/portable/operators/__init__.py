"""What each operator costs on each device.

`asked`         what the study is asked for: a network, its changes, devices, the clock
`pictures`      what is run on
`ready`         exports, open and held against torch
`study`         their times: the result as plain values
`table`         what each network takes on each device, and against the base
`correlations`  whether devices rank networks alike, and as their MACs do
`guidelines`    sentences that the table holds
`figures`       the same as pictures
`result`        what is written and printed of a run
"""
