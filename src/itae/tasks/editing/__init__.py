"""The task of editing a memory: labels made wrong, found and mended.

`task`     its settings; both sides mended and paired
`corrupt`  how labels are made wrong
`repair`   in which order rows are looked at
`mending`  what a memory answers while its labels are mended
`scores`   the scores of one draw of wrong labels
`draws`    all draws, on one side
`found`    all that was found, for what follows
`outcome`  what it says of its metrics, its delta and details
`notes`    what to know before believing them
`files`    its CSV files
`figures`  its pictures
"""

from itae.tasks.editing.task import Editing

__all__ = ["Editing"]
