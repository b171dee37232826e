"""A base and its answers as plain data that `itae.look.page` draws.

`page_of_base`    of a base
`page_of_answer`  of one answer
`shown_rows`      what a page shows of a row
"""
