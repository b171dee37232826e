"""scikit-learn's digits, and what is made of them: nothing to download.

Nothing is drawn at random here but by a fixed rule, so the same images have the same bytes everywhere and for ever.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from itae.base.checks import one_of, whole
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
        pixels, labels = _digits()
        rows, ids = _rows(self.split), formats.numbered("all", len(pixels))
        return formats.Listing([ids[row] for row in rows], list(pixels[rows]), labels[rows], list(NAMES))


@dataclass(frozen=True, kw_only=True)
class DigitPairs(Dataset):
    """Two digits side by side, 16 x 16 grey: an image with two labels, of which a user may mean one.

    Each keeps its 8 x 8 pixels, in the rows 4 to 11 of a black square, so that no resizing changes its shape. The class
    is the two as they are read, ``37``, one of 100; its labels (`ImageSet.label_sets`) are ``3`` and ``7``, one for
    ``33``. Attributes are ``left`` and ``right``. An id names the two digits by their places, ``00012-00345``.

    Pairs come in a fixed order, and a smaller `count` has the first of a larger one's. Each run of 100 pairs in a split
    has every class once. In each class of digits all images are used before one is used again.

    Parameters
    ----------
    split
        ``train`` (pairs of two digits of the digits' own ``train``), ``test`` (of two of ``test``), or ``all``: these
        and then those.
    count
        Pairs of ``all``, of which ``train`` and ``test`` have shares as of the digits, 541 and 299 of 840. Up to 840 no
        digit is in two pairs; of more pairs, some share one, and a query's nearest may be it because of the very same
        pixels.

    Raises
    ------
    UserError
        For a count outside of 10 to 100,000.
    """

    name: str = "digit_pairs"
    split: str = "all"
    count: int = 840

    SPLITS: ClassVar[tuple[str, ...]] = ("all", "train", "test")

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("dataset.count", self.count, low=10, high=100_000)

    def _find(self) -> formats.Listing:
        pixels, labels = _digits()
        train = round(self.count * Digits.TRAIN / len(pixels))
        shares = {"train": train, "test": self.count - train}
        parts = shares if self.split == "all" else (self.split,)
        pairs = [pair for part in parts for pair in _pairs(labels, _rows(part), shares[part])]
        digits = labels[np.array(pairs)]
        left, right = ([NAMES[digit] for digit in side] for side in digits.T.tolist())
        return formats.Listing(
            [f"{one:05d}-{other:05d}" for one, other in pairs],
            [_side_by_side(pixels[one], pixels[other]) for one, other in pairs],
            digits @ [10, 1],
            [f"{one}{other}" for one in NAMES for other in NAMES],
            list(zip(left, right, strict=True)),
            {"left": left, "right": right},
        )


@dataclass(frozen=True, kw_only=True)
class DigitsConditions(Dataset):
    """Each digit as often as a condition has values, each time under another: the same thing, seen otherwise.

    The class is the digit. Attributes are ``digit``, the value under the condition's name, and ``glyph``, the id of the
    digit in `Digits`; an id is that and the value, ``all/00042/red``, so that ``group=parent`` has all images of one
    glyph in one group. First come all digits under the first value, then all under the second.

    Parameters
    ----------
    condition
        ``polarity``: ``light_on_dark`` (as they are) and ``dark_on_light`` (255 minus that). ``colour``: strokes in
        ``red``, ``green`` or ``blue`` on black, in the one channel of that name. ``rotation``: ``0`` and ``90`` degrees
        counterclockwise. 180 is left out, as a 6 is a 9 then, and so is 270, which is 180 from 90.
    split
        As of `Digits`; all images of one glyph are in one split.

    Raises
    ------
    UserError
        For another condition.
    """

    name: str = "digits_conditions"
    split: str = "all"
    condition: str = "polarity"

    SPLITS: ClassVar[tuple[str, ...]] = ("all", "train", "test")

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("dataset.condition", self.condition, CONDITIONS)

    def _find(self) -> formats.Listing:
        pixels, labels = _digits()
        rows, values = _rows(self.split), CONDITIONS[self.condition]
        ids = formats.numbered("all", len(pixels))
        glyphs = [ids[row] for row in rows]
        digits = [NAMES[digit] for digit in labels[rows].tolist()]
        times = len(values)
        return formats.Listing(
            [f"{glyph}/{value}" for value in values for glyph in glyphs],
            [image for seen in values.values() for image in seen(pixels[rows])],
            np.tile(labels[rows], times),
            list(NAMES),
            attributes={
                "digit": digits * times,
                self.condition: [value for value in values for _ in rows],
                "glyph": glyphs * times,
            },
        )


def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels, uint8 [1797, 8, 8], and which digit each is, int64 [1797]."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return np.rint(digits.images * (255 / 16)).astype(np.uint8), digits.target.astype(np.int64)


def _rows(split: str) -> range:
    """Return the places of a split's digits among all."""
    return {"all": range(1797), "train": range(Digits.TRAIN), "test": range(Digits.TRAIN, 1797)}[split]


def _pairs(labels: np.ndarray, rows: Sequence[int], count: int) -> list[tuple[int, int]]:
    """Return that many pairs of different digits of these, none twice; the classes in turn, 00 11 .. 99 01 12 .."""
    drawn = [_in_turn([row for row in rows if labels[row] == digit]) for digit in range(10)]
    found: dict[tuple[int, int], None] = {}
    for n in range(count):
        left, others = next(drawn[n % 10]), drawn[(n + n // 10) % 10]
        found[next((left, right) for right in others if right != left and (left, right) not in found)] = None
    return list(found)


def _in_turn(rows: Sequence[int]) -> Iterator[int]:
    """Yield these for ever, all before one comes again, in orders that no version of a library changes."""
    for turn in itertools.count():
        yield from sorted(rows, key=lambda row: hashlib.sha256(f"{turn}/{row}".encode()).digest())


def _side_by_side(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    square = np.zeros((16, 16), np.uint8)
    square[4:12, :8], square[4:12, 8:] = left, right
    return square


def _strokes_in(channel: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return what puts grey digits [n, 8, 8] into one channel of three."""
    return lambda grey: grey[..., None] * (np.arange(3) == channel).astype(np.uint8)


NAMES = tuple("0123456789")
CONDITIONS: dict[str, dict[str, Callable[[np.ndarray], np.ndarray]]] = {
    "polarity": {"light_on_dark": lambda grey: grey, "dark_on_light": lambda grey: 255 - grey},
    "colour": {"red": _strokes_in(0), "green": _strokes_in(1), "blue": _strokes_in(2)},
    "rotation": {"0": lambda grey: grey, "90": lambda grey: np.rot90(grey, axes=(1, 2))},
}
"""The values of each condition, and what each makes of digits, uint8 [n, 8, 8]."""
