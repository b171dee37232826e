"""Knowing by HTTP: answers, lists that are worth a look, edits and their journal.

`know_models`  what is asked and answered
`edit_models`  what an edit is asked and answers
`once`         what takes long is found out once, for all who ask
`answers_api`  what a row or a query is, and why
`lists_api`    suspects, duplicates, outliers
`edits_api`    edits, looked at before they are made
`journal_api`  what was done, and names of versions
`know_api`     all of these routes
"""
