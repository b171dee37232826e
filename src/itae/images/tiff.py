"""TIFFs by their tags: Pillow opens many kinds that it decodes to other pixels, and this tells them apart.

What the tags mean stands in TIFF 6.0; the numbers below are its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from itae.images.samples import BadImage, check_colours, in_8_bits, read_as, sixteen_bits

if TYPE_CHECKING:
    from PIL import Image

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, SAMPLES, ROWS = 256, 257, 258, 259, 262, 266, 277, 278
PLANES, TILE_WIDTH, TILE_HEIGHT = 284, 322, 323
COLOUR_MAP, INK_SET, EXTRA, FORMAT, SUBSAMPLING = 320, 332, 338, 339, 530
WHITE_IS_ZERO, SEPARATED, YCBCR, LAB = 0, 5, 6, 8
_TILE = 2**26  # pixels, which no writer puts in one tile, but for a picture that is about as large
NUMBERS = {2: "signed", 3: "floating point", 5: "complex", 6: "complex"}  # SampleFormat


def open_more() -> None:
    """Have Pillow open the kinds of grey that it could decode and doesn't list: 12 bits, and 16 where 0 is white."""
    from PIL.TiffImagePlugin import OPEN_INFO

    for order, white, bits, modes in (
        (b"II", 0, 12, ("I;16", "I;12")),
        (b"MM", 0, 12, ("I;16", "I;12")),
        (b"MM", 1, 12, ("I;16", "I;12")),
        (b"MM", 0, 16, ("I;16B", "I;16B")),
    ):
        OPEN_INFO.setdefault((order, white, (1,), 1, (bits,), ()), modes)


def load_tiff(image: Any) -> Image.Image:
    """Load the pixels of a TIFF, as 8-bit colours or grey; Pillow turns it upright.

    Raises
    ------
    BadImage
        When its samples have no agreed meaning, can't be decoded right, or were never scaled up.
    """
    from PIL import ImagePalette

    tags = image.tag_v2
    if reason := _refused(tags, image.mode):
        raise BadImage(reason)
    raw = tags.get(COMPRESSION, 1) == 1
    if raw and tags.get(PLANES) == 2:
        image.tile = _planes(tags, image.tile)
    tiles = image.tile
    colours = tags.get(COLOUR_MAP) if image.mode in ("P", "PA") else None
    if colours and max(colours) < 256:  # some writers put 8 bits there; libtiff, and so most viewers, see to it
        image.palette = ImagePalette.raw("RGB;L", bytes(colours))
    try:
        image.load()
    except ValueError as error:  # Pillow: "unknown raw mode"
        raise BadImage("its samples are packed in a way that can't be read; save it again") from error
    except OSError as error:
        if raw:
            raise
        raise BadImage("damaged, or compressed in a way that can't be read; save it again") from error  # libtiff: "-2"
    if image.mode == "La":
        return image.convert("LA")  # Pillow has no way from it to RGB
    if 16 in tags.get(BITS, ()) and image.mode in ("RGB", "RGBA", "RGBX", "CMYK"):
        check_colours(image, lambda: sixteen_bits(image, tiles, image.filename))
    top = 4095 if tags.get(BITS) == (12,) else 65535  # Pillow puts 12 bits into 16 as they are
    return in_8_bits(image, top, white_is_zero=tags.get(PHOTOMETRIC) == WHITE_IS_ZERO)


def _planes(tags: Any, tiles: list[Any]) -> list[Any]:
    """Say how the samples of planes are packed: Pillow keeps the first letter of it, which means 8 bits."""
    from PIL.TiffImagePlugin import OPEN_INFO

    bits = tags.get(BITS, (1,))
    if tags.get(SAMPLES, 1) == 1:
        kind = (tags.prefix, tags.get(PHOTOMETRIC), (1,), tags.get(FILL_ORDER, 1), bits, ())
        return read_as(tiles, lambda args: (OPEN_INFO[kind][1], *args[1:]))
    ending = (";16L" if tags.prefix == b"II" else ";16B") if max(bits) == 16 else ""
    return read_as(tiles, lambda args: (args[0] + ending, *args[1:]))


def _refused(tags: Mapping[int, Any], mode: str) -> str:
    """Return why a TIFF isn't decoded to what its tags say, or an empty string; `mode` is Pillow's."""
    numbers = {NUMBERS[kind] for kind in tags.get(FORMAT, ()) if kind in NUMBERS}
    photometric = tags.get(PHOTOMETRIC)
    if numbers:
        return f"{numbers.pop()} samples have no agreed white; convert it to unsigned samples of 8 or 16 bits"
    if max(tags.get(BITS, (1,))) > 16:
        return "viewers don't agree on the white of more than 16 bits; convert it to 8 or 16 bits"
    tile = tags.get(TILE_WIDTH, 0), tags.get(TILE_HEIGHT, 0)
    shown = tags.get(WIDTH, 0), tags.get(HEIGHT, 0)
    if math.prod(tile) > max(_TILE, 4 * math.prod(shown)):
        return f"a tile of {tile[0]} x {tile[1]} pixels for a picture of {shown[0]} x {shown[1]}; save it again"
    if photometric is None and mode in ("1", "L", "I;16"):
        return "it doesn't say whether 0 is black or white (PhotometricInterpretation); save it again"
    if photometric == LAB:
        return "viewers don't agree on the white point of CIELab colours; convert it to RGB"
    if photometric == SEPARATED and tags.get(INK_SET, 1) != 1:
        return "its inks are not cyan, magenta, yellow and black; convert it to RGB"
    whole = mode == "YCbCr" and tags.get(SUBSAMPLING, (2, 2)) == (1, 1)
    if photometric == YCBCR and tags.get(SAMPLES) == 3 and tags.get(COMPRESSION, 1) == 1 and not whole:
        return "uncompressed YCbCr with fewer samples of colour than of light can't be read; convert it to RGB"
    if tags.get(SAMPLES, 1) > 1 and tags.get(PLANES) == 2 and not _planes_are_read(tags, mode):
        return "samples in planes of their own (PlanarConfiguration 2) can't be read for this kind; save it interleaved"
    return ""


def piece_bytes(tags: Mapping[int, Any]) -> int:
    """Return the bytes of a strip or a tile, which is unpacked as a whole."""
    width, height = tags.get(WIDTH, 0), tags.get(HEIGHT, 0)
    if TILE_WIDTH in tags:
        width, height = tags[TILE_WIDTH], tags.get(TILE_HEIGHT, 0)
    else:
        height = min(height, tags.get(ROWS, height))
    samples = 1 if tags.get(PLANES) == 2 else tags.get(SAMPLES, 1)
    return int(width * height * samples * max(tags.get(BITS, (1,))) // 8)


def _planes_are_read(tags: Mapping[int, Any], mode: str) -> bool:
    """Return whether Pillow reads planes of this kind right, with the help of `_planes` where they are uncompressed."""
    alpha = tags.get(EXTRA, ())
    if tags.get(PHOTOMETRIC) == YCBCR:
        return False
    if tags.get(COMPRESSION, 1) == 1:
        inks = mode == "CMYK" and max(tags.get(BITS, (1,))) == 8
        return (not alpha and (mode == "RGB" or inks)) or (alpha == (2,) and mode == "RGBA")
    return mode in ("RGB", "CMYK", "L", "I;16", "I;16B") or (mode == "RGBA" and alpha in ((1,), (2,)))


def tiff_refusal(path: str) -> str:
    """Return why Pillow can't open what is a TIFF by its tags; an empty string when it is none."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    try:
        with open(path, "rb") as file:
            head = file.read(8)
            tags = ImageFileDirectory_v2(head + (file.read(8) if head[2] == 43 else b""))
            file.seek(tags.next)
            tags.load(file)
            bits = tags.get(BITS, (1,)) if WIDTH in tags else ()
            known = f"PhotometricInterpretation {tags.get(PHOTOMETRIC)}, {len(bits)} x {max(bits)} bits a pixel"
            return _refused(tags, "") or f"a TIFF of a kind that can't be read ({known}); convert it to 8-bit RGB"
    except Exception:  # whatever else it is, it isn't a TIFF of which there's something to tell
        return ""
