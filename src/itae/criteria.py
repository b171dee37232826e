"""How good a clustering is by itself: the criteria that need no labels, and so may choose settings.

An edit moves the embeddings, and silhouettes from two embedding spaces can't be compared. What compares is the
silhouette of both clusterings in one space, the baseline's. That space favours the baseline's own clusters.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SAMPLE = 2000
"""Images that a silhouette is measured on, at most; its cost grows with their square."""


def silhouettes(vectors_NE: np.ndarray, clusterings: Sequence[np.ndarray]) -> list[float | None]:
    """Return the silhouette of each clustering, on euclidean distances that are computed once for all.

    Parameters
    ----------
    vectors_NE
        float32 [n, E]; of more than `SAMPLE` rows, so many are drawn, always the same.
    clusterings
        Assignments, whole numbers, each [n].

    Returns
    -------
    list of float or None
        Mean over the points of (b - a) / max(a, b): a is the mean distance to the other points of the same
        cluster, b that to the nearest other cluster; 0 for a point alone in its cluster (Rousseeuw, 1987,
        doi:10.1016/0377-0427(87)90125-7). In [-1, 1]. None where all points are in one cluster or each has its own.
    """
    rows = _sample(len(vectors_NE))
    distances_NN = _distances(np.asarray(vectors_NE[rows], np.float64))
    owns = [np.unique(assignments[rows], return_inverse=True)[1] for assignments in clusterings]
    members = [np.eye(own_N.max() + 1, dtype=np.float32)[own_N] for own_N in owns]
    ends = np.cumsum([members_NC.shape[1] for members_NC in members])[:-1]
    sums = np.split(distances_NN @ np.concatenate(members, axis=1), ends, axis=1)  # the one large product
    return [_silhouette(sums_NC, own_N) for sums_NC, own_N in zip(sums, owns, strict=True)]


def _sample(n: int) -> np.ndarray:
    return np.arange(n) if n <= SAMPLE else np.sort(np.random.default_rng(0).choice(n, SAMPLE, replace=False))


def _distances(points_NE: np.ndarray) -> np.ndarray:
    points_NE = points_NE - points_NE.mean(axis=0)  # far from the origin, the differences below would lose digits
    squares_N = (points_NE**2).sum(axis=1)
    squares_NN = squares_N[:, None] + squares_N - 2 * points_NE @ points_NE.T
    np.fill_diagonal(squares_NN, 0)
    return np.sqrt(np.maximum(squares_NN, 0, out=squares_NN), out=squares_NN).astype(np.float32)


def _silhouette(sums_NC: np.ndarray, own_N: np.ndarray) -> float | None:
    """Return the silhouette from each point's cluster and the sum of its distances to each cluster's points."""
    n, clusters = sums_NC.shape
    if not 1 < clusters < n:
        return None
    sizes_C, points = np.bincount(own_N), np.arange(n)
    within_N = sums_NC[points, own_N] / np.maximum(sizes_C[own_N] - 1, 1)
    means_NC = sums_NC / sizes_C
    means_NC[points, own_N] = np.inf
    nearest_N = means_NC.min(axis=1)
    larger_N = np.maximum(within_N, nearest_N)
    usable_N = (sizes_C[own_N] > 1) & (larger_N > 0)
    return float(np.divide(nearest_N - within_N, larger_N, out=np.zeros(n), where=usable_N).mean())
