"""A base and its rows by HTTP.

`base_api`  what the base is, what changed, its rows
`pictures`  small pictures of rows
"""
