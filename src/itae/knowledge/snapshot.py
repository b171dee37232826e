"""One version of a knowledge base in memory: what every answer is a function of.

A snapshot never changes; an edit makes another. The two share what the edit left as it was, the vectors first of all:
a row keeps its position, one that was deleted is dead, and new rows come behind. So an edit of a base of a million rows
costs what it changes.

Shapes: M positions, dead ones included, N live rows, E embedding width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

NONE, SEVERAL = -1, -2
"""What stands for the label of a row that has none, and of one that has several."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One version of a base.

    Parameters
    ----------
    space
        What its vectors may be compared with: plain values, as `itae.store.entry.Key.space` has them.
    version
        How many edits made it; 0 is empty.
    root
        Hash of all that is in it, 64 hex digits.
    vectors_ME
        float32, of length 1.
    ids
        M different names among the live ones.
    alive_M
        bool: False where a row was deleted.
    labels_M
        int32: a position in `label_names`, or `NONE`, or `SEVERAL`.
    label_names
        Each once; some may have no row.
    several
        The labels of each row that has more than one, by its position.
    groups_M
        int64: equal for rows that belong together, by what was said of them or because they have the same bytes.
    digests_M32
        uint8, the sha256 of each image's bytes.
    table
        The columns ``group``, ``place``, ``source``, ``time`` and metadata, as they are on the disk, M rows.
    """

    space: dict[str, Any]
    version: int
    root: str
    vectors_ME: np.ndarray
    ids: Sequence[str]
    alive_M: np.ndarray
    labels_M: np.ndarray
    label_names: tuple[str, ...]
    several: Mapping[int, tuple[int, ...]]
    groups_M: np.ndarray
    digests_M32: np.ndarray
    table: pa.Table
    memo: dict[str, Any] = field(default_factory=dict, repr=False)
    """What was found out about this version and takes long, by name."""

    def __len__(self) -> int:
        return len(self.live)

    @cached_property
    def live(self) -> np.ndarray:
        """The positions of the live rows, ascending, int64 [N]."""
        return np.flatnonzero(self.alive_M)

    @cached_property
    def position(self) -> dict[str, int]:
        """The position of each live row, by its id."""
        return {self.ids[i]: i for i in self.live.tolist()}

    @cached_property
    def voters(self) -> np.ndarray:
        """The positions of the live rows that have a label, ascending: the others are found and never vote."""
        return self.live[self.labels_M[self.live] != NONE]

    def labels_of(self, i: int) -> tuple[str, ...]:
        """Return the labels of the row at position `i`, in the order of `label_names`."""
        code = int(self.labels_M[i])
        codes = self.several[i] if code == SEVERAL else (code,) if code >= 0 else ()
        return tuple(self.label_names[one] for one in codes)

    def column(self, name: str, i: int) -> Any:
        """Return what stands in a column of the table for the row at position `i`."""
        return self.table.column(name)[i].as_py()
