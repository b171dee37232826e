"""The embedded text tower, of `backbone=digits_clip`: it knows two hundred words about digits, and says so.

See `itae/vit/weights/MODEL_CARD.md` for what it was trained on and what it shows: that the machinery works.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from itae.base.errors import UserError
from itae.search.text.encoder import TextEncoder

if TYPE_CHECKING:
    from itae.search.text.word_tower import WordTower

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


class DigitsText(TextEncoder):
    """The text tower in a file of `digits_clip`'s weights.

    Parameters
    ----------
    path
        The file, a base's ``backbone.checkpoint``.
    """

    usual = tuple(f"the digit {name}" for name in _DIGITS)

    def __init__(self, path: Path) -> None:
        self.path = path

    def _encode(self, texts: Sequence[str]) -> np.ndarray:
        import torch

        for text in texts:
            if not self._tower.known(text):
                raise UserError(
                    f"The text tower of digits_clip knows no word of {text!r}; it knows words about digits, as in "
                    "'show me sevens' or 'an odd number'."
                )
        with torch.inference_mode():
            found: np.ndarray = self._tower(self._tower.tokens([self._tower.known(text) for text in texts])).numpy()
        return found

    def notes(self, text: str) -> list[str]:
        """Return which words of a text are not known, and whether its end was left out."""
        out = []
        if unknown := self._tower.unknown(text):
            words, them = ("words", "them") if len(unknown) > 1 else ("word", "it")
            named = ", ".join(map(repr, unknown))
            out.append(f"The text tower doesn't know the {words} {named}, and leaves {them} out.")
        if left := self._tower.too_long(text):
            out.append(f"The text tower reads {left} words; what follows is left out.")
        return out

    @cached_property
    def _tower(self) -> WordTower:
        from itae.search.text.word_tower import load
        from itae.vit.digits_clip import TEXT

        return load(self.path, TEXT)
