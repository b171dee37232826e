"""The graph of nearest neighbours that some clusterers walk on: exact, sparse, and of one piece.

By Euclidean distance, as the clusterers measure; `itae.measure.knn` asks for cosines. A graph may fall into several
components, between which nothing could be merged, or no eigenvector be told from another. scikit-learn joins them by
the nearest points of each two, through matrices of all distances between these; here they are joined along the minimum
spanning tree of their means, block by block, so that memory grows with the points and not with their square.

Shapes: N points, E embedding width, K neighbours, C components.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from itae.base.errors import UserError
from itae.base.progress import progress
from itae.measure.cluster.points import BLOCK
from itae.measure.faiss_backend import GPU_MOST, flat_index, load_faiss, pick_gpu, threads

if TYPE_CHECKING:
    from scipy.sparse import csr_array

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Graph:
    """Points and their neighbours.

    Attributes
    ----------
    links
        Sparse [N, N], symmetric, of ones: one of two points is among the nearest of the other, or they join components.
    components
        How many it had before these were joined.
    """

    links: csr_array
    components: int


def neighbour_graph(vectors_NE: np.ndarray, k: int, device: str = "cpu") -> Graph:
    """Return the graph that links each point with its `k` nearest others, joined to one piece with a warning.

    Parameters
    ----------
    vectors_NE
        float32 [N, E], finite.
    k
        How many others, 1..N-1; see `check_neighbours`.
    device
        See `itae.measure.cluster.kmeans.KMeans.fit`.

    Raises
    ------
    UserError
        When FAISS is missing.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    n = len(vectors_NE)
    nearest_NK = _nearest(vectors_NE, k, device)
    ends = np.arange(0, n * k + 1, k)
    one_way = csr_array((np.ones(n * k, np.float32), nearest_NK.ravel(), ends), shape=(n, n))
    links = one_way.maximum(one_way.T).tocsr()
    count, component_N = connected_components(links, directed=False)
    if count > 1:
        log.warning(
            "The graph of %d neighbours has %d components (the largest of %d of %d images); they are joined by the "
            "nearest images of each two, along the minimum spanning tree of their means. More clusterer.neighbours "
            "would leave fewer.", k, count, np.bincount(component_N).max(), n
        )  # fmt: skip
        one, other = _bridges(vectors_NE, component_N, count)
        bridges = csr_array((np.ones(len(one), np.float32), (one, other)), shape=(n, n))
        links = links.maximum(bridges.maximum(bridges.T)).tocsr()
    links.sort_indices()  # what walks on it goes in one order
    return Graph(links, int(count))


def check_neighbours(neighbours: int, n: int) -> None:
    """Raise a `UserError` unless each of `n` points has so many others."""
    if neighbours >= n:
        lower = f"set it to at most {n - 1}, or " if n > 1 else ""
        raise UserError(
            f"clusterer.neighbours={neighbours} is more than each of {n} images has; "
            f"{lower}take more images (dataset.limit)."
        )


def _nearest(vectors_NE: np.ndarray, k: int, device: str) -> np.ndarray:
    """Return the rows of the `k` nearest others of each, int64 [N, K], in no order."""
    faiss = load_faiss()
    n, width = vectors_NE.shape
    index = flat_index(faiss, width, pick_gpu(faiss, device) if k < GPU_MOST else None)
    found_NK = np.empty((n, k), np.int64)
    with threads(faiss), progress(n, "neighbours", "images") as advance:
        # About their mean: FAISS computes |a|^2 - 2ab + |b|^2, which far from the origin loses the distances.
        mean_E = _mean(vectors_NE)
        for start in range(0, n, BLOCK):
            index.add(np.ascontiguousarray(vectors_NE[start : start + BLOCK] - mean_E))
        for start in range(0, n, BLOCK):
            block = np.ascontiguousarray(vectors_NE[start : start + BLOCK] - mean_E)
            rows = index.search(block, k + 1)[1]
            own = rows == np.arange(start, start + len(block))[:, None]
            own[:, -1] |= ~own.any(axis=1)  # among many equal points itself need not come: the farthest goes then
            found_NK[start : start + len(block)] = rows[~own].reshape(-1, k)
            advance(len(block))
    return found_NK


def _mean(vectors_NE: np.ndarray) -> np.ndarray:
    sums = (
        vectors_NE[start : start + BLOCK].sum(axis=0, dtype=np.float64) for start in range(0, len(vectors_NE), BLOCK)
    )
    return (sum(sums, np.zeros(vectors_NE.shape[1])) / len(vectors_NE)).astype(np.float32)


def _bridges(vectors_NE: np.ndarray, component_N: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of C - 1 links that join all components.

    A component has more points than each has neighbours, so there are few of them, and their means fit into memory.
    """
    from scipy.sparse.csgraph import minimum_spanning_tree
    from sklearn.metrics.pairwise import euclidean_distances

    order = np.argsort(component_N, kind="stable")
    bounds = np.searchsorted(component_N[order], np.arange(count + 1))
    members = [order[bounds[c] : bounds[c + 1]] for c in range(count)]
    means_CE = np.stack([vectors_NE[rows].mean(axis=0, dtype=np.float64) for rows in members])
    apart_CC = euclidean_distances(means_CE - means_CE.mean(axis=0))
    apart_CC += 1  # which changes no tree; to SciPy no distance, as of equal means, is no link
    tree = minimum_spanning_tree(apart_CC).tocoo()
    ends: list[tuple[int, int]] = []
    with progress(count - 1, "joining components", "pairs") as advance:
        for a, b in zip(tree.row, tree.col, strict=True):
            ends.append(_nearest_pair(vectors_NE, members[a], members[b]))
            advance(1)
    one, other = np.array(ends).T
    return one, other


def _nearest_pair(vectors_NE: np.ndarray, some: np.ndarray, others: np.ndarray) -> tuple[int, int]:
    """Return the two rows, one of each, of least distance."""
    from sklearn.metrics import pairwise_distances_argmin_min

    few, many = sorted((some, others), key=len)
    best, pair = np.inf, (int(few[0]), int(many[0]))
    for start in range(0, len(many), BLOCK):
        rows = many[start : start + BLOCK]
        nearest, distances = pairwise_distances_argmin_min(vectors_NE[few], vectors_NE[rows])
        i = int(distances.argmin())
        if distances[i] < best:
            best, pair = float(distances[i]), (int(few[i]), int(rows[nearest[i]]))
    return pair
