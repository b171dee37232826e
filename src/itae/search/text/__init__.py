"""Words in the space of images.

`word_tower`  the model of the embedded text tower
"""
