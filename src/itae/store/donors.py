"""Entries that other entries may take rows from: how they are found, and where in them an image is.

Nobody holds a lock on an entry that is read. Whatever is wrong with one, or being done to it, it is no donor, and is
left to who loads it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from itae.base.errors import UserError
from itae.store.entry import DamagedEntry, Embeddings, look_up, read_digests, read_entry
from itae.store.survey import mark_used

log = logging.getLogger(__name__)


class Donor(NamedTuple):
    """An entry as it was found.

    Attributes
    ----------
    path
        Its folder.
    meta
        What its `meta.json` says.
    """

    path: Path
    meta: dict[str, Any]

    def digests(self) -> np.ndarray | None:
        """Return the sha256 of each of its images, uint8 [n, 32], or None."""
        try:
            return read_digests(*self)
        except (DamagedEntry, UserError) as trouble:
            _tell(self.path, trouble)
            return None

    def read(self) -> Embeddings | None:
        """Return all of it, every byte verified, or None; one that took its place since is none."""
        try:
            entry = read_entry(self.path)
        except (DamagedEntry, UserError) as trouble:
            _tell(self.path, trouble)
            return None
        if entry.meta["seal"] != self.meta["seal"]:
            _tell(self.path, "it was made again")
            return None
        mark_used(self.path)
        return entry


def donors(root: Path, backbone: str) -> Iterator[Donor]:
    """Yield the entries of a backbone, of whatever data set; of each its `meta.json` is verified, and sizes."""
    for path in sorted(root.glob(f"*/{backbone}/*")):
        if not path.relative_to(root).as_posix().startswith(".") and not path.name.startswith("."):
            try:
                yield Donor(path, look_up(path))
            except (DamagedEntry, UserError) as trouble:
                _tell(path, trouble)


def _tell(path: Path, why: object) -> None:
    log.info("No rows are taken from %s: %s.", path, str(why).rstrip("."))


def places(digests: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Return where each of `digests`, uint8 [n, 32], is among those `there` [m, 32]: int64 [n], -1 for nowhere."""
    if not len(there):
        return np.full(len(digests), -1)
    first, theirs = (np.ascontiguousarray(some[:, :8]).view("<u8")[:, 0] for some in (digests, there))
    order = np.argsort(theirs, kind="stable")
    found = order[np.searchsorted(theirs[order], first).clip(max=len(order) - 1)]
    # Of two that begin alike the first is found, which may be the other one: then there is one less to take.
    return np.where((there[found] == digests).all(axis=1), found, -1)
