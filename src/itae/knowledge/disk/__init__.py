"""Where rows, images and small files lie.

`folder`        small files: on a disk, in an object store, in memory
`lance_store`   rows in Lance
`lance_files`   the files of Lance datasets
`lance_rows`    rows as Lance takes and gives them
`addresses`     where in Lance rows lie, by their numbers
`memory_store`  rows in plain Python
`vector_file`   vectors that stay on the disk
`pictures`      images whose bytes a base keeps
"""
