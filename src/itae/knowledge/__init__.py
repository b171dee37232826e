"""The knowledge base: classification by neighbours in an external store that can be added to, corrected and unlearned.

To know more is to add a row; to unlearn is to delete it; no parameter changes, and the neighbours that were used
explain each answer.

`base`      a base: its edits, versions, tags
`damage`    what is damaged in a version, told by a process of its own

and rooms, each of which imports those before it alone; `base` stands between `ledger` and `near`:

`records`   what a row is, and a version of all rows in memory
`disk`      where rows and small files lie: Lance, an object store, memory
`ledger`    what was done, by whom, when and why, and the versions that it made
`near`      the nearest rows, and how far is far
`answers`   which label, by which rows, and what would turn it
`curate`    rows that people who keep a base want to look at
`exchange`  what comes into a base, and what leaves it
`pages`     a base and its answers as plain data that `itae.look.page` draws
"""
