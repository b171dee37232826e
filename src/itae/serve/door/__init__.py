"""Who may ask a served base, and how much: nothing else of a request is looked at before.

`guard`        host, page and user of a request, and the headers of all answers
`hosts`        the names of the server, and the pages that may write to it
`keys`         one-time codes, cookies and tokens
`token_files`  tokens of the users in files
`sign_in`      pages for who is not let in
`bodies`       how large the body of a request may be, and all of them
`uploads`      pictures that a browser sends
"""
