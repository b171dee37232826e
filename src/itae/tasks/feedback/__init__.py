"""The task of feedback: simulated users search, judge, and search again; what each rule makes of their marks.

`task`      its settings; both sides simulated and paired
`about`     what is said of images: labels, attributes, groups
`searches`  who searches what
`methods`   rules, and controls
`simulate`  one side's searches, round after round
`found`     means, pairs and intervals over searches
`outcome`   what it says of its metrics, its details and tables
`notes`     what to know before believing them
`files`     its CSV files
`figures`   its pictures
"""

from itae.tasks.feedback.task import Feedback

__all__ = ["Feedback"]
