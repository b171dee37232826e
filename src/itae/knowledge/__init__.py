"""The knowledge base: classification by neighbours in an external store that can be added to, corrected and unlearned.

To know more is to add a row; to unlearn is to delete it; no parameter changes, and the neighbours that were used
explain each answer.

A base and its edits:

`base`          a base: its edits, versions, tags
`rows`          what is handed over, and what may be kept of it
`filed`         rows as they are kept
`changes`       edits before they are made
`turned`        what an edit does to predictions, before it is made
`history`       what became of rows between versions; undo and restore
`places`        where images are now
`purge`         forgetting for good
`check`         whether a base is whole, and what there is of it

How it lies on a disk:

`versions`      versions as snapshots, verified, or made from the one in hand
`damage`        what is damaged in a version, told by a process of its own
`state`         the newest version as a process has it, and what a store is to it
`digests`       the checksums of rows, of blocks of them, of all
`journal`       what was done, by whom, when and why
`writing`       how an edit is written, by one process at a time
`sealed`        small files that begin with a checksum
`ranges`        numbers of rows as ranges
`about`         what a base is, and its other small files
`folder`        where small files are: a disk, an object store, memory
`where`         conditions in SQL
`pictures`      images whose bytes a base keeps
`lance_store`   rows in Lance
`lance_files`   the files of Lance datasets
`lance_rows`    rows as Lance takes and gives them
`memory_store`  rows in plain Python

What comes into it:

`recipe`        how pictures become vectors of a base
`rebuild`       the same base in another space
`exchange`      rows to and from other programs
`incoming`      a data set on its way into a base
`tables`        CSV files of labels, groups and metadata

Answers, all of them functions of a snapshot:

`snapshot`      one version of a base in memory, which never changes
`similarity`    of two vectors: one number, whatever computes it next to what
`neighbours`    the nearest rows of a query by cosine, exactly
`vote`          voters: how much each neighbour has to say
`ballot`        votes counted: shares of rows become scores of labels
`class_means`   the mean of each class, the same bits whatever the order of its rows
`held_out`      rows of the base asked as if they were not in it
`choose`        which voter, k and temperature, chosen inside the base
`unusual`       how unusual a query is against the base's own distances
`classify`      answers: label, scores, neighbours, what is known
`turn`          the fewest rows whose removal turns an answer
`turn_class_means`  rows whose removal turns an answer of class means
`why`           an answer explained: neighbours, their sources, what turns it
`index`         past memory: candidates from an index on the disk, its recall measured
`index_kind`    what an index needs of the library that makes it
`faiss_index`   an index of FAISS
`lance_index`   an index of Lance
`vector_file`   vectors that stay on the disk
`suspects`      rows that are likely labelled wrongly, and what speaks against them
`duplicates`    groups of rows of the same bytes, or nearly alike
`outliers`      rows far from all others, or from those of their class

Pages, gathered as plain data that `itae.look.page` draws:

`page_of_base`    of a base
`page_of_answer`  of one answer
`shown_rows`      what a page shows of a row
"""
