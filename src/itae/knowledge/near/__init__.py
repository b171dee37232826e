"""The nearest rows, and how far is far.

`neighbours`   the nearest rows of a query by cosine, exactly
`held_out`     rows of the base asked as if they were not in it
`on_ray`       the nearest rows by the workers of a Ray cluster, the same to the last bit
`unusual`      how unusual a query is against the base's own distances
`index`        past memory: candidates from an index on the disk, its recall measured
`index_kind`   what an index needs of the library that makes it
`faiss_index`  an index of FAISS
`lance_index`  an index of Lance
"""
