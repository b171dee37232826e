"""Blur of a shaken camera that all of a picture shares: a PSF from a random path and a soft lens; and no blur."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from itae.base.checks import number
from itae.portable.data.blur import Blurred, inner, span
from itae.portable.data.walk import path, psf, side

LONGEST = 128
"""Pixels of a path."""
SOFTEST = 16
"""Pixels of a lens' standard deviation."""
_SIGMAS = 4  # how far a lens reaches: of a normal law less than a ten-thousandth lies beyond


@dataclass(frozen=True)
class Shake:
    """A camera that shakes: each picture is convolved by a PSF of its own, in linear light.

    A small network learns within minutes to undo what is alike in all pictures, the lens, and hardly to find a path of
    which it isn't told: of paths alone, U-Nets of .16 million parameters undid .5 to .9 dB and stayed there.

    Parameters
    ----------
    length
        The least and the greatest length of the path, in pixels, 0 to 128; each picture's is drawn evenly from there.
        Default (2, 8).
    restless
        How restless the hand is: 0 for straight paths, to 1 (default), which are curled and jerked; see
        `itae.portable.data.walk.path`.
    lens
        How soft lens and sensor are, the same in all pictures: standard deviation in pixels of a normal law by which
        the path is blurred, 0 to 16. Default 1; 0 for the path alone.

    Raises
    ------
    UserError
        When one is out of its range.
    """

    length: tuple[float, float] = (2, 8)
    restless: float = 1.0
    lens: float = 1.0

    def __post_init__(self) -> None:
        """Check every value."""
        object.__setattr__(self, "length", span("blur.length", self.length, 0, LONGEST))
        number("blur.restless", self.restless, 0, 1)
        number("blur.lens", self.lens, 0, SOFTEST)

    def margin(self, size: int) -> int:
        """Return how far the PSF reaches."""
        return side(self.length[1]) // 2 + math.ceil(_SIGMAS * self.lens)

    def settings(self) -> dict[str, Any]:
        """Return its options."""
        return {"length": list(self.length), "restless": self.restless, "lens": self.lens}

    def check(self) -> None:
        """Find nothing missing: it needs nothing."""

    def of(
        self, picture_HWC: np.ndarray, margin: int, more: Callable[[], np.ndarray], rng: np.random.Generator, split: str
    ) -> Blurred:
        """Blur a picture; see `Blur.of`."""
        length = float(rng.uniform(*self.length))
        kernel_KK = softened(psf(path(length, self.restless, rng), 2 * margin + 1), self.lens)
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


def softened(psf_KK: np.ndarray, sigma: float) -> np.ndarray:
    """Return a PSF of sum 1 blurred by a normal law, which is summed over each pixel; float32 [K, K].

    Nothing is lost where the PSF is by 4 `sigma` away from its sides.
    """
    if sigma == 0:
        return psf_KK
    from scipy.ndimage import convolve1d
    from scipy.special import ndtr

    reach = math.ceil(_SIGMAS * sigma)
    edges = np.arange(-reach, reach + 2) - 0.5
    law = np.diff(ndtr(edges / sigma))
    law /= law.sum()
    out_KK = convolve1d(convolve1d(psf_KK.astype(np.float64), law, 0, mode="constant"), law, 1, mode="constant")
    return out_KK.astype(np.float32)


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
