"""Deblurring networks over devices that differ: what an operator costs on each, by a clock that can be believed.

`nets`       networks from a spec, and what they cost by counting
`devices`    runtimes of this machine, and a command of one's own
`parity`     whether a converted network still computes what torch computes
`clock`      interleaved rounds, how far a number can be trusted, and who else is at work
`cells`      networks on devices: exported, held against torch, timed
`operators`  what each operator costs on each device
`written`    what is written of a run
`data`       blurred photographs and their sharp ones
`train`      networks learn from those, and what they reach is judged
`optimise`   nets made cheaper, and how good they are after conversion
`deploy`     one network, trained, optimised and converted: what it restores on each device
`search`     networks that suit devices, found instead of designed
`named`      the classes that a yaml may name
"""
