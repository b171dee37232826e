"""The similarity of two vectors: one number, whatever computes it next to what.

Shapes: N vectors, M positions of a snapshot, Q queries, L candidates, E embedding width.
"""

from __future__ import annotations

import numpy as np

from itae.base.errors import UserError

_DECIMALS = 6  # of a similarity
_SAME_LENGTH = 1e-6  # from 1: a vector stays as it is
_ROWS = 256  # at a time, in the processor's cache
_CACHE, _ACROSS = 2**17, 2**20  # numbers: of candidates at a time, and of those of one query


def unit(vectors_NE: np.ndarray, width: int | None = None) -> np.ndarray:
    """Return vectors as a base keeps them: float32 of length 1, divided in float64, or left where within 1e-6 of it.

    Raises
    ------
    UserError
        When one is not finite or is all zeros, or they aren't [N, `width`].
    """
    vectors_NE = np.asarray(vectors_NE)
    if vectors_NE.ndim != 2 or (width is not None and vectors_NE.shape[1] != width):
        raise UserError(
            f"Vectors of shape {vectors_NE.shape} can't be held against this base's; give [n, {width or 'width'}]."
        )
    out_NE, lost_N = of_length_1(vectors_NE)
    if lost_N.any():
        first = int(lost_N.argmax())
        what = "is all zeros" if np.isfinite(vectors_NE[first]).all() else "is not finite"
        raise UserError(
            f"The vector of query {first} {what} and has no direction; see what made it, and leave that image out."
        )
    return out_NE


def of_length_1(vectors_NE: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors at length 1, as `unit` does, and which have no direction, bool [N]: theirs mean nothing."""
    out_NE, lost_N = np.empty(vectors_NE.shape, np.float32), np.zeros(len(vectors_NE), bool)
    for start in range(0, len(out_NE), _ROWS):
        some = slice(start, start + _ROWS)
        wide_NE = vectors_NE[some].astype(np.float64)
        largest_N = np.abs(wide_NE).max(axis=1, initial=0.0)
        lost_N[some] = ~np.isfinite(largest_N) | (largest_N == 0)
        largest_N[lost_N[some]] = 1.0
        wide_NE[lost_N[some]] = 1.0
        scaled_NE = wide_NE / largest_N[:, None]  # whose squares are neither too large nor too small
        lengths_N = np.sqrt((scaled_NE * scaled_NE).sum(axis=1))
        as_it_is_N = np.abs(largest_N * lengths_N - 1) <= _SAME_LENGTH
        out_NE[some] = np.where(as_it_is_N[:, None], wide_NE, scaled_NE / lengths_N[:, None])
    return out_NE, lost_N


def similarities(vectors_ME: np.ndarray, queries_QE: np.ndarray, positions_QL: np.ndarray) -> np.ndarray:
    """Return the cosine of each query and each of its rows in float64, clipped to [-1, 1] and rounded to 1e-6.

    Each pair by itself, its products added up in an order that its width alone decides: a product of whole matrices
    comes out in other bits for other numbers of rows.
    """
    q, candidates = positions_QL.shape
    width = queries_QE.shape[1]
    out_QL = np.empty((q, candidates))
    step = max(1, _CACHE // max(1, candidates * width))
    across = max(1, _ACROSS // width)
    for start in range(0, q, step):
        some = slice(start, start + step)
        queries = queries_QE[some, None].astype(np.float64)
        long_q = np.sqrt((queries * queries).sum(axis=2))
        for left in range(0, candidates, across):
            part = slice(left, left + across)
            asked = np.maximum(positions_QL[some, part], 0)  # a missing one's similarity is nobody's
            rows = vectors_ME[asked.reshape(-1)].reshape(*asked.shape, width).astype(np.float64)
            long_r = np.sqrt((rows * rows).sum(axis=2))
            out_QL[some, part] = (rows * queries).sum(axis=2) / (long_r * long_q)
    return np.round(np.clip(out_QL, -1, 1), _DECIMALS) + 0.0  # no -0.0


def margin(width: int) -> float:
    """Return what a product of two vectors in float32 and their similarity differ by at most.

    A product of unit vectors is off by width x 2^-24, in whatever order it is added up (Higham, Accuracy and Stability
    of Numerical Algorithms, 3.1); lengths that are off by 1e-6 and the rounding to 1e-6 come on top.
    """
    return 1.01 * width * 2.0**-24 + 4e-6
