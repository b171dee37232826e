"""Embeddings on the disk: found by all that they depend on, whole or not there, verified as they are read.

`store`  look up, claim, publish, list and prune
`entry`  one entry: its key, its checksums, how it is read and verified
`draft`  an entry in the making, shard by shard
"""
