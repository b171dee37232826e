"""How large a picture is, by its header: what a stranger sends is looked at before memory is asked for it."""

from __future__ import annotations

import contextlib
import math
from typing import Any, BinaryIO, NamedTuple

from itae.images.chunks import mended
from itae.images.decode import pixels_refused, readable_formats, why_unknown
from itae.images.in_flight import webp_size
from itae.images.samples import BadImage

_FRAMES = ("GIF", "PNG", "WEBP", "TIFF", "AVIF")  # whose further frames are pictures; of MPO they are one of its parts
_SIZ = b"\xff\x4f\xff\x51"  # where a codestream of JPEG 2000 begins, and the segment that has its size


class Header(NamedTuple):
    """What a picture's file says of it.

    Parameters
    ----------
    format
        Pillow's name of it, one of `itae.images.decode.FORMATS`; empty where even Pillow finds it too large.
    pixels
        Of one frame.
    several
        Whether there are more frames or pages; the first is the picture.
    """

    format: str
    pixels: int
    several: bool


def header(path: str) -> Header:
    """Return what a picture's file says of it.

    Raises
    ------
    BadImage
        When it is no picture that can be read, or too damaged to say.
    """
    from PIL import Image, UnidentifiedImageError

    if (found := webp_size(path)) is not None:  # to open one takes the memory of all its pixels
        return Header("WEBP", found[0] * found[1], found[2])
    if (pixels := _in_icon(path)) is not None:  # to open one decodes it
        return Header("ICO", pixels, False)
    try:
        return _opened(path)
    except UnidentifiedImageError:
        raise BadImage(why_unknown(path)) from None
    except Image.DecompressionBombError as error:
        return Header("", pixels_refused(error), False)
    except Exception as error:
        with open(path, "rb") as file, contextlib.suppress(Exception):
            return _opened(next(mended(file)))
        raise BadImage(" ".join(str(error).split()) or type(error).__name__) from error


def _opened(source: str | BinaryIO) -> Header:
    from PIL import Image

    with Image.open(source, formats=readable_formats()) as image:
        kind, pixels = image.format or "", math.prod(image.size)
        if kind == "JPEG2000":
            pixels = max(pixels, _in_codestream(image))
        return Header(kind, pixels, kind in _FRAMES and _goes_on(image))


def _in_icon(path: str) -> int | None:
    """Return the pixels of the largest picture in an ICO, whatever its list of them says; None for other formats."""
    with open(path, "rb") as file:
        start = file.read(6)
        if start[:4] != b"\0\0\1\0":
            return None
        listed = file.read(16 * int.from_bytes(start[4:6], "little"))
        most = 0
        for at in range(0, len(listed) - 15, 16):
            file.seek(int.from_bytes(listed[at + 12 : at + 16], "little"))
            head = file.read(24)
            if head.startswith(b"\x89PNG"):
                width, height = (int.from_bytes(head[i : i + 4], "big") for i in (16, 20))
            else:  # a BMP, whose mask counts as half of its height
                width, height = (abs(int.from_bytes(head[i : i + 4], "little", signed=True)) for i in (4, 8))
                height //= 2
            most = max(most, width * height)
        return most


def _in_codestream(image: Any) -> int:
    """Return the pixels of JPEG 2000 by what is decoded, whatever the box around it says."""
    image.fp.seek(0)
    data = image.fp.read()
    at = data.find(_SIZ) + 8
    right, low, left, top = (int.from_bytes(data[at + 4 * i : at + 4 * i + 4], "big") for i in range(4))
    return max(0, right - left) * max(0, low - top)


def _goes_on(image: Any) -> bool:
    """Return whether there is a second frame, without counting all of them."""
    if image.format != "TIFF":
        return bool(getattr(image, "is_animated", False))
    try:
        image.seek(1)
    except EOFError:
        return False
    return True
