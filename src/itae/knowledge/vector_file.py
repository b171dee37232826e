"""Vectors that stay on the disk, for a base that is larger than memory.

Shapes: M positions of a snapshot, E embedding width.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np

from itae.base.errors import UserError
from itae.knowledge.snapshot import Snapshot


class VectorFile:
    """Vectors that stay on the disk: rows are read as they are asked for, and none are kept.

    A memory map would do the same, but that the system counts what it has read to the process's memory.

    Parameters
    ----------
    path
        A ``.npy`` file, float32 [M, E], in C order.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, path: Path) -> None:
        array = np.load(path, mmap_mode="r")
        assert array.dtype == np.float32
        assert array.flags.c_contiguous
        self.path, self.shape, self._begin = path, array.shape, int(array.offset)
        self._file = os.open(path, os.O_RDONLY)

    def __len__(self) -> int:
        return self.shape[0]

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Return the vectors of a slice, or of some positions, in their order."""
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            assert step == 1
            return self._read(start, max(0, stop - start))
        asked = np.asarray(rows, np.int64)
        assert not asked.size or asked.min() >= 0
        distinct, at = np.unique(asked, return_inverse=True)
        found = np.empty((len(distinct), self.shape[1]), np.float32)
        borders = np.concatenate([[0], np.flatnonzero(np.diff(distinct) != 1) + 1, [len(distinct)]])
        for first, end in zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True):
            if first < end:
                found[first:end] = self._read(int(distinct[first]), end - first)
        return found[at.reshape(-1)].reshape(*asked.shape, self.shape[1])

    def _read(self, first: int, count: int) -> np.ndarray:
        width = self.shape[1] * 4
        data = bytearray(count * width)
        view, done = memoryview(data), 0
        while done < len(data):
            got = os.preadv(self._file, [view[done:]], self._begin + first * width + done)
            if not got:
                raise UserError(f"{self.path} ends before its last row: make the index anew.")
            done += got
        return np.frombuffer(data, np.float32).reshape(count, self.shape[1])


def on_disk(snapshot: Snapshot, vectors: VectorFile) -> Snapshot:
    """Return a snapshot whose vectors stay on the disk."""
    return dataclasses.replace(snapshot, vectors_ME=vectors, memo={})  # type: ignore[arg-type]
