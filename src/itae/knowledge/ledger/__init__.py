"""What was done, by whom, when and why, and the versions that it made.

`journal`   the edits, one after the other
`about`     what a base is, and its other small files
`changes`   edits before they are made
`relabelled`  what they do to labels
`places`    where images are now
`state`     the newest version as a process has it, and what a store is to it
`versions`  versions as snapshots, verified, or made from the one in hand
`since`     whether rows were edited since somebody looked at them
`writing`   how an edit is written, by one process at a time
`history`   what became of rows between versions; undo and restore
`purge`     forgetting for good
`check`     whether a base is whole, and what there is of it
"""
