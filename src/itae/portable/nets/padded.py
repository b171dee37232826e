"""Pictures of any size for networks that halve theirs: padded by reflection, and the output cropped back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Padded(NamedTuple):
    """A picture of a size that a network takes, and the size that it had."""

    picture: np.ndarray
    """[1, 3, H, W], H and W the least multiples that hold it."""
    height: int
    width: int
    told: str | None
    """What was done, in a sentence; None where nothing was."""

    def cropped(self, output: np.ndarray) -> np.ndarray:
        """Return a network's output, [1, 3, H, W], at the size that the picture had."""
        return output[..., : self.height, : self.width]


def padded(picture: np.ndarray, multiple: int) -> Padded:
    """Pad a picture below and on the right, by what lies before its edges, to multiples of `multiple`.

    Parameters
    ----------
    picture
        [1, 3, H, W].
    multiple
        Of a `Net`.
    """
    height, width = picture.shape[-2:]
    below, right = -height % multiple, -width % multiple
    if not below and not right:
        return Padded(picture, height, width, None)
    larger = np.pad(picture, ((0, 0), (0, 0), (0, below), (0, right)), mode="reflect")
    told = (
        f"Pictures of {height}x{width} are padded by reflection to {height + below}x{width + right}, since the net "
        f"takes multiples of {multiple}, and what comes out is cropped."
    )
    return Padded(larger, height, width, told)
