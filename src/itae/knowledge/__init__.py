"""The knowledge base: classification by neighbours in an external store that can be added to, corrected and unlearned.

To know more is to add a row; to unlearn is to delete it; no parameter changes, and the neighbours that were used
explain each answer.

`snapshot`    one version of a base in memory, which never changes: what every answer is a function of
`neighbours`  the nearest rows of a query by cosine, exactly
"""
