"""How many pairs a study makes, of which size, and which photographs are in which split."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from itae.base.checks import number, whole
from itae.base.errors import UserError
from itae.portable.data.light import Light

LARGEST = 4096
MOST = 1_000_000
"""Pairs of a split: more of 96 pixels would fill 50 GB."""


@dataclass(frozen=True)
class Wanted:
    """Settings of the pairs of a study.

    Parameters
    ----------
    train, validation, test
        Pairs of each split, 1 to 1,000,000. Default 512, 48, 48.
    train_size
        Side of the pairs to learn from, in pixels, of which training cuts smaller ones; 16 to 4,096. Default 96.
    size
        Side of those to choose and to judge by. Default 128.
    validation_share, test_share
        Of the photographs, rounded, but one at least; above 0, and together below 1. Default .2 and .25.
    light
        ``srgb`` (default), ``gamma`` (2.2) or ``none``; see `Light`. What is read, and not made, stays as it is.
    detail
        Flat pieces teach nothing: one is drawn anew, up to eight times, while neighbouring pixels differ by less than
        so many of 255 grey levels on average. 0 to 64; default 4.

    Raises
    ------
    UserError
        When a setting is out of its range.
    """

    train: int = 512
    validation: int = 48
    test: int = 48
    train_size: int = 96
    size: int = 128
    validation_share: float = 0.2
    test_share: float = 0.25
    light: str = "srgb"
    detail: float = 4.0

    def __post_init__(self) -> None:
        """Check every value."""
        for name in ("train", "validation", "test"):
            whole(f"pairs.{name}", getattr(self, name), low=1, high=MOST)
        for name in ("train_size", "size"):
            whole(f"pairs.{name}", getattr(self, name), low=16, high=LARGEST)
        for name in ("validation_share", "test_share"):
            number(f"pairs.{name}", getattr(self, name), 0.001, 0.998)
        if self.validation_share + self.test_share >= 1:
            raise UserError(
                f"pairs.validation_share={self.validation_share} and pairs.test_share={self.test_share} leave nothing "
                "to learn from; together they must be below 1."
            )
        number("pairs.detail", self.detail, 0, 64)
        Light(self.light)

    def settings(self) -> dict[str, Any]:
        """Return all of them."""
        return dataclasses.asdict(self)

    def pairs(self, split: str) -> int:
        """Return how many pairs a split has."""
        return int(getattr(self, split))

    def side(self, split: str) -> int:
        """Return the side of a split's pairs."""
        return self.train_size if split == "train" else self.size
