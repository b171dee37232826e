"""``itae search``: images of a base, by an image or words, and again by what was judged.

`main`      the command
`sessions`  rounds that are written into a file, and run again from it
`queries`   what is looked for: pictures, rows, words
`printed`   tables, paths, CSV, links and JSON
"""
