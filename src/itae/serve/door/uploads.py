"""A picture that a browser sends: looked at from its header on, before anybody decodes it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

from itae.base.console import one_line
from itae.images.decode import BadImage, check
from itae.images.header import header
from itae.serve.errors import RefusedError
from itae.serve.settings import Limits

_SHOWN = 80  # letters of a name in a sentence
_READ = "give a JPEG, PNG, WebP, GIF or TIFF"


@dataclass(frozen=True)
class Upload:
    """A picture that can be read.

    Parameters
    ----------
    path
        A file of this machine, which goes with the body of `upload`.
    notes
        What to know of it.
    """

    path: str
    notes: tuple[str, ...] = ()


@contextlib.contextmanager
def upload(data: bytes, name: str, limits: Limits) -> Iterator[Upload]:
    """Have a picture in a file for a while, one that can be decoded.

    Parameters
    ----------
    data
        Its bytes.
    name
        What its sender calls it; it is no file of this machine.
    limits
        Of its bytes and pixels.

    Raises
    ------
    RefusedError
        With status 413 for a picture that is too large, 415 for what is no picture, 400 for a damaged one.
    """
    told = _short(name)
    if len(data) > limits.picture:
        raise RefusedError(413, f"{told} has {len(data) / 1e6:,.1f} MB: at most {limits.picture / 1e6:g} MB are read.")
    with tempfile.NamedTemporaryFile(prefix="itae-") as file:
        file.write(data)
        file.flush()
        yield Upload(file.name, _looked_at(file.name, data[:1024], told, limits))


def _looked_at(path: str, start: bytes, told: str, limits: Limits) -> tuple[str, ...]:
    """Return what to know of a picture; raise where it is none, or too large."""
    try:
        found = header(path)
    except BadImage as bad:
        why = "an SVG drawing, which has no pixels" if b"<svg" in start.lower() else str(bad)
        raise RefusedError(415, f"{told} can't be read as a picture ({why}); {_READ}.") from None
    if found.pixels > limits.pixels:
        raise RefusedError(
            413, f"{told} has {found.pixels / 1e6:,.1f} megapixels: at most {limits.pixels / 1e6:g} are read; make it "
            "smaller."
        )  # fmt: skip
    try:
        check(path)
    except BadImage as bad:
        raise RefusedError(400, f"{told} can't be read ({bad}); send it again, or another.") from None
    return (f"{told} has more than one frame; the first is looked for.",) if found.several else ()


def _short(name: str) -> str:
    text = one_line(name) or "The picture"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
