"""The small pictures of a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from itae.base.threads import in_threads

if TYPE_CHECKING:
    from PIL import Image

    from itae.images.image_set import ImageSet

BUDGET = 6_000_000  # bytes of all thumbnails of a page, as text
_SIDES = ((400, 128), (900, 96), (10**9, 64))  # pixels of the long side, for up to so many images
_PIXELS = 40  # a picture up to this size is kept as it is, every pixel
_QUALITIES = (75, 50, 25, 5)


def thumbnails(images: ImageSet, rows: Sequence[int]) -> list[str]:
    """Return small pictures of the images at these positions, as ``data:`` addresses of at most `BUDGET` in all.

    The more there are, the smaller they are; if they still don't fit, their quality falls.
    """
    side = next(side for count, side in _SIDES if len(rows) <= count)
    small = list(in_threads(partial(_small, images, side), rows, len(rows), "thumbnails"))
    for quality in _QUALITIES:
        made = [_address(picture, quality) for picture in small]
        if sum(map(len, made)) <= BUDGET:
            break
    return made


def _small(images: ImageSet, side: int, row: int) -> Image.Image:
    picture = images.read(row)
    if max(picture.size) > _PIXELS:
        picture.thumbnail((side, side))
    return picture


def _address(picture: Image.Image, quality: int) -> str:
    data = io.BytesIO()
    picture.save(data, "WEBP", quality=quality, lossless=max(picture.size) <= _PIXELS and quality == _QUALITIES[0])
    return address(data.getvalue(), "webp")


def address(data: bytes, kind: str) -> str:
    """Return the bytes of a picture as a ``data:`` address."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
