"""Pictures before and after, and blurs, as a page shows them: each is put into the page as its file has it.

What differs between a restored and a blurred picture may be little, so no picture is packed anew. Names of files come
from a result, which may be a stranger's: only pictures in the run's own folder are taken, and none that is too large.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from itae.look.page.pictures import address

BUDGET = 8_000_000  # bytes of the files of all pictures of a page
_SIDE = 4096  # pixels of a picture's longer side, at most
_NAME = re.compile(r"pictures/[\w-]+\.png")
_LAYERS = ("blurred", "restored", "sharp")


def compared_part(told: Sequence[Mapping[str, Any]], folder: Path, budget: int = BUDGET) -> dict[str, Any]:
    """Return what a page shows of pictures.

    Parameters
    ----------
    told
        Of each photograph, as a result tells it: ``photograph``, ``blur_px``, ``device`` and ``files``.
    folder
        The run's folder.
    budget
        Bytes of all files; what is beyond it is counted, and not shown.

    Returns
    -------
    dict
        ``compared``, of each photograph ``name``, ``blur``, ``device``, ``width`` and ``layers``: what each shows and
        its source. ``psfs``, of each its ``name``, ``blur`` and ``source``. ``left_out``, how many of them aren't
        shown.
    """
    compared, psfs, left_out = [], [], 0
    for one in told:
        read = {}
        for what in (*_LAYERS, "psf"):
            if (found := _read(folder, (one.get("files") or {}).get(what), budget)) is not None:
                read[what], budget = found, budget - len(found[0])
        name, length = str(one.get("photograph", "")), one.get("blur_px")
        about = {"name": name, "blur": "" if length is None else f"{length:.1f}"}
        layers = [{"what": what, "source": address(read[what][0], "png")} for what in _LAYERS if what in read]
        if len({read[layer["what"]][1] for layer in layers}) == 1 and len(layers) > 1:  # of one size
            width = read["blurred" if "blurred" in read else "restored"][1][0]
            compared.append(about | {"device": one.get("device"), "width": width, "layers": layers})
        else:
            left_out += 1
        if "psf" in read:
            psfs.append(about | {"source": address(read["psf"][0], "png")})
    return {"compared": compared, "psfs": psfs, "left_out": left_out}


def _read(folder: Path, name: object, most: int) -> tuple[bytes, tuple[int, int]] | None:
    """Return a picture's bytes, with its width and height; None if it isn't there or isn't to be shown."""
    from PIL import Image

    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return None
    path = folder / name
    bombs = (Image.DecompressionBombError, Image.DecompressionBombWarning)
    with contextlib.suppress(OSError, ValueError, SyntaxError, *bombs), warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file() or path.stat().st_size > most:
            return None
        data = path.read_bytes()
        size: tuple[int, int] = Image.open(io.BytesIO(data), formats=["PNG"]).size  # of its head: nothing is unpacked
        if max(size) <= _SIDE:
            return data, size
    return None
