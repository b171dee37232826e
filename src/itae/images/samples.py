"""What the numbers in a picture's file mean before they are 8 bits.

The file's own standard decides. TIFF 6.0: unsigned samples run from 0 to 2**BitsPerSample - 1, which is white, or
black where PhotometricInterpretation is 0. PNG: samples fill their depth, and sBIT is no scale. PGM and PPM: maxval is
white. TIFF's MinSampleValue and MaxSampleValue are by the same standard "not to be used to affect the visual
appearance", SMinSampleValue and SMaxSampleValue tell a range and no black or white, and viewers heed none of them.

Refused is what has no agreed black and white (signed, floating point and complex samples, and integers of 32 bits: a
viewer scales them, the next one cuts them off), and what Pillow would decode to other pixels without a word.

Refused, too, are samples of more than 8 bits that were never scaled up: 12 bits of a camera, a thermal image or the
numbers of a mask, put into 16 bits as they are. The standard says what they look like, and it is next to nothing: all
samples within a 15th of the range, and in its lowest quarter, come out as 18 dark shades at most. A 16-bit photo never
looks like that; a picture of a single value may, and is let through.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from PIL import Image


class BadImage(Exception):  # noqa: N818
    """A file that cannot be decoded; the message is the reason, to be put behind the name of the file."""


Box = tuple[int, int, int, int]
_STRIP = 2**18  # pixels


def boxes(size: tuple[int, int]) -> Iterator[Box]:
    """Yield boxes that cover a picture, row by row, so that what is made of them on the way stays small."""
    width, height = size
    rows = max(1, _STRIP // width)
    for top in range(0, height, rows):
        for left in range(0, width, _STRIP):
            yield left, top, min(left + _STRIP, width), min(top + rows, height)


def in_8_bits(image: Image.Image, top: int = 65535, white_is_zero: bool = False) -> Image.Image:
    """Scale grey samples of more than 8 bits from 0..top to 0..255; a transparent value, if any, becomes white.

    Raises
    ------
    BadImage
        When they were never scaled up.
    """
    from PIL import Image

    if image.mode != "I" and not image.mode.startswith("I;16"):
        return image
    transparent = image.info.get("transparency")
    out = np.empty(image.size[::-1], np.uint8)
    low, high, were_8_bits = top, 0, True
    for box in boxes(image.size):
        values = np.asarray(image.crop(box)).astype(np.int64).clip(0, top)
        grey = ((values * 255 + top // 2) // top).astype(np.uint8)
        if white_is_zero:
            grey = 255 - grey
        shown = values
        if isinstance(transparent, int):
            grey[values == transparent] = 255
            shown = values[values != transparent]
        out[box[1] : box[3], box[0] : box[2]] = grey
        if shown.size:
            low, high = min(low, int(shown.min())), max(high, int(shown.max()))
            were_8_bits = were_8_bits and _were_8_bits(shown)
    if not were_8_bits:
        _check_range(low, high, top)
    return Image.fromarray(out)


def _were_8_bits(values: np.ndarray) -> bool:
    """Return whether samples are 8 bits that were scaled up to 16: multiples of 257, a night without a light say."""
    return not (values % 257).any()


def _is_narrow(low: int, high: int, top: int) -> bool:
    return low < high < (top + 1) // 4 and high - low <= top // 15


def _check_range(low: int, high: int, top: int) -> None:
    if _is_narrow(low, high, top):
        raise BadImage(
            f"its samples lie between {low} and {high} of 0 to {top}, nearly one shade, as if they were never scaled "
            "up; multiply them so that they fill the range, or convert it to 8 bits"
        )


def check_colours(image: Image.Image, all_bits: Callable[[], Iterator[tuple[Box, np.ndarray]]] | None = None) -> None:
    """Raise `BadImage` for colours of 16 bits that were never scaled up.

    Parameters
    ----------
    image
        The 8 bits that Pillow keeps of each sample.
    all_bits
        Gives all of them, as `sixteen_bits` does; called where 8 bits are dark and nearly one shade.
    """
    ranges = np.reshape(image.getextrema(), (-1, 2))
    if image.mode in ("LA", "RGBA", "RGBX"):
        ranges = ranges[:-1]
    low, high = 257 * int(ranges[:, 0].min()), 257 * int(ranges[:, 1].max())
    colours = len(ranges)
    in_full = all_bits() if all_bits is not None and _is_narrow(low, high, 65535) else None
    if in_full is not None and all(_were_8_bits(values[..., :colours]) for _, values in in_full):
        return
    _check_range(low, high, 65535)
    if all_bits is not None and (ranges[:, 0] == ranges[:, 1]).all() and ranges.max() < 64:
        found = [(values[..., :colours].min((0, 1)), values[..., :colours].max((0, 1))) for _, values in all_bits()]
        lows, highs = (np.min([low for low, _ in found], 0), np.max([high for _, high in found], 0))
        if (lows < highs).any():
            _check_range(int(lows.min()), int(highs.max()), 65535)


def sixteen_bits(image: Any, tiles: list[Any], source: str | BinaryIO) -> Iterator[tuple[Box, np.ndarray]]:
    """Yield all bits of colours of 16 bits, piece by piece, uint16 [h, w, C]; grey with alpha comes as grey.

    Pillow keeps the high bytes, which `image` has. The low ones are what it takes for high ones when it is told that
    the byte order is the other one; grey with alpha fits into the 4 bytes of RGBA as it is.

    Parameters
    ----------
    image
        Loaded.
    tiles
        What `image.tile` was before.
    source
        Its path, or its file.
    """
    from PIL import Image

    with Image.open(source, formats=[image.format]) as again:
        again.tile = read_as(tiles, _other_order)
        again.load()
        for box in boxes(image.size):
            low = np.asarray(again.crop(box), np.uint16)
            if tiles[0][3] == "LA;16B":
                yield box, low[..., :1] << 8 | low[..., 1:2]
            else:
                yield box, np.asarray(image.crop(box), np.uint16) << 8 | low


def read_as(tiles: list[Any], change: Callable[[Any], Any]) -> list[Any]:
    """Return the pieces of a file, as Pillow lists them, with the last item of each (how it is decoded) changed."""
    from PIL import ImageFile

    made: Any = ImageFile._Tile
    return [made(*tile[:3], change(tile[3])) for tile in tiles]


def _other_order(args: Any) -> Any:
    """Return the arguments of a decoder that keeps the other byte of 16 bits."""
    if isinstance(args, tuple):
        return (_other_order(args[0]), *args[1:])
    if args == "LA;16B":
        return "RGBA"
    big = args.endswith("B") or (args.endswith("N") and sys.byteorder == "big")
    return args[:-1] + ("L" if big else "B")
