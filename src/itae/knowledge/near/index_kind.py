"""What an index on the disk needs of the library that makes it: FAISS or Lance.

Shapes: N live rows, Q queries, L candidates, E embedding width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from itae.base.progress import progress
from itae.knowledge.records.snapshot import Snapshot

ROWS = 16_384
"""Live rows whose vectors are in memory at a time."""

Search = Callable[[np.ndarray, int], np.ndarray]
"""Gives for queries, float32 [Q, E], and a count the numbers of live rows, int64 [Q, L]; -1 where there are fewer."""


class Kind(Protocol):
    """An index of some library, by the text in ``knowledge.index``."""

    @property
    def version(self) -> str:
        """The library and its version; an index of another one is made anew."""

    def make(self, snapshot: Snapshot, folder: Path) -> str:
        """Write an index of all live rows into an empty folder, and return how it is searched by default.

        Raises
        ------
        UserError
            When the library knows no such index; when there are too few rows for it.
        """

    def read(self, folder: Path, search: str) -> Search:
        """Open an index that was made, to be searched with the library's parameters; "" is its own way.

        Raises
        ------
        UserError
            When the library knows no such parameters.
        """


def blocks(snapshot: Snapshot, start: int, end: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield numbers of live rows from `start` to `end` and their vectors, float32 [n, E], some at a time."""
    with progress(len(snapshot), "index", "images", start) as advance:
        for first in range(start, end, ROWS):
            rows = np.arange(first, min(first + ROWS, end))
            yield rows, np.ascontiguousarray(snapshot.vectors_ME[snapshot.live[rows]], np.float32)
            advance(len(rows))
