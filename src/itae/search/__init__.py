"""Search that learns what you mean: images by similarity, and again by what was judged on the way; nothing is trained.

`judged`    what was asked, and what of the images shown was a yes or a no
`rule`      what a rule of feedback is: what it sees of a row, and what it has to have
`trained`   those that scikit-learn trains
`rules`     how judged images change the order: the classes of the group ``feedback``
`alike`     how alike each row is to the query and to what was judged, kept from round to round
`rank`      the one function that ranks, for command, page and simulated users
`search`    pages of one query in one version of a base
`sought`    what is looked for, and which rows are that themselves
`rounds`    the rounds of a session: the next, a longer one, one of then
`session`   what was asked, shown and judged, from which the same comes again
`session_file`  a session on the disk
`filters`   which rows may be found
`folded`    results that are nearly the same
`text`      words in the space of images
`diverse`   a page for who has found nothing yet
`users`     simulated users: the classes of the group ``user``
"""
