"""Vectors that stay on the disk, for a base that is larger than memory.

Shapes: M positions of a snapshot, E embedding width.
"""

from __future__ import annotations

import dataclasses
import os
import uuid
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from itae.base.errors import UserError
from itae.knowledge.records.snapshot import Snapshot
from itae.store.arrays import npy_header


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
        if np.array_equal(distinct, asked):
            return found  # and no copy: what an index is trained on is large
        return found[at.reshape(-1)].reshape(*asked.shape, self.shape[1])

    @classmethod
    def written(cls, path: Path, count: int, width: int, parts: Iterable[tuple[np.ndarray, np.ndarray]]) -> VectorFile:
        """Write vectors to `path`, at once or not at all, and return them.

        Parameters
        ----------
        path
            In a folder that is there.
        count, width
            M and E.
        parts
            Positions, and their vectors; together all.
        """
        unfinished = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
        try:
            with unfinished.open("wb") as file:
                header = npy_header(count, width)
                file.write(header)
                file.truncate(len(header) + 4 * count * width)
                file.flush()
                for positions, vectors in parts:
                    borders = [0, *(np.flatnonzero(np.diff(positions) != 1) + 1).tolist(), len(positions)]
                    for first, end in pairwise(borders):
                        if first < end:
                            at = len(header) + 4 * width * int(positions[first])
                            _write(file.fileno(), np.ascontiguousarray(vectors[first:end], "<f4"), at)
            unfinished.rename(path)
        finally:
            unfinished.unlink(missing_ok=True)
        return cls(path)

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


def _write(file: int, vectors: np.ndarray, at: int) -> None:
    view, done = memoryview(vectors.tobytes()), 0
    while done < len(view):
        done += os.pwrite(file, view[done:], at + done)


def on_disk(snapshot: Snapshot, vectors: VectorFile) -> Snapshot:
    """Return a snapshot whose vectors stay on the disk."""
    return dataclasses.replace(snapshot, vectors_ME=vectors, memo={})  # type: ignore[arg-type]
