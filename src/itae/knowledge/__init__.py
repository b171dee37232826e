"""The knowledge base: classification by neighbours in an external store that can be added to, corrected and unlearned.

To know more is to add a row; to unlearn is to delete it; no parameter changes, and the neighbours that were used
explain each answer.

`tables`    CSV files of labels, groups and metadata
`incoming`  a data set on its way into a base
`recipe`    how pictures become vectors of a base
`snapshot`  one version of a base in memory, which never changes: what every answer is a function of
"""
