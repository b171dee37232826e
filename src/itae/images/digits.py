"""scikit-learn's digits, and what is made of them: nothing to download.

Nothing is drawn at random here but by a fixed rule, so the same images have the same bytes everywhere and for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from itae.images import formats
from itae.images.dataset import Dataset


@dataclass(frozen=True, kw_only=True)
class Digits(Dataset):
    """scikit-learn's 1,797 handwritten digits, 8 x 8 grey, light strokes on black.

    `split` is ``all``, ``train`` (the first 1,157 images) or ``test`` (the last 640); ids are those of ``all``.

    scikit-learn has them as the test set of UCI's optical digits, which 13 people wrote. They lie form after form: the
    labels are 14 times the ten digits in a row, thrice, and then about a hundred in one order, so every form has all
    classes alike. A digit looks like others of its form: by pixels, the nearest image is of the same one for 53 %, 7 %
    by chance. So whole forms are on one side, nine in ``train`` and five in ``test``, and the nearest image of
    ``train`` names .964 of ``test`` rightly; of images drawn at random .986, by their writers' others. Which two forms
    are of one person, if two are, nothing tells.
    """

    name: str = "digits"
    split: str = "all"

    SPLITS: ClassVar[tuple[str, ...]] = ("all", "train", "test")
    TRAIN: ClassVar[int] = 1157  # where the tenth form begins

    def _find(self) -> formats.Listing:
        from sklearn.datasets import load_digits

        digits = load_digits()
        pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
        names = [str(name) for name in digits.target_names]
        some = {"all": slice(None), "train": slice(self.TRAIN), "test": slice(self.TRAIN, None)}[self.split]
        ids = formats.numbered("all", len(pixels))
        return formats.Listing(ids[some], list(pixels[some]), digits.target[some], names)
