"""Networks on devices: a cell of a table for each network on each device.

`asked`     what is asked for: networks, devices, the clock
`pictures`  what is run on
`ready`     exports, open and held against torch
`ratio`     a time over the base's, and its interval
`timed`     their times: the result as plain values
"""
