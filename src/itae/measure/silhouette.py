"""How good a clustering is by itself: the criteria that need no labels, and so may choose settings.

An edit moves the embeddings, and silhouettes from two embedding spaces can't be compared. What compares is the
silhouette of both clusterings in one space, the baseline's. That space favours the baseline's own clusters.
"""

from __future__ import annotations

import numpy as np

SAMPLE = 2000
"""Images that a silhouette is measured on, at most; its cost grows with their square."""


class Space:
    """Embeddings whose euclidean distances are computed once, for all clusterings that are looked at in them.

    Parameters
    ----------
    vectors_NE
        float32 [n, E]; of more than `SAMPLE` rows, so many are drawn, always the same.
    """

    def __init__(self, vectors_NE: np.ndarray) -> None:
        from sklearn.metrics.pairwise import euclidean_distances

        self._rows = _sample(len(vectors_NE))
        points_NE = np.asarray(vectors_NE[self._rows], np.float64)
        # Far from the origin the differences would lose digits.
        self._distances_NN = euclidean_distances(points_NE - points_NE.mean(axis=0))

    def silhouette(self, assignments_N: np.ndarray) -> float | None:
        """Return the silhouette of a clustering.

        Mean over the points of (b - a) / max(a, b): a is the mean distance to the other points of the same cluster, b
        that to the nearest other cluster; 0 for a point alone in its cluster (Rousseeuw, 1987,
        doi:10.1016/0377-0427(87)90125-7). In [-1, 1].

        Parameters
        ----------
        assignments_N
            Whole numbers, [n]. Negative ones are noise, and left out: neither are they points nor does another cluster
            lie where they are.

        Returns
        -------
        float or None
            None where all points are in one cluster or each has its own.
        """
        from sklearn.metrics import silhouette_score

        own, distances_NN = assignments_N[self._rows], self._distances_NN
        if (noise_N := own < 0).any():
            own, distances_NN = own[~noise_N], distances_NN[np.ix_(~noise_N, ~noise_N)]
        if not 1 < len(np.unique(own)) < len(own):
            return None
        return float(silhouette_score(distances_NN, own, metric="precomputed"))


def _sample(n: int) -> np.ndarray:
    return np.arange(n) if n <= SAMPLE else np.sort(np.random.default_rng(0).choice(n, SAMPLE, replace=False))
