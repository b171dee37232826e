"""Blurred photographs and their sharp ones, for training, choosing and judging.

`pairs`  pairs of a split, and the three splits of a study
"""
