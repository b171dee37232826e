"""One network, trained, optimised and converted: what it restores on each device, and how long that takes.

`asked`    what is asked for
`pairs`    its pairs, and what is told of them
`study`    the result as plain values
`crops`    pictures before and after, for a page
`figures`  the result as pictures
`result`   what is written and printed of a run
"""
