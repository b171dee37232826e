"""What is asked of embeddings before they are clustered; block by block, so that memory doesn't grow with them.

Embeddings that lie in a memory map may be larger than memory: nothing here copies all of their rows into it.

Shapes: N points, E embedding width.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from itae.base.checks import one_of
from itae.base.errors import UserError

BLOCK = 8192  # rows looked at together
IN_MEMORY = 2**30  # bytes of a memory map's rows that are copied into memory at most
SCALES = ("none", "unit")  # of the rows of both sides: as they are, or of length 1


class Scaled:
    """A clusterer whose rows may be brought to length 1: a frozen dataclass with this field.

    Parameters
    ----------
    scale
        ``none`` or ``unit``.
    """

    scale: str

    def check_scale(self) -> None:
        """Raise a `UserError` for any other."""
        one_of("clusterer.scale", self.scale, SCALES)

    @property
    def spherical(self) -> bool:
        """Whether clusters are of directions, for the page."""
        return self.scale == "unit"

    def rows(self, vectors_NE: np.ndarray) -> np.ndarray:
        """Return the rows that are clustered, float32 [N, E]; raises as `checked` does."""
        return checked(np.asarray(vectors_NE, np.float32), self.scale == "unit", "clusterer.scale=unit")


LARGEST_SQUARE = float(np.finfo(np.float32).max) / 8  # room for (x - c)^2, which may be four times as large


def checked(vectors_NE: np.ndarray, unit: bool, who: str) -> np.ndarray:
    """Return the rows, divided by their lengths if `unit`; `who` needs the directions, in a message.

    Of a memory map of more than `IN_MEMORY` bytes, unit rows are written beside it, or else among temporary files, into
    a file without a name, which is gone with the array.

    Raises
    ------
    UserError
        When rows are NaN, infinite, or too large to square in float32; or, if `unit`, of zero length; when there is no
        room for the file.
    """
    squares = np.empty(len(vectors_NE), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for rows in blocks(len(vectors_NE)):
            squares[rows] = np.einsum("ne,ne->n", vectors_NE[rows], vectors_NE[rows])
    _refuse(~(squares <= LARGEST_SQUARE), "NaN, infinite or too large to be squared in float32")
    if not unit:
        return vectors_NE
    _refuse(squares == 0, f"of zero length, which has no direction for {who}")
    lengths_N = np.sqrt(squares)
    map_NE = _map_of(vectors_NE)
    if map_NE is None or vectors_NE.nbytes <= IN_MEMORY:
        return vectors_NE / lengths_N[:, None]
    unit_NE = _scratch(map_NE, vectors_NE.shape, who)
    for rows in blocks(len(vectors_NE)):
        unit_NE[rows] = vectors_NE[rows] / lengths_N[rows, None]
    return unit_NE


def _map_of(array: np.ndarray) -> np.memmap | None:
    """Return the memory map that holds an array's numbers, or None: a view of one is no map itself."""
    while not isinstance(array, np.memmap):
        if not isinstance(array.base, np.ndarray):
            return None
        array = array.base
    return array


def _scratch(beside: np.memmap, shape: tuple[int, ...], who: str) -> np.ndarray:
    """Return a float32 array in a file that has no name: nothing is left of it, even of a process that is killed."""
    folders = [tempfile.gettempdir()]
    if beside.filename is not None and os.access(Path(beside.filename).parent, os.W_OK):
        folders.insert(0, str(Path(beside.filename).parent))
    needed = int(np.prod(shape)) * 4
    free = {folder: shutil.disk_usage(folder).free for folder in folders}
    for folder in folders:
        if free[folder] > needed:
            with tempfile.TemporaryFile(dir=folder) as file:
                return np.memmap(file, np.float32, "w+", shape=shape)
    raise UserError(
        f"{' and '.join(folders)} have too little room for {needed / 1e9:.1f} GB of vectors of unit length, which "
        f"{who} needs of those in a memory map; free some, or set TMPDIR to where there is room."
    )


def _refuse(bad_N: np.ndarray, what: str) -> None:
    if bad_N.any():
        rows = np.flatnonzero(bad_N)
        first = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
        raise UserError(
            f"{len(rows)} of {len(bad_N)} embeddings are {what} (rows {first}); "
            "look at the backbone, its precision and the edit."
        )


def blocks(n: int) -> Iterator[slice]:
    """Yield `n` rows, some at a time."""
    return (slice(start, start + BLOCK) for start in range(0, n, BLOCK))
