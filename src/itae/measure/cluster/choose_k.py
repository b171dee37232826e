"""How many clusters there are, by embeddings alone: the k-means clustering that is the shortest to write down.

To write points down cluster by cluster, up to an error, takes fewer bits the flatter each cluster is, and more the more
clusters there are to describe. The number of clusters of least coding length needs no labels and may be one. The best
silhouette is told beside it as a second opinion.

It is always k-means that is asked, whichever clusterer follows, so that all clusterers of a sweep get the same number.

Letters: N points, E embedding width, D width that is left, K clusters.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from itae.base.progress import progress
from itae.measure.cluster.kmeans import KMeans
from itae.measure.cluster.points import checked
from itae.measure.cluster.reduce import signed
from itae.measure.silhouette import Space

log = logging.getLogger(__name__)

CRITERION = "coding_length"
EPSILON = 0.1
"""The squared error, of points of unit length, that the points are written down with."""
SAMPLE = 10_000
"""Points that are clustered to choose k, at most, or ten for each cluster of the largest candidate."""
_VARIANCE = 0.95  # of the variance is in the directions that are kept
_WIDEST = 128  # directions, at most: a covariance matrix of each cluster is written down
_A_CLUSTER = 10
_RESTARTS, _ITERATIONS = 5, 50


@dataclass(frozen=True)
class Choice:
    """Which number of clusters was chosen, and by what.

    Attributes
    ----------
    k
        The candidate of least coding length; of equally good ones the smallest.
    second_opinion
        The one of the best silhouette; None where none has one, as of one cluster.
    candidates
        What was chosen among, the smallest first.
    coding_length
        Of each candidate's clustering, in nats a point.
    silhouette
        Of each candidate's clustering, or None.
    images, of
        How many points were clustered, drawn from how many.
    width
        D, the directions that the points were reduced to.
    """

    k: int
    second_opinion: int | None
    candidates: tuple[int, ...]
    coding_length: tuple[float, ...]
    silhouette: tuple[float | None, ...]
    images: int
    of: int
    width: int

    def plain(self) -> dict[str, Any]:
        """Return it as ``result.json`` has it."""
        return {"k": self.k, "criterion": CRITERION, "second_opinion": self.second_opinion,
                "candidates": list(self.candidates), CRITERION: list(self.coding_length),
                "silhouette": list(self.silhouette), "images": self.images, "of": self.of,
                "width": self.width}  # fmt: skip


def choose_k(vectors_NE: np.ndarray, candidates: Sequence[int], seed: int) -> Choice:
    """Return the number of clusters whose k-means clustering has the least coding length.

    Rows are brought to unit length and reduced to the directions that hold 95 % of their variance, and one for their
    mean (at most 128), which are clustered and coded. On the CPU, so that it comes out the same on every machine.

    Parameters
    ----------
    vectors_NE
        float32 [N, E], the untouched embeddings; of many rows, `SAMPLE` are drawn, the same for the same seed.
    candidates
        Whole numbers, 1..N, ascending.
    seed
        Of the draw and of k-means.

    Raises
    ------
    UserError
        When rows are NaN, infinite, or of zero length; when FAISS is missing.
    """
    n = len(vectors_NE)
    rows = _drawn(n, max(SAMPLE, _A_CLUSTER * max(candidates)), seed)
    own_NE = np.asarray(vectors_NE if len(rows) == n else vectors_NE[rows], np.float32)
    unit_ND = reduced(checked(own_NE, True, "the choice of k"))
    space, kmeans = Space(own_NE), KMeans(restarts=_RESTARTS, iterations=_ITERATIONS)
    lengths: list[float] = []
    silhouettes: list[float | None] = []
    with progress(len(candidates), "choosing k", "candidates") as advance:
        for k in candidates:
            found = kmeans.fit(unit_ND, k, seed, "cpu").assignments
            lengths.append(float(coding_length(unit_ND, found)) / len(rows))
            silhouettes.append(space.silhouette(found))
            advance(1)
    known = [i for i, value in enumerate(silhouettes) if value is not None]
    best = max(known, key=lambda i: silhouettes[i] or 0.0, default=None)
    choice = Choice(
        int(candidates[int(np.argmin(lengths))]), None if best is None else int(candidates[best]), tuple(candidates),
        tuple(lengths), tuple(silhouettes), len(rows), n, unit_ND.shape[1],
    )  # fmt: skip
    log.info("k=%d of %d candidates by coding length; by silhouette %s", choice.k, len(lengths), choice.second_opinion)
    return choice


def coding_length(points_ND: np.ndarray, assignments_N: np.ndarray, epsilon: float = EPSILON) -> float:
    """Return how many nats it takes to write points down cluster by cluster, each as a Gaussian about the origin.

    The sum over clusters of ``(m_c + D) / 2 * ln det(I + D / (epsilon m_c) Z_c' Z_c) - m_c ln(m_c / N)``, of the m_c
    points Z_c of a cluster: the points within it, and which cluster each is in (Ma et al., 2007,
    doi:10.1109/TPAMI.2007.1085; to choose k of frozen embeddings: Chu et al., 2024, arXiv:2306.05272).

    Parameters
    ----------
    points_ND
        Of about unit length.
    assignments_N
        Whole numbers >= 0.
    epsilon
        The squared error of a point, above 0.
    """
    n, width = points_ND.shape
    total = 0.0
    for cluster in np.unique(assignments_N):
        own = points_ND[assignments_N == cluster].astype(np.float64)
        small = own.T @ own if len(own) >= width else own @ own.T  # their determinants are the same
        _, logdet = np.linalg.slogdet(np.eye(len(small)) + width / (epsilon * len(own)) * small)
        total += (len(own) + width) / 2 * float(logdet) - len(own) * np.log(len(own) / n)
    return total


def reduced(unit_NE: np.ndarray) -> np.ndarray:
    """Return the rows in fewer directions, float32 [N, D]: the largest of their second moments about the origin.

    As many as principal components hold 95 % of the variance, and one for the mean, which the origin is apart from; at
    most 128 and never more than there are.
    """
    n, width = unit_NE.shape
    second_EE = np.zeros((width, width))
    for start in range(0, n, SAMPLE):
        some = unit_NE[start : start + SAMPLE].astype(np.float64)
        second_EE += some.T @ some / n
    mean_E = unit_NE.mean(axis=0, dtype=np.float64)
    variances = np.clip(np.linalg.eigvalsh(second_EE - np.outer(mean_E, mean_E))[::-1], 0, None)
    held = np.cumsum(variances) / max(variances.sum(), np.finfo(float).tiny)
    count = min(int(np.searchsorted(held, _VARIANCE - 1e-9)) + 2, width, _WIDEST)
    _, directions_EE = np.linalg.eigh(second_EE)
    return np.asarray(unit_NE @ signed(directions_EE[:, ::-1][:, :count]), np.float32)


def _drawn(n: int, most: int, seed: int) -> np.ndarray:
    """Return the rows that are looked at, ascending: all of few."""
    return np.arange(n) if n <= most else np.sort(np.random.default_rng(seed).choice(n, most, replace=False))
