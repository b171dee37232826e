"""How much memory pictures may take at once while they are decoded: by their bytes, which their headers tell.

A count of pictures bounds nothing: a file of 2 MB may unpack to a gigabyte.
"""

from __future__ import annotations

import contextlib
import math
import os
import struct
import threading
from collections.abc import Iterator
from typing import Any

from itae.base.memory import give_back
from itae.images.tiff import piece_bytes

IN_FLIGHT = 10**9  # bytes in all threads of a process; a picture that takes more is decoded alone

_LARGE = 2**26  # what is freed of less may stay with its thread, for the next one

# Bytes a pixel that decoders take beside the picture itself, as measured with Pillow 13 (peak of the process on 24
# megapixels); those written in Python hold the samples twice. More in `_beside`.
_BESIDE = {"AVIF": 8, "BMP": 8, "DIB": 8, "QOI": 8, "DDS": 8, "SGI": 8, "XPM": 8, "ICO": 8}


class Room:
    """So many bytes, of which threads take some for a while. They come in turn, so a large picture isn't passed by."""

    def __init__(self, size: int) -> None:
        self.size = self._free = size
        self._turn = threading.Lock()
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def taken(self, wanted: int) -> Iterator[None]:
        """Wait until so many bytes are free, all of them if that is more than there are, and hold them."""
        wanted = min(wanted, self.size)
        with self._turn, self._changed:
            self._changed.wait_for(lambda: self._free >= wanted)
            self._free -= wanted
        try:
            yield
        finally:
            if wanted >= _LARGE:
                give_back()
            with self._changed:
                self._free += wanted
                self._changed.notify_all()


ROOM = Room(IN_FLIGHT)


def bytes_of(image: Any, size: tuple[int, int], path: str) -> int:
    """Return how many bytes it takes at most to bring a picture to upright 8-bit RGB.

    Parameters
    ----------
    image
        As `PIL.Image.open` returns it, or to be decoded smaller; its pixels aren't loaded yet.
    size
        What it is in the file.
    path
        Its file, which some decoders read as a whole.
    """
    shown = math.prod(_icon(image) if image.format == "ICO" else image.size)
    stored = 1 if image.mode in ("1", "L", "P") else 2 if image.mode.startswith("I;16") else 4
    # Pillow has RGB in four bytes, which a picture that is turned takes twice. Between 16 bits and that, there is grey.
    result = 5 if stored == 2 else 4
    beside = max(shown, math.prod(size)) * _beside(image)
    return shown * stored + max(shown * result, beside) + _buffer(image) + os.path.getsize(path)


def bytes_before(path: str) -> int:
    """Return how many bytes a WebP takes, whose decoder asks for them when the file is opened; 0 for other formats."""
    if (found := webp_size(path)) is None:
        return 0
    width, height, animated = found
    return width * height * (24 if animated else 16) + os.path.getsize(path)


def webp_size(path: str) -> tuple[int, int, bool] | None:
    """Return the width and height of a WebP, and whether it is animated; None for other formats."""
    with open(path, "rb") as file:
        head = file.read(30)
    if len(head) < 30 or head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return None
    kind, animated = head[12:16], False
    if kind == b"VP8X":
        width, height = (int.from_bytes(head[at : at + 3], "little") + 1 for at in (24, 27))
        animated = bool(head[20] & 2)
    elif kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (int.from_bytes(head[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    return width, height, animated


def _beside(image: Any) -> int:
    if image.format in ("JPEG", "MPO"):
        return 2 * len(image.getbands()) if image.info.get("progressive") else 0
    if image.format == "JPEG2000":
        return 6 * len(image.getbands())  # 32 bits a sample, and its bytes
    if image.format == "PNG" and str(image.tile[0][3]).endswith(";16B"):
        return 6  # of deep colours the low bytes are read apart
    return _BESIDE.get(image.format, 0)


def _buffer(image: Any) -> int:
    """Return the bytes of the strip or tile of a TIFF, which is unpacked as a whole."""
    return piece_bytes(image.tag_v2) if image.format == "TIFF" else 0


def _icon(image: Any) -> tuple[int, int]:
    """Return the size of the picture in an ICO: it may be a PNG of any, whatever the directory says."""
    place = image.fp.tell()
    image.fp.seek(image.ico.entry[image.ico.getentryindex(image.size)].offset)
    head = image.fp.read(24)
    image.fp.seek(place)
    return struct.unpack(">II", head[16:24]) if head.startswith(b"\x89PNG") and len(head) == 24 else image.size
