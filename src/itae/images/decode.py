"""A picture from its file, as a person sees it: upright, 8-bit RGB, transparency over white.

Whatever is lost here (an alpha channel turned black, a photo on its side, 16 bits clipped to white) reads as
a property of the backbone later. What the numbers in a file mean stands in `itae.images.samples`. Embedded colour
profiles are not applied.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from itae.base.errors import UserError
from itae.images.chunks import mended
from itae.images.in_flight import ROOM, bytes_before, bytes_of
from itae.images.readers import load
from itae.images.samples import BadImage, boxes, in_8_bits
from itae.images.tiff import open_more, tiff_refusal
from itae.images.unread import other_picture

if TYPE_CHECKING:
    from PIL import Image

R = TypeVar("R")
ImageFile = Any
"""What `PIL.Image.open` returns: its pixels aren't loaded yet."""
Use = Callable[[ImageFile], "Image.Image"]
Least = Callable[[tuple[int, int]], tuple[int, int]]
"""From the size of a picture to the size that does; see `with_picture`."""

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
# By an EXIF orientation: which edges the right and the lower one become (0 to 3: left, top, right, bottom).
_EDGES = {2: (0, 3), 3: (0, 1), 4: (2, 1), 5: (3, 2), 6: (3, 0), 7: (1, 0), 8: (1, 2)}
_SCALED = ("JPEG", "MPO")  # which can be decoded to a half, a quarter or an eighth of their size
ENDINGS = frozenset(ending for endings in FORMATS.values() for ending in endings)

# Pillow warns from 89 megapixels on and refuses from 179 on. A big scan is nothing to warn about; the refusal
# stays, as a bad image like any other.
warnings.filterwarnings("ignore", message=r"Image size \(\d+ pixels\) exceeds limit")
# Damaged metadata has no say in the pixels either.
warnings.filterwarnings("ignore", message="Corrupt EXIF data|Image appears to be a malformed MPO file")


def with_picture(path: str, use: Callable[[Image.Image], R], least: Least | None = None) -> R:
    """Return what `use` makes of a picture as a person sees it: upright, 8-bit RGB, over white, the first frame.

    The pictures that all threads have in use take `IN_FLIGHT` bytes together, or it is one alone: a call waits for its
    turn, and `use` should be brief and keep no picture.

    Parameters
    ----------
    path
        A file in one of `FORMATS`; the content decides which, not the name.
    use
        Is given the picture; what it raises comes through as it is.
    least
        Where it isn't None, a JPEG may come at a half, a quarter or an eighth of its size, if that is no smaller.
        Where that is no whole number of pixels, `info` has the `box` of the picture: left, top, right, bottom.

    Raises
    ------
    BadImage
        When the file is missing, empty, truncated, too large (179 megapixels) or not an image, and when its
        samples have no agreed black and white or were never scaled up.
    UserError
        When there is too little memory for it.
    """
    with contextlib.ExitStack() as held:
        return use(_guarded(path, to_rgb, held, least))


def decode(path: str) -> Image.Image:
    """Return a picture, as `with_picture` reads it."""
    return with_picture(path, lambda image: image)


def check(path: str) -> None:
    """Raise `BadImage` when `decode` would, at less cost: a JPEG is decoded to an eighth of its size."""

    def look(image: ImageFile) -> Image.Image:
        return load(image) if image.format in _SCALED else to_rgb(image)

    with contextlib.ExitStack() as held:
        _guarded(path, look, held, lambda _: (1, 1))


def _guarded(path: str, use: Use, held: contextlib.ExitStack, least: Least | None) -> Image.Image:
    """Have `use` read a picture, `held` hold its memory, and turn whatever Pillow raises into a `BadImage`."""
    from PIL import Image, UnidentifiedImageError

    try:
        return _read(path, use, held, least)
    except (BadImage, UserError):
        raise
    except FileNotFoundError:
        raise BadImage("the file is missing, or a broken link") from None
    except UnidentifiedImageError:
        raise BadImage(why_unknown(path)) from None
    except Image.DecompressionBombError as error:
        pixels, most = pixels_refused(error), 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise BadImage(
            f"{pixels / 1e6:.0f} megapixels, and at most {most // 10**6} megapixels are read; make it smaller"
        ) from None
    except MemoryError as error:
        raise UserError(f"There is too little memory to open '{path}'; allow the process more.") from error
    except Exception as error:  # decoders raise almost any type on damaged bytes: struct.error, IndexError, ...
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BadImage(" ".join(reason.split()) or type(error).__name__) from error


def _read(path: str, use: Use, held: contextlib.ExitStack, least: Least | None) -> Image.Image:
    """Read a picture; where that fails, once more without what lies in the file beside its pixels."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise BadImage("a folder, named pipe or device, not a file")  # to read it may take for ever
    try:
        return _opened(path, path, use, held, least)
    except (BadImage, UserError, MemoryError):
        raise
    except Exception as error:
        first = error
    with open(path, "rb") as file:
        sources = mended(file)
        while True:
            held.close()
            held.enter_context(ROOM.taken(ROOM.size))  # to look for the end of a JPEG it is decoded several times
            if (source := next(sources, None)) is None:
                raise first
            try:
                return _opened(path, source, use, held, least)
            except (BadImage, UserError, MemoryError):
                raise
            except Exception:
                continue


def _opened(
    path: str, source: str | BinaryIO, use: Use, held: contextlib.ExitStack, least: Least | None
) -> Image.Image:
    from PIL import Image

    held.close()  # of an attempt that failed
    if early := bytes_before(path):
        held.enter_context(ROOM.taken(early))
    with Image.open(source, formats=readable_formats()) as image:
        size = image.size
        if least is not None and image.format in _SCALED:
            drafted = image.draft(None, least(size))  # None keeps the mode
            if drafted and drafted[1][2:] != image.size:  # the last column or row is less than one
                image.info["box"] = drafted[1]
        wanted = early or bytes_of(image, size, path)
        if not early:
            held.enter_context(ROOM.taken(wanted))
        try:
            return use(image)
        except (MemoryError, OSError) as error:
            if isinstance(error, OSError) and "out of memory" not in str(error).lower():
                raise
            raise UserError(
                f"There is too little memory to decode '{path}', whose {size[0]} x {size[1]} pixels take up "
                f"to {wanted / 1e6:.0f} MB; make it smaller, or allow the process more memory."
            ) from error


def pixels_refused(error: Image.DecompressionBombError) -> int:
    """Return the pixels of a picture that Pillow won't open for their number."""
    return int(re.findall(r"\d+", str(error))[0])


def why_unknown(path: str) -> str:
    """Return why a file can't be opened at all."""
    if not os.path.getsize(path):
        return "the file is empty"
    with open(path, "rb") as file:
        kind = other_picture(file.read(16), readable_formats())
    return kind or tiff_refusal(path) or "not an image in a format that can be read"


@lru_cache(maxsize=1)
def readable_formats() -> tuple[str, ...]:
    """Return the `FORMATS` that this build of Pillow can open (AVIF and WebP may be missing)."""
    from PIL import Image

    Image.init()
    open_more()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def to_rgb(image: ImageFile) -> Image.Image:
    """Turn an image that Pillow has opened into upright 8-bit RGB, transparency composited over white."""
    from PIL import Image

    upright = load(image)
    _turn_upright(upright)
    upright = in_8_bits(upright)
    if not upright.has_transparency_data:
        return upright if upright.mode == "RGB" else upright.convert("RGB")
    out = Image.new("RGB", upright.size)
    for box in boxes(upright.size):  # all at once it would be there four times
        part = upright.crop(box).convert("RGBA")
        out.paste(Image.alpha_composite(Image.new("RGBA", part.size, "white"), part).convert("RGB"), box)
    return out


def _turn_upright(image: Image.Image) -> None:
    """Apply the EXIF orientation in place; broken metadata is no reason to lose the picture."""
    from PIL import ImageOps

    try:
        orientation = image.getexif().get(0x0112, 1)
        ImageOps.exif_transpose(image, in_place=True)
    except Exception:
        return
    if "box" in image.info and orientation in _EDGES:
        image.info["box"] = _turned(image.info["box"], image.size, _EDGES[orientation])


def _turned(box: tuple[float, ...], size: tuple[int, int], edges: tuple[int, int]) -> tuple[float, ...]:
    """Return the box in an upright picture of this size, from that of the stored one, which began at 0, 0."""
    stored = size if edges[0] % 2 == 0 else size[::-1]
    out = [0.0, 0.0, *map(float, size)]
    for edge, whole, part in zip(edges, stored, box[2:], strict=True):
        out[edge] += (whole - part) * (1 if edge < 2 else -1)
    return tuple(out)
