"""What each operator costs on each device.

`rows`          a network, and each change to it
`study`         the result as plain values
`table`         what each network takes on each device, and against the base
`correlations`  whether devices rank networks alike, and as their MACs do
`guidelines`    sentences that the table holds
`figures`       the same as pictures
`result`        what is written and printed of a run
"""
