"""``itae knowledge``: a base on the command line.

`main`   which verb is which function, and the help
`words`  what stands behind a verb: options, paths, and words of the config
"""
