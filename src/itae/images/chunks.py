"""What in a PNG or a JPEG says which pixels there are, read past all else that lies in the file or is damaged there.

Pillow gives a picture up for a text of more than a megabyte, for a profile that is none, or for a wrong checksum of
either, and a JPEG for want of its last two bytes. Viewers show them. A picture is read this way where the usual one
has failed.
"""

from __future__ import annotations

import hashlib
import io
import math
import random
import re
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, BinaryIO, NamedTuple

from itae.images.samples import BadImage, boxes

_BLOCK = 2**20
_LARGE = 2**24  # pixels
_PNG = b"\x89PNG\r\n\x1a\n"
_TURNING = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0")  # keywords of PNG's texts that tell an orientation
_SOI, _EOI, _SOS, _JFIF, _EXIF, _ADOBE = 0xD8, 0xD9, 0xDA, 0xE0, 0xE1, 0xEE
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers of what a picture is: its size, its components
_ABOUT = {*range(0xE0, 0xF0), 0xFE}  # markers of segments for applications, and of comments
# None but these stand among a scan's samples. Of several ff the last: looked for from each one, a long tail of them
# would take the square of its length.
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
_SEGMENT = re.compile(rb"\xff+([\xc0-\xcf\xdb-\xfe])(..)", re.DOTALL)  # any number of ff may stand before a marker
_RESTART = re.compile(rb"\xff([\xd0-\xd7])")
_END = bytes([0xFF, _EOI])


def mended(file: BinaryIO) -> Iterator[BinaryIO]:
    """Yield what there is of a PNG's or JPEG's pixels as a file: with what tells its orientation, and without.

    Raises
    ------
    BadImage
        Where a part is damaged that the pixels hang on.
    """
    kept = {_PNG: _of_png, bytes([0xFF, _SOI]): _of_jpeg}
    for start, pieces in kept.items():
        file.seek(0)
        if file.read(len(start)) == start:
            yield io.BufferedReader(Pieces(file, pieces(file, True)))
            yield io.BufferedReader(Pieces(file, pieces(file, False)))


class Pieces(io.RawIOBase):
    """Pieces of a file, and bytes among them, one after the other as a file of their own."""

    def __init__(self, file: BinaryIO, pieces: Sequence[range | bytes]) -> None:
        self._file, self._pieces = file, [piece for piece in pieces if len(piece)]
        self._starts = list(accumulate(map(len, self._pieces), initial=0))
        self._at = 0

    def readable(self) -> bool:  # noqa: D102
        return True

    def seekable(self) -> bool:  # noqa: D102
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:  # noqa: D102
        self._at = max(0, (0, self._at, self._starts[-1])[whence] + offset)
        return self._at

    def readinto(self, into: Any) -> int:  # noqa: D102
        i = bisect_right(self._starts, self._at) - 1
        if i == len(self._pieces):
            return 0
        rest = self._pieces[i][self._at - self._starts[i] :][: len(into)]
        if isinstance(rest, range):
            self._file.seek(rest.start)
            rest = self._file.read(len(rest))
        into[: len(rest)] = rest
        self._at += len(rest)
        return len(rest)


# ------------------------------------------------------------------------------------------------------ PNG


class _Chunk(NamedTuple):
    kind: bytes
    span: range
    state: str  # whole, damaged (another checksum), cut (the file ends in it)


def _png_chunks(file: BinaryIO) -> Iterator[_Chunk]:
    at, kind = len(_PNG), b""
    while kind != b"IEND":  # what lies behind it is none of the picture
        file.seek(at)
        head = file.read(8)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if len(head) < 8 or not kind.isalpha():  # the end, or junk
            return
        checksum, left = zlib.crc32(kind), length
        while left and (block := file.read(min(left, _BLOCK))):
            checksum, left = zlib.crc32(block, checksum), left - len(block)
        told = file.read(4)
        right = int.from_bytes(told, "big") == checksum
        yield _Chunk(kind, range(at, at + 12 + length), "cut" if len(told) < 4 else "whole" if right else "damaged")
        at += 12 + length


def refuse_damaged(file: BinaryIO) -> None:
    """Raise a `BadImage` if a chunk that a PNG's pixels hang on has another checksum; Pillow looks at some."""
    for kind, _, state in _png_chunks(file):
        if state == "damaged" and _is_needed(kind) and kind != b"IEND":  # which holds nothing
            raise BadImage(f"damaged: the checksum of a part that its pixels hang on ({kind.decode()}) is another")


def _is_needed(kind: bytes) -> bool:
    return kind == b"tRNS" or not kind[0] & 32  # the case of the first letter says so


def _of_png(file: BinaryIO, turned: bool) -> list[range | bytes]:
    refuse_damaged(file)
    pieces: list[range | bytes] = [_PNG]
    for kind, span, state in list(_png_chunks(file)):
        file.seek(span.start + 8)
        orients = kind == b"eXIf" or (kind in (b"tEXt", b"zTXt", b"iTXt") and file.read(22).startswith(_TURNING))
        if _is_needed(kind) or (turned and orients and state == "whole"):
            pieces.append(span)
    return pieces


# ----------------------------------------------------------------------------------------------------- JPEG


class _Jpeg(NamedTuple):
    segments: list[range | bytes]  # before the first scan: those that matter
    scans: range
    ended: bool  # by a marker
    sent: bool  # whether there are scans of everything, though the last may be cut


def _of_jpeg(file: BinaryIO, turned: bool) -> list[range | bytes]:
    found = _jpeg(file, turned)
    if found.ended or is_cut(file):
        return [*found.segments, range(found.scans.start, file.seek(0, io.SEEK_END))]
    return [*found.segments, found.scans, _END]


def _jpeg(file: BinaryIO, turned: bool = False) -> _Jpeg:
    segments: list[range | bytes] = [bytes([0xFF, _SOI])]
    file.seek(0)
    data, at, names = file.read(), 2, b""
    while found := _SEGMENT.match(data, at):
        kind, start = found[1][0], found.start(1) - 1
        span = range(start, start + 2 + max(2, int.from_bytes(found[2], "big")))
        # Who decodes takes a JFIF or an Adobe segment for one from these lengths on.
        kept = {_JFIF: len(span) >= 18, _ADOBE: len(span) >= 16, _EXIF: turned}
        if kind not in _ABOUT or kept.get(kind, False):
            segments.append(span)
        if kind in _FRAMES:
            frame = data[start + 4 : span.stop]
            names = frame[6::3][: frame[5]]
        at = span.stop
    end, ended, sent = _scans(data, at, names)
    return _Jpeg(segments, range(at, end), ended, sent)


def _scans(data: bytes, first: int, names: bytes) -> tuple[int, bool, bool]:
    """Return where scans of these components end that begin at `first`, if a marker says so, and if none is missing."""
    unsent = {(name, i): 1 for name in names for i in range(64)}  # low bits of each frequency that may follow
    at = first
    while (found := _MARKER.search(data, at)) and found[1][0] != _EOI:
        start = found.end()
        at = start + int.from_bytes(data[start : start + 2], "big")
        if found[1][0] == _SOS and at <= len(data):
            low, high, bits = data[at - 3 : at]
            unsent |= {(name, i): bits & 15 for name in data[start + 3 : at - 3 : 2] for i in range(low, high + 1)}
    samples = data[: found.start()] if found else data
    end = max(at if found else first, len(samples.rstrip(b"\xff")))
    return end, found is not None, end > at and not any(unsent.values())


def is_cut(file: BinaryIO) -> bool:
    """Return whether a JPEG's samples end too early: then what is put behind them has a say in the picture.

    Decoders fill up with grey, without a word. A download that broke off may have left zeros.
    """
    found = _jpeg(file)
    if not found.ended and (not found.sent or ends_with_zeros(file)):
        return True
    file.seek(found.scans.start)
    restarts = _RESTART.findall(file.read(len(found.scans)))
    next_one = restarts[-1][0] + 1 if restarts else 0
    draw = random.Random(0)
    ends = [b""]  # and twice noise, with all markers at which a decoder would go on
    for _ in range(2):
        noise = [bytes(draw.choices(range(255), k=64)) + bytes([0xFF, 0xD0 | (next_one + i) % 8]) for i in range(8)]
        ends.append(b"".join([*noise, noise[0][:64]]))
    # What is grey is so at an eighth of the size, too, and where an end is marked nobody has made room for more.
    return len({_pixels(file, [*found.segments, found.scans, end, _END], found.ended) for end in ends}) > 1


def ends_with_zeros(file: BinaryIO) -> bool:
    """Return whether the last bytes of a file are zeros."""
    file.seek(max(0, file.seek(0, io.SEEK_END) - 8))
    return file.read() == bytes(8)


def _pixels(file: BinaryIO, pieces: list[range | bytes], small: bool) -> bytes:
    """Return a hash of a JPEG's pixels; of a large one, if `small`, at an eighth of its size a side."""
    from PIL import Image

    total = hashlib.sha256()
    with Image.open(io.BufferedReader(Pieces(file, pieces)), formats=["JPEG"]) as image:
        if small and math.prod(image.size) > _LARGE:
            image.draft(None, (1, 1))
        for box in boxes(image.size):
            total.update(image.crop(box).tobytes())
    return total.digest()
