"""The document of the API, and its page.

`api_document`  the document, with what all routes share
`api_fields`    the fields of what is sent and answered, as lines
`docs_page`     the page
"""
