"""What a blur is given and gives: all in linear light."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from itae.base.checks import is_number
from itae.base.errors import UserError


@dataclass(frozen=True, eq=False)
class Blurred:
    """A picture and its blurred one. Letters: H, W height and width of both, K side of the PSF.

    Parameters
    ----------
    blurred, sharp
        Float32 [H, W, 3], light.
    length
        Of the path, in pixels.
    psf
        Float32 [K, K], where `blurred` is `sharp` convolved by it; None where it isn't.
    """

    blurred: np.ndarray
    sharp: np.ndarray
    length: float
    psf: np.ndarray | None


class Blur(Protocol):
    """A way to blur pictures."""

    def margin(self, size: int) -> int:
        """Return how many pixels it reads around a picture of so many by so many: both of its results lack them."""

    def settings(self) -> dict[str, Any]:
        """Return all that its results depend on, as plain values."""

    def check(self) -> None:
        """Raise a `UserError` for what isn't there: a folder, a package."""

    def of(
        self, picture_HWC: np.ndarray, margin: int, more: Callable[[], np.ndarray], rng: np.random.Generator, split: str
    ) -> Blurred:
        """Blur a picture.

        Parameters
        ----------
        picture_HWC
            Float32 [S + 2 margin, S + 2 margin, 3], light, for results of S by S.
        margin
            What `margin` says for S.
        more
            Gives other pieces of the same photograph, of that shape.
        rng
            All that is drawn is drawn by it.
        split
            ``train``, ``validation`` or ``test``, for what is shared out among them.
        """


def inner(picture_HWC: np.ndarray, margin: int) -> np.ndarray:
    """Return a picture without so many pixels around it."""
    return picture_HWC[margin : len(picture_HWC) - margin, margin : picture_HWC.shape[1] - margin]


def span(what: str, value: Any, low: float, high: float) -> tuple[float, float]:
    """Return a least and a greatest value, or raise a `UserError` unless they are two numbers of [low, high] in order.

    `what` names the setting.
    """
    pair = [*value] if isinstance(value, Sequence) else []
    if len(pair) != 2 or not all(map(is_number, pair)):
        raise UserError(f"{what}={value!r} must be two numbers: the least and the greatest, as [4, 16].")
    least, most = pair
    if not low <= least <= most <= high:
        raise UserError(f"{what}={value!r} must be the least and the greatest, in this order, of {low:g} to {high:g}.")
    return float(least), float(most)
