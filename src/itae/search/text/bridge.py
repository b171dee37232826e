"""The modality gap, and how a text's vector is brought among those of images.

CLIP's texts and images share a space, but not a region of it: each kind fills a narrow cone, and the two lie apart
(Liang et al. 2022, arXiv 2203.02053). Among images alone or texts alone nothing comes of it, and a ranking of images by
one text takes no harm: the gap adds nearly the same to every similarity. A text in one mean with images does: by its
length it outweighs them in a direction that tells no two images apart.

So a text moves by the difference of the means: what is special about it among texts is laid on what images have in
common. No label is looked at; the images' mean is of the collection, the texts' of usual texts.

Shapes: E width of the space, N images.
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


def bridged(text_E: np.ndarray, text_mean_E: np.ndarray, image_mean_E: np.ndarray) -> np.ndarray:
    """Return a text's vector among those of images, a unit vector float32 [E].

    Parameters
    ----------
    text_E
        The text's, a unit vector.
    text_mean_E
        The mean of the unit vectors of usual texts, a text encoder's `mean_E`.
    image_mean_E
        The mean of the unit vectors of the collection's images.
    """
    moved = np.asarray(text_E, np.float64) - text_mean_E + image_mean_E
    return np.asarray(moved / np.linalg.norm(moved), np.float32)
