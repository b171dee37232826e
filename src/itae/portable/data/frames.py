"""Blur as GoPro's and REDS' authors made it: an average of frames, here of one photograph that a camera pans over."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from itae.base.checks import number, whole
from itae.base.errors import UserError
from itae.portable.data.blur import Blurred, inner, span
from itae.portable.data.shake import LONGEST
from itae.portable.data.walk import STEPS, path


@dataclass(frozen=True)
class Frames:
    """A camera that moves and turns: the average of frames in linear light, and the middle one of them sharp.

    Points of a picture have ways of their own, so there is no PSF. Frames are interpolated, but for the middle one.

    Parameters
    ----------
    length
        The least and the greatest length of the camera's path, in pixels, 0 to 128. Default (2, 12).
    turn
        Degrees that it turns at most about the picture's middle, 0 to 45; each picture's are drawn evenly from there,
        to one side or the other. Default 2.
    frames
        How many there are, an odd number, 3 to 129. Default 17: fewer than pixels in the path look like copies.
    restless
        As of `Shake`; 0 for straight paths. Default .5.

    Raises
    ------
    UserError
        When one is out of its range.
    """

    length: tuple[float, float] = (2, 12)
    turn: float = 2.0
    frames: int = 17
    restless: float = 0.5

    def __post_init__(self) -> None:
        """Check every value."""
        object.__setattr__(self, "length", span("blur.length", self.length, 0, LONGEST))
        number("blur.turn", self.turn, 0, 45)
        number("blur.restless", self.restless, 0, 1)
        check_frames(self.frames)

    def margin(self, size: int) -> int:
        """Return how far the picture's corners go."""
        return reach(self.length[1], self.turn, size)

    def settings(self) -> dict[str, Any]:
        """Return its options."""
        return {
            "length": list(self.length), "turn": self.turn, "frames": self.frames, "restless": self.restless
        }  # fmt: skip

    def check(self) -> None:
        """Find nothing missing."""

    def of(
        self, picture_HWC: np.ndarray, margin: int, more: Callable[[], np.ndarray], rng: np.random.Generator, split: str
    ) -> Blurred:
        """Blur a picture; see `Blur.of`."""
        from itae.portable.data.warps import length, poses, warped

        way = path(float(rng.uniform(*self.length)), self.restless, rng)
        poses_T3 = poses(at_times(way, self.frames), float(rng.uniform(-self.turn, self.turn)))
        mean = warped(picture_HWC, poses_T3).mean(axis=0, dtype=np.float64).astype(np.float32)
        went = length(poses_T3, len(picture_HWC) - 2 * margin)
        return Blurred(inner(mean, margin), inner(picture_HWC, margin), went, None)


def check_frames(frames: Any) -> None:
    """Raise a `UserError` unless `frames` is an odd number of 3 to 129."""
    whole("blur.frames", frames, low=3, high=129)
    if not frames % 2:
        raise UserError(f"blur.frames={frames} must be odd: the middle one is the sharp picture.")


def at_times(path_T: np.ndarray, frames: int) -> np.ndarray:
    """Return a path at so many times, evenly, the middle among them."""
    return path_T[np.rint(np.linspace(0, STEPS, frames)).astype(int)]


def reach(longest: float, turn: float, size: int) -> int:
    """Return how many pixels a corner of a picture goes at most: half of the path, and of the turn."""
    return math.ceil(longest / 2 + size / math.sqrt(2) * math.radians(turn) / 2) + 1
