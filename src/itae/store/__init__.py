"""Embeddings on the disk: found by all that they depend on, whole or not there, verified as they are read.

`store`   look up, claim, publish, prune
`claims`  who is at work on what
`entry`   one entry: its key, its checksums, how it is read and verified
`draft`   an entry in the making, shard by shard
`arrays`  the arrays of shards put together, and their bytes
`donors`  entries that others may take rows from
`survey`  what lies in it, for people to see
"""
