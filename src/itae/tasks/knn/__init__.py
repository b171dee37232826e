"""The task of neighbours: images named by the nearest rows of a memory.

`task`       its settings; both sides asked and scored
`queries`    what a memory is asked, and by which labels answers are scored
`galleries`  who is asked: images or a base, and which rows are out for which query
`answers`    what one side's memory says of the queries
`scores`     scores of both sides, paired
`sweep`      many voters and many k on the same neighbours
`outcome`    what all of that says: scores, notes, files, figures
`files`      CSV files, and tables for the page
`figures`    its pictures
"""

from itae.tasks.knn.task import Knn

__all__ = ["Knn"]
