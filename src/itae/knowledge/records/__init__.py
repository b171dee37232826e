"""What a row is, and a version of all rows in memory.

`rows`        what is handed over, and what may be kept of it
`filed`       rows as they are kept
`snapshot`    one version of a base in memory, which never changes
`similarity`  of two vectors: one number, whatever computes it next to what
`digests`     the checksums of rows, of blocks of them, of all
`ranges`      numbers of rows as ranges
`sealed`      small files that begin with a checksum
`where`       conditions in SQL
"""
