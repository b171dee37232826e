"""The knowledge base: classification by neighbours in an external store that can be added to, corrected and unlearned.

To know more is to add a row; to unlearn is to delete it; no parameter changes, and the neighbours that were used
explain each answer.

`snapshot`      one version of a base in memory, which never changes: what every answer is a function of
`base`          a base: its edits, versions, tags
`rows`          what is handed over, and what may be kept of it
`filed`         rows as they are kept
`changes`       edits before they are made
`history`       what became of rows between versions; undo and restore
`places`        where images are now
`versions`      versions as snapshots, verified, or made from the one in hand
`state`         the newest version as a process has it, and what a store is to it
`digests`       the checksums of rows, of blocks of them, of all
`journal`       what was done, by whom, when and why
`sealed`        small files that begin with a checksum
`ranges`        numbers of rows as ranges
`about`         what a base is, and its other small files
`folder`        where small files are: a disk, an object store, memory
`where`         conditions in SQL
`exchange`      rows to and from other programs
`writing`       how an edit is written, by one process at a time
`purge`         forgetting for good
`check`         whether a base is whole, and what there is of it
`pictures`      images whose bytes a base keeps
`lance_store`   rows in Lance
`lance_files`   the files of Lance datasets
`lance_rows`    rows as Lance takes and gives them
`lance_images`  images in Lance
`memory_store`  rows and images in plain Python
"""
