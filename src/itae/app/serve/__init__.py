"""``itae serve``: a base in a browser, for those who have its link.

`main`       the command: options, what is served, what is printed
`listening`  the socket, bound before anything long is done
`choices`    the rules of feedback that the page offers
`running`    the server, and how it stops
"""
