"""A base in a browser: search, judge, explain, correct. The page and the JSON API are one and the same.

`desk`      the base as it is served: its newest version, its model, what is alike
`errors`    what is refused, as a status and a sentence
`app`       all of it put together
"""
