"""Pictures as a store keeps them: the bytes of a file, or pixels that lay in none."""

from __future__ import annotations

import math
import re
import tempfile
from typing import TYPE_CHECKING

import numpy as np

from itae.images.decode import decode

if TYPE_CHECKING:
    from PIL import Image

_SHAPE = re.compile(rb"\((\d+), (\d+)(?:, (3))?\)")


def picture(data: bytes) -> Image.Image:
    """Return the picture of what `itae.images.image_set.ImageSet.data` has returned, upright and RGB.

    Raises
    ------
    itae.images.samples.BadImage
        When it is none.
    """
    from PIL import Image

    if found := _SHAPE.match(data):
        shape = tuple(int(side) for side in found.groups() if side)
        if len(data) - found.end() == math.prod(shape):
            pixels = np.frombuffer(data, np.uint8, offset=found.end()).reshape(shape)
            return Image.fromarray(pixels).convert("RGB")
    with tempfile.NamedTemporaryFile(prefix="itae-") as file:  # what is known of damaged files goes by their name
        file.write(data)
        file.flush()
        return decode(file.name)
