"""Rows that people who keep a base want to look at.

`suspects`    those that are likely labelled wrongly, and what speaks against them
`regions`     what they ask of a region: whose it is, past the rows that agree
`duplicates`  groups of the same bytes, or nearly alike
`outliers`    those far from all others, or from those of their class
"""
