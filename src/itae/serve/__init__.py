"""A base in a browser: search, judge, explain, correct. The page and the JSON API are one and the same.

`desk`      the base as it is served: its newest version, its model, what is alike
`apart`     conditions on rows, in a process of their own
`errors`    what is refused, as a status and a sentence
`settings`  for whom, within which limits, and where what lasts is kept
`guard`     who may ask: host, page and user of a request, and the headers of all answers
`hosts`     the names of the server, and the pages that may write to it
`keys`      one-time codes, cookies and tokens
`token_files`  tokens of the users in files
`sign_in`   pages for who is not let in
`bodies`    how large the body of a request may be, and all of them
`uploads`   pictures that a browser sends
`rows`      rows, edits and rules as JSON has them
`pictures`  small pictures of rows
`line`      the command that shows the same as the page
`searches`  the searches of each user, in files
`rounds`    the rounds of a search
`search_models`, `search_api`  what searches are asked and answer
`base_api`  what the base is, and its rows
`once`      what takes long, done once for a version
`know_models`, `answers_api`, `lists_api`  what rows are and why, and which of them are worth a look
`edit_models`, `edits_api`, `journal_api`  edits, looked at before they are made, and their journal
`know_api`  all of these routes
`api_document`, `api_fields`, `docs_page`  the OpenAPI document, and a page of it
`app`       all of it put together
"""
