"""A base in a browser: search, judge, explain, correct. The page and the JSON API are one and the same.

`errors`    what is refused, as a status and a sentence
`settings`  for whom, within which limits, and where what lasts is kept
`apart`     conditions on rows, looked at in a process of their own
`desk`      the base as it is served: its newest version, its model, what is alike
`rows`      rows, edits and rules as JSON has them
`shared`    what all routes have in common
`app`       all of it put together

and rooms, each of which imports those before it alone; they stand between `shared` and `app`:

`door`      who may ask, and how much
`base`      the base and its rows
`search`    searches and their rounds
`know`      answers, lists, edits, the journal
`document`  the document of the API, and its page

The page itself is in ``static``: its modules ask the API as any script does.
"""
