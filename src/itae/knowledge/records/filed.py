"""Rows as they are kept: columns of Arrow, and vectors of length 1 beside them."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

NO_IMAGE = bytes(32)
"""Stands for the sha256 of a row that was brought in as a vector, without an image."""

OURS = ("id", "number", "label", "labels", "vector", "group", "sha256", "place", "source", "time", "sum")
"""The columns of a base that are not the user's metadata."""

_TEXT = {name: pa.field(name, pa.string()) for name in ("group", "place")}

FIELDS = (
    pa.field("id", pa.string(), nullable=False),
    pa.field("number", pa.int64(), nullable=False),
    pa.field("labels", pa.list_(pa.string()), nullable=False),
    _TEXT["group"],
    pa.field("sha256", pa.binary(32), nullable=False),
    _TEXT["place"],
    pa.field("source", pa.string(), nullable=False),
    pa.field("time", pa.timestamp("us", tz="UTC"), nullable=False),
)
"""What `Filed.columns` has before the metadata."""


class Room:
    """float32 rows that grow behind, so that snapshots can share the front of one array.

    Memory that no row was written to is reserved and not taken.
    """

    def __init__(self, rows: int, width: int) -> None:
        self._array = np.empty((rows + rows // 4 + 4096, width), np.float32)
        self._used = rows
        self._lock = threading.Lock()

    def first(self, count: int) -> np.ndarray:
        """Return the first `count` rows."""
        return self._array[:count]

    def behind(self, held: int, more_KE: np.ndarray) -> Room:
        """Return the room whose first rows are the first `held` of these, and then `more_KE`.

        It is this one if nobody has put others there before.
        """
        room, total = self, held + len(more_KE)
        with self._lock:
            free = held == self._used and total <= len(self._array)
            self._used = total if free else self._used
        if not free:
            room = Room(total, self._array.shape[1])
            room._array[:held] = self._array[:held]
        room._array[held:total] = more_KE
        return room


@dataclass(frozen=True, eq=False)
class Filed:
    """Rows as they lie on the disk.

    Parameters
    ----------
    columns
        Those of `FIELDS`, then metadata by name.
    vectors_NE
        float32, of length 1.
    room
        Where the vectors lie, if a snapshot may take that over.
    """

    columns: pa.Table
    vectors_NE: np.ndarray
    room: Room | None = None

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def metadata(self) -> dict[str, pa.DataType]:
        """The type of each metadata column."""
        return {each.name: each.type for each in self.columns.schema if each.name not in OURS}

    def take(self, positions: np.ndarray) -> Filed:
        """Return some of the rows."""
        return Filed(self.columns.take(pa.array(positions)), self.vectors_NE[positions])


def fixed_binary(bytes_NK: np.ndarray) -> pa.Array:
    """Return uint8 [N, K] as an Arrow column of K bytes each."""
    count, width = bytes_NK.shape
    return pa.Array.from_buffers(pa.binary(width), count, [None, pa.py_buffer(np.ascontiguousarray(bytes_NK))])


def together(first: Filed, second: Filed) -> Filed:
    """Return rows, and others behind them."""
    columns = pa.concat_tables([first.columns, second.columns], promote_options="default")
    return Filed(columns, np.concatenate([first.vectors_NE, second.vectors_NE]))
