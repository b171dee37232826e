"""Blur of a shaken camera that all of a picture shares: a PSF from a random path; and no blur."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from itae.base.checks import number
from itae.portable.data.blur import Blurred, inner, span
from itae.portable.data.walk import path, psf, side

LONGEST = 128
"""Pixels of a path."""


@dataclass(frozen=True)
class Shake:
    """A camera that shakes: each picture is convolved by a PSF of its own, in linear light.

    Parameters
    ----------
    length
        The least and the greatest length of the path, in pixels, 0 to 128; each picture's is drawn evenly from there.
        Default (2, 12).
    restless
        How restless the hand is: 0 for straight paths, to 1 (default), which are curled and jerked; see
        `itae.portable.data.walk.path`.

    Raises
    ------
    UserError
        When one is out of its range.
    """

    length: tuple[float, float] = (2, 12)
    restless: float = 1.0

    def __post_init__(self) -> None:
        """Check every value."""
        object.__setattr__(self, "length", span("blur.length", self.length, 0, LONGEST))
        number("blur.restless", self.restless, 0, 1)

    def margin(self, size: int) -> int:
        """Return how far the PSF reaches."""
        return side(self.length[1]) // 2

    def settings(self) -> dict[str, Any]:
        """Return its options."""
        return {"length": list(self.length), "restless": self.restless}

    def check(self) -> None:
        """Find nothing missing: it needs nothing."""

    def of(
        self, picture_HWC: np.ndarray, margin: int, more: Callable[[], np.ndarray], rng: np.random.Generator, split: str
    ) -> Blurred:
        """Blur a picture; see `Blur.of`."""
        length = float(rng.uniform(*self.length))
        kernel_KK = psf(path(length, self.restless, rng), side(self.length[1]))
        return Blurred(convolved(picture_HWC, kernel_KK), inner(picture_HWC, margin), length, kernel_KK)


@dataclass(frozen=True)
class NoBlur:
    """No blur: what is to be restored is noise alone."""

    def margin(self, size: int) -> int:
        """Return that it reads nothing beside a picture."""
        return 0

    def settings(self) -> dict[str, Any]:
        """Return that it has no options."""
        return {}

    def check(self) -> None:
        """Find nothing missing."""

    def of(
        self, picture_HWC: np.ndarray, margin: int, more: Callable[[], np.ndarray], rng: np.random.Generator, split: str
    ) -> Blurred:
        """Return a picture as it is."""
        return Blurred(picture_HWC, picture_HWC, 0.0, np.ones((1, 1), np.float32))


def convolved(picture_HWC: np.ndarray, kernel_KK: np.ndarray) -> np.ndarray:
    """Return a picture convolved by a PSF where that lies inside of it: float32 [H - K + 1, W - K + 1, 3].

    A lone point of light becomes the PSF itself, not its mirror image.
    """
    from scipy.signal import fftconvolve

    if (kernel_KK == 1).any():  # all at one place: moved, to the bit
        (row, column), height, width = np.argwhere(kernel_KK == 1)[0], *picture_HWC.shape[:2]
        top, left = len(kernel_KK) - 1 - row, len(kernel_KK) - 1 - column
        return picture_HWC[top : top + height - len(kernel_KK) + 1, left : left + width - len(kernel_KK) + 1]
    return fftconvolve(picture_HWC, kernel_KK[..., None], mode="valid", axes=(0, 1)).astype(np.float32)
