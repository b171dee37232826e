"""The modality gap, and how a text's vector is brought among those of images.

CLIP's texts and images share a space, but not a region of it: each kind fills a narrow cone, and the two lie apart
(Liang et al. 2022, arXiv 2203.02053). So most of a text's vector is what all texts have in common. It says nothing
about what is looked for, but it is not equally alike to all images, and beside image marks it is the larger part of
what the text brings into a mean.

It is taken out: a text becomes what is special about it among texts, at the length that an image has. No label is
looked at, and no image either: what images have in common adds nearly the same to the similarity of each to a vector.
The numbers are in `experiments/08_text_tower`.

Shapes: E width of the space.
"""

from __future__ import annotations

import numpy as np

_THINGS = (
    "a person", "a child", "a crowd of people", "a dog", "a cat", "a bird", "a horse", "a fish", "an insect",
    "a flower", "a tree", "a forest", "a mountain", "a beach", "a river", "the sky at night", "snow", "a street",
    "a house", "a church", "a bridge", "a kitchen", "a bedroom", "an office", "a chair", "a table", "a lamp",
    "a cup of coffee", "a plate of food", "fruit", "a cake", "a bottle", "a book", "a computer", "a phone", "a clock",
    "a tool", "a machine", "a car", "a bicycle", "a train", "a ship", "an aeroplane", "a shirt", "shoes", "a bag",
    "a toy", "a ball game", "a musical instrument", "a painting", "a map", "a sign with text", "handwriting",
    "a texture", "a red thing", "a blue thing", "something small", "something far away", "an X-ray",
    "a satellite image",
)  # fmt: skip
_NOTHING = 1e-6
USUAL = tuple(f"a photo of {thing}" for thing in _THINGS)
"""Texts as CLIP is asked with, of all kinds of things."""


def gap(text_E: np.ndarray, image_E: np.ndarray) -> float:
    """Return how far the mean text lies from the mean image, both means of unit vectors (Liang et al. 2022).

    Parameters
    ----------
    text_E, image_E
        The means, [E].
    """
    return float(np.linalg.norm(np.asarray(text_E, np.float64) - np.asarray(image_E, np.float64)))


def bridged(text_E: np.ndarray, text_mean_E: np.ndarray) -> np.ndarray:
    """Return a text's vector as it is ranked by, alone or in one mean with images: a unit vector, float32 [E].

    Parameters
    ----------
    text_E
        The text's, a unit vector.
    text_mean_E
        The mean of the unit vectors of usual texts, a text encoder's `mean_E`.
    """
    special_E = np.asarray(text_E, np.float64) - text_mean_E
    length = np.linalg.norm(special_E)
    if length < _NOTHING:  # the mean itself: there is nothing special to look for
        return np.asarray(text_E, np.float32)
    return np.asarray(special_E / length, np.float32)
