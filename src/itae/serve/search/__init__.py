"""Searches by HTTP.

`search_models`  what they are asked and answer
`searches`       those of each user, in files
`rounds`         their rounds
`line`           the command that shows the same as the page
`search_api`     the routes
"""
