"""The bytes of images that a base keeps: a picture is there once, however many rows have it.

Each is a file of its own, named by its sha256, so that no library has to make sense of bytes before they are seen to be
whole: some damage makes Lance end the process.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from itae.base.errors import UserError
from itae.knowledge.disk.folder import Folder
from itae.knowledge.records.filed import NO_IMAGE, Filed
from itae.knowledge.records.sealed import Damaged
from itae.knowledge.records.snapshot import digests_of

_SHA256 = re.compile(r"images/[0-9a-f]{2}/[0-9a-f]{62}")
# By the first byte of the sha256: many files in one folder are slow on some disks.
_FOLDERS = [f"images/{first:02x}" for first in range(256)]
_BATCH, _WRITERS = 64, 8  # images in memory, and files brought to the disk, at a time


class Pictures:
    """Images by their sha256.

    Parameters
    ----------
    folder
        The base's.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    def put(self, rows: Filed, image: Callable[[int], bytes] | None) -> None:
        """Keep the images of rows that are not there yet; `image` returns the bytes of the n-th.

        Raises
        ------
        UserError
            When an image has other bytes than its row says, or is not given at all.
        """
        new = self._new(rows, image)
        with ThreadPoolExecutor(_WRITERS) as pool:
            while some := list(islice(new, _BATCH)):
                list(pool.map(self.folder.write, *zip(*some, strict=True)))

    def _new(self, rows: Filed, image: Callable[[int], bytes] | None) -> Iterator[tuple[str, bytes]]:
        """Yield the file of each image that is not there, once, and its bytes."""
        seen = {NO_IMAGE}
        for n, digest in enumerate(digests_of(rows)):
            told = digest.tobytes()
            if told in seen or self.folder.exists(_file(told)):
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
                raise UserError(
                    f"The image of {name!r} changed while it was added: nothing was; run the same once more."
                )
            yield _file(told), data

    def get(self, digest: bytes) -> bytes | None:
        """Return an image, None where it isn't kept.

        Raises
        ------
        Damaged
            When it isn't as it was written.
        """
        try:
            data = self.folder.read(_file(digest))
        except FileNotFoundError:
            return None
        if hashlib.sha256(data).digest() != digest:
            raise Damaged(f"{_file(digest)} has other bytes than it had")
        return data

    def all(self) -> Iterator[bytes]:
        """Return the sha256 of those that are kept, without reading them."""
        for folder in _FOLDERS:
            for name in self.folder.names(folder):
                if _SHA256.fullmatch(f"{folder}/{name}"):
                    yield bytes.fromhex(folder[-2:] + name)

    def keep(self, digests: Iterable[bytes]) -> None:
        """Remove all but some, and every byte of what is removed."""
        wanted = {_file(digest) for digest in digests}
        for folder in _FOLDERS:
            self.folder.keep(folder, {name for name in self.folder.names(folder) if f"{folder}/{name}" in wanted})


def _file(digest: bytes) -> str:
    told = digest.hex()
    return f"images/{told[:2]}/{told[2:]}"


def at_place(place: str, digest: bytes) -> bytes | None:
    """Return the bytes of an image where it is said to be, None where others are there, or none."""
    try:
        data = Path(place).read_bytes()
    except OSError:
        return None
    return data if hashlib.sha256(data).digest() == digest else None
