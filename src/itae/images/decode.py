"""A picture from its file, as a person sees it: upright, 8-bit RGB, transparency over white.

Whatever is lost here (an alpha channel turned black, a photo on its side, 16 bits clipped to white) reads as
a property of the backbone later. What the numbers in a file mean stands in `itae.images.samples`. Embedded colour
profiles are not applied.
"""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from itae.images.readers import load
from itae.images.samples import BadImage, in_8_bits
from itae.images.tiff import open_more, tiff_refusal

if TYPE_CHECKING:
    from PIL import Image

R = TypeVar("R")

# Part of every transform's `spec`, and so of the cache's keys. Raise it when any file that could be decoded before
# comes out as other pixels (also when a new Pillow is the cause), and not for one that was refused, or now is.
# 1 had no number in the keys, and took some TIFFs, PNGs, GIFs, PSDs and XBMs for what they are not.
DECODER = 2

# Pillow's formats that hold pixels and start with a signature, and the endings by which a file counts as a
# picture. Left out are formats that start another program (EPS), that one system only can decode (WMF), that
# need a plugin (HDF5), and TGA: it has no signature, so damaged files of other formats would pass for it.
FORMATS = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".mpo",),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "DIB": (".dib",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "JPEG2000": (".jp2", ".j2k", ".jpx", ".jpf"),
    "AVIF": (".avif", ".avifs"),
    "ICO": (".ico",),
    "PCX": (".pcx",),
    "QOI": (".qoi",),
    "SGI": (".sgi", ".rgb", ".rgba", ".bw"),
    "PSD": (".psd",),
    "DDS": (".dds",),
    "XBM": (".xbm",),
    "XPM": (".xpm",),
}
ENDINGS = frozenset(ending for endings in FORMATS.values() for ending in endings)

# Pillow warns from 89 megapixels on and refuses from 179 on. A big scan is nothing to warn about; the refusal
# stays, as a bad image like any other.
warnings.filterwarnings("ignore", message=r"Image size \(\d+ pixels\) exceeds limit")


def decode(path: str) -> Image.Image:
    """Read a picture as a person sees it: upright, 8-bit RGB, transparency over white, the first frame.

    Parameters
    ----------
    path
        A file in one of `FORMATS`; the content decides which, not the name.

    Raises
    ------
    BadImage
        When the file is missing, empty, truncated, too large (179 megapixels) or not an image, and when its
        samples have no agreed black and white or were never scaled up to their depth.
    """
    return _guarded(path, to_rgb)


def check(path: str) -> None:
    """Raise `BadImage` when `decode` would, at less cost: a JPEG is decoded to an eighth of its size."""

    def look(image: Image.Image) -> None:
        if image.format == "JPEG":
            image.draft(None, (1, 1))  # None keeps the mode
            image.load()
        else:
            to_rgb(image)

    _guarded(path, look)


def _guarded(path: str, use: Callable[[Image.Image], R]) -> R:
    """Open a file, hand the picture to `use` and turn whatever Pillow raises into a `BadImage`."""
    from PIL import Image, UnidentifiedImageError

    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise BadImage("a folder, named pipe or device, not a file")  # to read it may take for ever
        with Image.open(path, formats=_readable_formats()) as image:
            return use(image)
    except UnidentifiedImageError:
        reason = tiff_refusal(path) if os.path.getsize(path) else "the file is empty"
        raise BadImage(reason or "not an image in a format that can be read") from None
    except FileNotFoundError:
        raise BadImage("the file is missing, or a broken link") from None
    except Image.DecompressionBombError:
        raise BadImage(f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6} megapixels") from None
    except BadImage:
        raise
    except Exception as error:  # decoders raise almost any type on damaged bytes: struct.error, IndexError, ...
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BadImage(" ".join(reason.split()) or type(error).__name__) from error


@lru_cache(maxsize=1)
def _readable_formats() -> tuple[str, ...]:
    """Return the `FORMATS` that this build of Pillow can open (AVIF and WebP may be missing)."""
    from PIL import Image

    Image.init()
    open_more()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def to_rgb(image: Image.Image) -> Image.Image:
    """Turn an image that Pillow has opened into upright 8-bit RGB, transparency composited over white."""
    from PIL import Image

    image = load(image)
    _turn_upright(image)
    image = in_8_bits(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _turn_upright(image: Image.Image) -> None:
    """Apply the EXIF orientation in place; broken metadata is no reason to lose the picture."""
    from PIL import ImageOps

    try:
        ImageOps.exif_transpose(image, in_place=True)
    except Exception:
        return
