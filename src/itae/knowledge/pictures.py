"""The bytes of images that a base keeps: a picture is there once, however many rows have it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from itae.base.errors import UserError
from itae.knowledge.filed import NO_IMAGE, Filed
from itae.knowledge.snapshot import digests_of

Picture = tuple[bytes, bytes]
"""The sha256 of an image, and its bytes."""


class Pictures(Protocol):
    """Images by their sha256."""

    def put(self, rows: Filed, image: Callable[[int], bytes] | None) -> None:
        """Keep the images of rows that are not there yet; `image` returns the bytes of the n-th."""
        ...

    def get(self, digest: bytes) -> bytes | None:
        """Return an image, None where it isn't kept."""
        ...

    def all(self) -> Iterator[Picture]:
        """Return what is kept."""
        ...

    def keep(self, digests: Iterable[bytes]) -> None:
        """Remove all but some, and every byte of what is removed."""
        ...


def new_ones(rows: Filed, image: Callable[[int], bytes] | None, there: set[bytes]) -> Iterator[Picture]:
    """Yield the images of rows that are not there, each once.

    Raises
    ------
    UserError
        When an image has other bytes than its row says, or is not given at all.
    """
    seen = set(there)
    for n, digest in enumerate(digests_of(rows)):
        told = digest.tobytes()
        if told == NO_IMAGE or told in seen:
            continue
        seen.add(told)
        name = rows.columns.column("id")[n].as_py()
        if image is None:
            raise UserError(
                f"This base keeps images, and the one of {name!r} was not given: add the pictures themselves (itae "
                "knowledge add), or take a base that refers to images (init --images refer)."
            )
        data = image(n)
        if hashlib.sha256(data).digest() != told:
            raise UserError(f"The image of {name!r} changed while it was added: nothing was; run the same once more.")
        yield told, data


def at_place(place: str, digest: bytes) -> bytes | None:
    """Return the bytes of an image where it is said to be, None where others are there, or none."""
    try:
        data = Path(place).read_bytes()
    except OSError:
        return None
    return data if hashlib.sha256(data).digest() == digest else None
