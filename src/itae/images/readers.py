"""Where Pillow loads a file to other pixels than its format means, and doesn't say so: what is done about it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.images.chunks import ends_with_zeros, is_cut, refuse_damaged
from itae.images.samples import BadImage, check_colours, read_as, sixteen_bits
from itae.images.tiff import load_tiff

if TYPE_CHECKING:
    from PIL import Image


def load(image: Any) -> Image.Image:
    """Load the pixels of an opened file.

    Parameters
    ----------
    image
        As `PIL.Image.open` returns it; its pixels aren't loaded yet.

    Returns
    -------
    Image
        In colours of 8 bits, their transparency of as many, or in grey of 8 or 16 bits.

    Raises
    ------
    BadImage
        When its samples have no agreed meaning, can't be decoded right, or were never scaled up.
    """
    if image.mode == "F":
        raise BadImage("floating point pixels have no agreed white; convert it to 8 or 16 bits")
    if image.mode == "LAB":
        raise BadImage("viewers don't agree on the white point of CIELab colours; convert it to RGB")
    if image.format in READERS:
        return READERS[image.format](image)
    image.load()
    return image


def _png(image: Any) -> Image.Image:
    from PIL import Image

    tiles, source, place = image.tile, image.filename or image.fp, image.fp.tell()
    refuse_damaged(image.fp)
    image.fp.seek(place)
    rawmode = tiles[0][3]
    image.load()
    key = image.info.get("transparency")
    if rawmode in ("L;2", "L;4") and isinstance(key, int):  # the pixels have been scaled, the key hasn't
        image.info["transparency"] = key * (85 if rawmode == "L;2" else 17)
    if rawmode in ("RGB;16B", "RGBA;16B", "LA;16B"):
        check_colours(image, lambda: sixteen_bits(image, tiles, source))
        if isinstance(key, tuple):  # one colour is transparent: all of its bits count
            opaque = np.empty(image.size[::-1], bool)
            for (left, top, right, bottom), values in sixteen_bits(image, tiles, source):
                opaque[top:bottom, left:right] = (values != np.array(key, np.uint16)).any(-1)
            del image.info["transparency"]
            image.putalpha(Image.fromarray(opaque))
    return image


def _jpeg(image: Any) -> Image.Image:
    """Read a JPEG, unless the end of its samples is missing: from there on all is grey, by a decoder's own choice."""
    source, hollow = image.filename or image.fp, ends_with_zeros(image.fp)
    image.load()
    last = np.atleast_1d(image.getpixel((image.width - 1, image.height - 1)))
    if not hollow and not np.isin(last, (127, 128)).all():
        return image
    with open(source, "rb") if isinstance(source, str) else contextlib.nullcontext(source) as file:
        if is_cut(file):
            raise BadImage("truncated: the end of it is missing, and decoders put grey there")
    return image


def _jpeg2000(image: Any) -> Image.Image:
    """Read JPEG 2000: Pillow shifts samples to 8 bits, whereby white of fewer is grey, and white of more overflows."""
    place = image.fp.tell()
    image.fp.seek(0)
    data = image.fp.read()
    image.fp.seek(place)
    at = data.find(b"\xff\x4f\xff\x51") + 40  # the codestream's start and SIZ: its count of components, their depths
    depths = {1 + data[at + 2 + 3 * i] % 128 for i in range(int.from_bytes(data[at : at + 2], "big"))}
    image.load()
    if image.mode in ("P", "PA") or image.mode.startswith("I;16") or depths == {8}:
        return image
    if len(depths) != 1 or max(depths) > 8:
        raise BadImage("colours of more than 8 bits in JPEG 2000 can't be read right; convert it to 8 bits, or to PNG")
    bits = depths.pop()
    top = 2**bits - 1
    shades = [((value >> 8 - bits) * 255 + top // 2) // top for value in range(256)]
    return image.point(shades * len(image.getbands()))


def _ppm(image: Any) -> Image.Image:
    args = image.tile[0][3]
    image.load()
    if image.mode == "RGB" and isinstance(args, tuple) and args[1] > 255:
        check_colours(image)
    return image


def _sgi(image: Any) -> Image.Image:
    codec, *_, args = image.tile[0]
    image.load()
    if codec == "SGI16" or (codec == "sgi_rle" and args[2] == 2):
        check_colours(image)
    return image


def _psd(image: Any) -> Image.Image:
    """Read a PSD as Photoshop shows it: 1 is black, and a fourth channel may be a mask that isn't shown."""
    file = image.fp
    file.seek(24)
    if int.from_bytes(file.read(2), "big") == 7:
        raise BadImage("channels of inks of one's own (multichannel) have no agreed colours; convert it to RGB")
    opaque = image.mode == "RGBA" and not _is_transparent(file)
    if image.mode == "1":
        image.tile = read_as(image.tile, lambda _: "1;I")
    image.load()
    return image.convert("RGB") if opaque else image


def _is_transparent(file: Any) -> bool:
    """Return whether the last channel of a PSD is its transparency: then the count of layers is negative."""
    file.seek(26)
    for _ in range(2):  # the palette, the resources
        file.seek(int.from_bytes(file.read(4), "big"), 1)
    lengths = file.read(4), file.read(4)  # of all that follows, and of the layers
    return all(map(any, lengths)) and int.from_bytes(file.read(2), "big", signed=True) < 0


def _gif(image: Any) -> Image.Image:
    """Read a GIF's first frame; where it doesn't reach, there is nothing, as in browsers: Pillow has palette entry 0.

    GIF89a has a background colour for that, which writers give no thought and viewers no heed.
    """
    from PIL import Image

    box = image.tile[0][1]
    image.load()
    if box == (0, 0, *image.size) or "transparency" in image.info:
        return image
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(image.crop(box).convert("RGB"), box)
    return canvas


def _xbm(image: Any) -> Image.Image:
    """Read an X bitmap: 1 is ink, and Pillow has it white."""
    from PIL import ImageOps

    image.load()
    return ImageOps.invert(image.convert("L"))


READERS = {
    "PNG": _png,
    "JPEG": _jpeg,
    "MPO": _jpeg,
    "TIFF": load_tiff,
    "JPEG2000": _jpeg2000,
    "PPM": _ppm,
    "SGI": _sgi,
    "PSD": _psd,
    "GIF": _gif,
    "XBM": _xbm,
}
