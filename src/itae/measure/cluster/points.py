"""What is asked of embeddings before they are clustered; block by block, so that memory doesn't grow with them.

Shapes: N points, E embedding width.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from itae.base.errors import UserError

BLOCK = 8192  # rows looked at together
LARGEST_SQUARE = float(np.finfo(np.float32).max) / 8  # room for (x - c)^2, which may be four times as large


def checked(vectors_NE: np.ndarray, unit: bool, who: str) -> np.ndarray:
    """Return the rows, divided by their lengths if `unit`; `who` needs the directions, in a message.

    Raises
    ------
    UserError
        When rows are NaN, infinite, or too large to square in float32; or, if `unit`, of zero length.
    """
    squares = np.empty(len(vectors_NE), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for rows in blocks(len(vectors_NE)):
            squares[rows] = np.einsum("ne,ne->n", vectors_NE[rows], vectors_NE[rows])
    _refuse(~(squares <= LARGEST_SQUARE), "NaN, infinite or too large to be squared in float32")
    if not unit:
        return vectors_NE
    _refuse(squares == 0, f"of zero length, which has no direction for {who}")
    return vectors_NE / np.sqrt(squares)[:, None]


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
