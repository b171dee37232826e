"""The task of a memory that grows, asked after each step.

`task`      its settings; both sides grown and paired
`arrivals`  which rows and classes come at which step
`growing`   what a memory and class means tell after each step
`trained`   what classifiers tell that are trained step by step
`grown`     what one side told, for its scores
`outcome`   scores of all methods, with table, files and figures
`notes`     what to know before believing them
`files`     its CSV files
`figures`   its pictures
"""

from itae.tasks.incremental.task import Incremental

__all__ = ["Incremental"]
