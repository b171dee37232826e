"""The minimum spanning tree of mutual reachability, exactly, without a matrix of all distances.

Two points are as far apart as they are, or as either is from its k-th neighbour, if that is farther (Campello et al.,
2013, doi:10.1007/978-3-642-37456-2_14). scikit-learn finds this tree through a kd-tree and one distance at a time: of
6,000 x 384 in more than thirty seconds. Here a step of Prim's algorithm (1957, doi:10.1002/j.1538-7305.1957.tb01515.x)
is one product of a matrix with a vector, of what isn't in the tree yet, so memory is that of one copy of the points.

Shapes: N points, E their width, M points outside of the tree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from itae.base.progress import progress
from itae.measure.cluster.points import blocks
from itae.measure.faiss_backend import flat_index, load_faiss, threads

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def reachability_tree(points_NE: np.ndarray, around: int) -> csr_array:
    """Return the edges of the tree and their weights, sparse float64 [N, N], each once.

    Parameters
    ----------
    points_NE
        [N, E], finite, at least two.
    around
        The k of the k-th neighbour, the point itself counted, 1..N.

    Returns
    -------
    scipy.sparse.csr_array
        Distances of mutual reachability, computed anew in float64 for the edges found in float32; 0 is raised to the
        1e-9th part of the largest, since 0 is no edge in a sparse graph. Many are equal, a point's distance to its k-th
        neighbour; those are told apart by the order in which they were found, in the 13th digit, so that clusters don't
        hang on how a library sorts equal numbers.

    Raises
    ------
    UserError
        When FAISS is missing.
    """
    from scipy.sparse import csr_array

    n = len(points_NE)
    centred_NE = np.ascontiguousarray(points_NE - points_NE.mean(axis=0, dtype=np.float64), np.float32)
    core_N = _cores(centred_NE, around)
    one, other = _prim(centred_NE, core_N.astype(np.float32) ** 2)
    weights = np.maximum(_distances(centred_NE, one, other), np.maximum(core_N[one], core_N[other]))
    weights = np.maximum(weights, 1e-9 * weights.max() or 1.0)
    weights *= 1 + 1e-13 * np.arange(n - 1)
    return csr_array((weights, (one, other)), shape=(n, n))


def _cores(points_NE: np.ndarray, around: int) -> np.ndarray:
    """Return how far each point is from its `around`-th nearest, itself the first, float64 [N]."""
    faiss = load_faiss()
    index = flat_index(faiss, points_NE.shape[1], None)
    index.add(points_NE)
    core_N = np.empty(len(points_NE))
    with threads(faiss), progress(len(points_NE), "neighbours", "images") as advance:
        for rows in blocks(len(points_NE)):
            last = index.search(points_NE[rows], around)[1][:, -1]
            core_N[rows] = _distances(points_NE, np.arange(len(points_NE))[rows], last)
            advance(len(last))
    return core_N


def _prim(points_NE: np.ndarray, core_squared_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the N - 1 edges, those that were in the tree first and those that came by them."""
    n = len(points_NE)
    outside, core, length = points_NE.copy(), core_squared_N.copy(), np.einsum("ne,ne->n", points_NE, points_NE)
    number, nearest, by = np.arange(n), np.full(n, np.inf, np.float32), np.zeros(n, np.int64)
    one, other = np.empty(n - 1, np.int64), np.empty(n - 1, np.int64)
    taken, m = 0, n
    with progress(n - 1, "spanning tree", "images") as advance:
        for step in range(n):
            point, its_number, its_core, its_length = outside[taken].copy(), number[taken], core[taken], length[taken]
            m -= 1  # the last one takes its place: what is outside stays in one piece
            for each in (outside, core, length, number, nearest, by):
                each[taken] = each[m]
            if not m:
                break
            apart = outside[:m] @ point
            apart *= -2
            apart += length[:m]
            apart += its_length
            np.maximum(apart, core[:m], out=apart)
            np.maximum(apart, its_core, out=apart)
            by[:m][apart < nearest[:m]] = its_number
            np.minimum(nearest[:m], apart, out=nearest[:m])
            taken = int(nearest[:m].argmin())
            one[step], other[step] = by[taken], number[taken]
            if step % 256 == 255:
                advance(256)
    return one, other


def _distances(points_NE: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    found = np.empty(len(one))
    for rows in blocks(len(one)):
        difference = np.subtract(points_NE[one[rows]], points_NE[other[rows]], dtype=np.float64)
        found[rows] = np.sqrt(np.einsum("ne,ne->n", difference, difference))
    return found
