"""What comes into a base, and what leaves it.

`recipe`    how pictures become vectors of a base
`incoming`  a data set on its way into a base
`tables`    CSV files of labels, groups and metadata
`exchange`  rows to and from other programs
`rebuild`   the same base in another space
"""
