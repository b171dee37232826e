"""A clock that can be believed: networks and devices take turns, on a machine that is asked who else is at work.

`measure`    its settings
`reading`    what is timed, and what comes out
`rounds`     all cells in turns, each output looked at, until their times are steady
`kept`       what one cell has shown so far
`statistic`  what rounds come to, how far that can be trusted, and when two cells differ
`load`       what the machine is, and who else is at work
`alone`      one job that measures a machine
"""
