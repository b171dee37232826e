"""The newest version as a process has it, and what a store is to it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from itae.knowledge.ledger.journal import Edit
from itae.knowledge.records.digests import SHIFT, Blocks, block_digests, root_of
from itae.knowledge.records.filed import Filed
from itae.knowledge.records.ranges import Range
from itae.knowledge.records.snapshot import Snapshot, share


class Store(Protocol):
    """Where rows lie, in versions: `itae.knowledge.disk.lance_store.LanceStore` says what each does."""

    def read(self, version: int, beside: Path | None = None) -> Filed: ...  # noqa: D102
    def rows(self, version: int, numbers: Iterable[Range]) -> tuple[Filed, list[bytes]]: ...  # noqa: D102
    def where(self, version: int, expression: str) -> np.ndarray: ...  # noqa: D102
    def write(self, version: int, put: Filed | None, removed: Iterable[Range]) -> int: ...  # noqa: D102
    def compact(self, version: int, all_of_it: bool) -> int: ...  # noqa: D102
    def forget(self, version: int) -> None: ...  # noqa: D102
    def ahead(self, version: int) -> bool: ...  # noqa: D102
    def small_files(self, version: int) -> int: ...  # noqa: D102
    def files(self, version: int, known: bool = False) -> str | None: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class State:
    """A version, and how the journal and the store have it.

    Parameters
    ----------
    snapshot
        The version.
    store
        The store's version.
    edit
        The edit that made it, None for version 0.
    """

    snapshot: Snapshot
    store: int
    edit: Edit | None

    @property
    def blocks(self) -> Blocks:
        """The digest of each block."""
        return blocks_of(self.snapshot)

    def then(self, snapshot: Snapshot, touched: Iterable[Range]) -> tuple[Blocks, str]:
        """Return the digests and the root of the next snapshot, which differs in rows of some numbers alone."""
        blocks = {block for first, last in touched for block in range(first >> SHIFT, (last >> SHIFT) + 1)}
        some = np.array(sorted(blocks), np.int64)
        kept = {block: digest for block, digest in self.blocks.items() if block not in blocks}
        made = dict(sorted((kept | block_digests(snapshot, some)).items()))
        return made, root_of(snapshot.space, made)


def blocks_of(snapshot: Snapshot) -> Blocks:
    """Return the digest of each block of a snapshot."""
    if "blocks" not in snapshot.memo:
        snapshot.memo["blocks"] = block_digests(snapshot)
    found: Blocks = snapshot.memo["blocks"]
    return found


def rooted(snapshot: Snapshot, blocks: Blocks, root: str, following: int) -> Snapshot:
    """Return a snapshot with its root."""
    snapshot.memo["blocks"] = blocks
    made = replace(snapshot, root=root, next_number=following)
    share(snapshot, made)
    return made
