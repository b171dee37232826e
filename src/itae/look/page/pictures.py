"""The small pictures of a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from itae.base.threads import in_threads

if TYPE_CHECKING:
    from PIL import Image

T = TypeVar("T")

BUDGET = 6_000_000  # bytes of all thumbnails of a page, as text
_SIDES = ((400, 128), (900, 96), (10**9, 64))  # pixels of the long side, for up to so many images
_PIXELS = 40  # a picture up to this size is kept as it is, every pixel
_QUALITIES = (75, 50, 25, 5)


def thumbnails(
    read: Callable[[T], Image.Image | None], items: Sequence[T], budget: int = BUDGET, side: int | None = None
) -> list[str | None]:
    """Return small pictures as ``data:`` addresses of at most `budget` in all; None where there is no picture.

    If they don't fit, their quality falls.

    Parameters
    ----------
    read
        Returns the picture of an item, RGB; called from several threads.
    items
        What there are pictures of.
    budget
        Bytes of all, as text.
    side
        Pixels of the long side, at most; by default, the fewer the more there are.
    """
    side = side or next(side for count, side in _SIDES if len(items) <= count)
    small = list(in_threads(partial(_small, read, side), items, len(items), "thumbnails"))
    for quality in _QUALITIES:
        made = [None if picture is None else _address(picture, quality) for picture in small]
        if sum(len(one) for one in made if one) <= budget:
            break
    return made


def _small(read: Callable[[T], Image.Image | None], side: int, item: T) -> Image.Image | None:
    picture = read(item)
    return None if picture is None else shrunk(picture, side)


def _address(picture: Image.Image, quality: int) -> str:
    return address(webp(picture, quality, every_pixel=quality == _QUALITIES[0]), "webp")


def shrunk(picture: Image.Image, side: int) -> Image.Image:
    """Return a picture with at most so many pixels on its long side, the same object; a tiny one stays as it is."""
    if max(picture.size) > _PIXELS:
        picture.thumbnail((side, side))
    return picture


def webp(picture: Image.Image, quality: int, every_pixel: bool = True, effort: int = 4) -> bytes:
    """Return a picture as WebP.

    Parameters
    ----------
    picture
        RGB.
    quality
        From 0 to 100.
    every_pixel
        Whether a tiny one keeps all of its pixels as they are.
    effort
        From 0, the quickest, to 6, the smallest.
    """
    data = io.BytesIO()
    lossless = every_pixel and max(picture.size) <= _PIXELS
    picture.save(data, "WEBP", quality=quality, lossless=lossless, method=effort)
    return data.getvalue()


def address(data: bytes, kind: str) -> str:
    """Return the bytes of a picture as a ``data:`` address."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
