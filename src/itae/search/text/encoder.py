"""Texts in, vectors of a space out: what every text tower does.

Shapes: T texts, E width of the space.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from itae.base.errors import UserError
from itae.search.text.bridge import USUAL


class TextEncoder(ABC):
    """A text tower."""

    usual: Sequence[str] = USUAL
    """Texts as people ask, of all kinds of things: their mean is where this tower's texts lie."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return unit vectors of texts, float32 [T, E].

        Raises
        ------
        UserError
            If a text is empty, or has no word that the tower knows.
        """
        for text in texts:
            if not isinstance(text, str) or not text.strip():
                raise UserError(f"The text {text!r} is empty; say what to look for, as in --text 'a dog on a beach'.")
        vectors = self._encode(texts) if texts else np.zeros((0, len(self.mean_E)), np.float32)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)

    @abstractmethod
    def _encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return the tower's vectors of texts that aren't empty, of any length above 0."""

    def notes(self, text: str) -> list[str]:
        """Return what whoever asks has to know of how a text was read: sentences, none if all of it was."""
        return []

    @cached_property
    def mean_E(self) -> np.ndarray:  # noqa: N802
        """The mean of this tower's usual texts, float32 [E], for `itae.search.text.bridge.bridged`."""
        mean: np.ndarray = self.encode(self.usual).mean(axis=0)
        return mean
