"""The knowledge base: classification by neighbours in an external store that can be added to, corrected and unlearned.

To know more is to add a row; to unlearn is to delete it; no parameter changes, and the neighbours that were used
explain each answer.

`snapshot`    one version of a base in memory, which never changes: what every answer is a function of
`neighbours`  the nearest rows of a query by cosine, exactly
`vote`        voters: how much each neighbour has to say
`ballot`      votes counted: shares of rows become scores of labels
`class_means` the mean of each class, the same bits whatever the order of its rows
`held_out`    rows of the base asked as if they were not in it
`choose`      which voter, k and temperature, chosen inside the base
`unusual`     how unusual a query is against the base's own distances
`classify`    answers: label, scores, neighbours, what is known
`turn`        the fewest rows whose removal turns an answer
`why`         an answer explained: neighbours, their sources, what turns it
`index`       past memory: candidates from an index on the disk, vectors that stay there
`suspects`    rows that are likely labelled wrongly, and what speaks against them
`duplicates`  groups of rows of the same bytes, or nearly alike
`outliers`    rows far from all others, or from those of their class
"""
