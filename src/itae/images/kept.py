"""Pictures as a store keeps them: the bytes of a file, or pixels that lay in none."""

from __future__ import annotations

import math
import re
import tempfile
from typing import TYPE_CHECKING

import numpy as np

from itae.images.decode import Least, with_picture

if TYPE_CHECKING:
    from PIL import Image

_SHAPE = re.compile(rb"\((\d+), (\d+)(?:, (3))?\)")


def picture(data: bytes, least: Least | None = None) -> Image.Image:
    """Return the picture of what `itae.images.image_set.ImageSet.data` has returned, upright and RGB.

    Parameters
    ----------
    data
        The bytes.
    least
        As of `itae.images.decode.with_picture`.

    Raises
    ------
    itae.images.samples.BadImage
        When it is none.
    """
    from PIL import Image

    if (pixels := pixels_of(data)) is not None:
        return Image.fromarray(pixels).convert("RGB")
    with tempfile.NamedTemporaryFile(prefix="itae-") as file:  # what is known of damaged files goes by their name
        file.write(data)
        file.flush()
        return with_picture(file.name, lambda image: image, least)


def pixels_of(data: bytes) -> np.ndarray | None:
    """Return pixels that lay in no file, uint8 [H, W] or [H, W, 3]; None for the bytes of a file."""
    found = _SHAPE.match(data)
    shape = tuple(int(side) for side in found.groups() if side) if found else ()
    if found is None or len(data) - found.end() != math.prod(shape):
        return None
    return np.frombuffer(data, np.uint8, offset=found.end()).reshape(shape)
