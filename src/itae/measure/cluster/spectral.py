"""Spectral clustering: k-means in the space of the smoothest functions on the graph of nearest neighbours.

The graph is sparse, and so is all that is computed with it: memory grows with the points. Shi & Malik, 2000
(doi:10.1109/34.868688), with the normalisation of von Luxburg, 2007 (arXiv:0711.0189): eigenvectors of the random walk.

Shapes: N points, E embedding width, K clusters.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, replace

import numpy as np

from itae.base.checks import whole
from itae.base.device import memory_told
from itae.base.errors import UserError
from itae.measure.cluster.clustered import Objective, Partition
from itae.measure.cluster.graph import Graph, check_neighbours, neighbour_graph
from itae.measure.cluster.kmeans import KMeans
from itae.measure.cluster.numbered import Seeded
from itae.measure.cluster.points import Scaled, blocks
from itae.measure.faiss_backend import require_faiss

log = logging.getLogger(__name__)

_SMALL = 1500  # points up to which all eigenvectors are computed at once
_CLOSE = 1e-6  # of an eigenvalue, to which k-means is indifferent


@dataclass(frozen=True)
class Spectral(Scaled, Seeded):
    """Spectral clustering of a graph of nearest neighbours: settings, and the fit.

    Parameters
    ----------
    k
        See `Numbered`.
    neighbours
        Each point is linked with so many nearest ones, and with those it is one of. Default 30.
    scale
        ``none`` (default): embeddings as they are. ``unit``: each divided by its length, so that neighbours are by
        cosine. The same on both sides.
    restarts
        Of k-means on the eigenvectors; see `KMeans`. Default 10.
    seeds
        How many are drawn from the run's base seed (default 10), or the seeds themselves. They are of k-means alone:
        graph and eigenvectors are the same for all.

    Raises
    ------
    UserError
        When a setting is out of its range.
    """

    neighbours: int = 30
    scale: str = "none"
    restarts: int = 10

    def __post_init__(self) -> None:
        """Check every value."""
        super().__post_init__()
        whole("clusterer.neighbours", self.neighbours, low=1)
        self.check_scale()
        whole("clusterer.restarts", self.restarts, low=1)

    def check(self, n: int, n_classes: int | None) -> int | None:
        """Return the number of clusters, as of `Numbered`; refuse more neighbours than there are points."""
        require_faiss()
        check_neighbours(self.neighbours, n)
        return super().check(n, n_classes)

    def fit(self, vectors_NE: np.ndarray, k: int, seed: int, device: str = "auto") -> Partition:
        """Cluster the rows of the first `k` eigenvectors, those of each point.

        Parameters
        ----------
        vectors_NE
            float32 [N, E].
        k
            Number of clusters, 1..N.
        seed
            A whole number >= 0, of k-means.
        device
            Where neighbours are looked for and k-means runs, see `KMeans.fit`.

        Returns
        -------
        Partition
            Objective: ``spectral_inertia``, that of k-means among the eigenvectors. Fact: ``components``, how many the
            graph had before they were joined.

        Raises
        ------
        UserError
            When rows are NaN, infinite, or too large to square in float32, or of zero length for ``scale=unit``; when
            neighbours are too many; when eigenvectors can't be found; when memory is too little.
        """
        vectors_NE = np.asarray(vectors_NE, np.float32)
        replace(self, k=k, candidates=None).check(len(vectors_NE), None)
        lower = "lower clusterer.neighbours or take fewer images (dataset.limit)"
        with memory_told(f"for spectral clustering of {len(vectors_NE)} vectors; {lower}"):
            smooth_NK, components = self._smooth(vectors_NE, k, device)
        found = KMeans(restarts=self.restarts).fit(smooth_NK, k, seed, device)
        assert found.objective is not None
        objective = Objective("spectral_inertia", found.objective.value)
        return Partition(found.assignments, objective, device=found.device, info={"components": components})

    def _smooth(self, vectors_NE: np.ndarray, k: int, device: str) -> tuple[np.ndarray, int]:
        """Return the eigenvectors and the graph's components, kept for the next seed's fit of the same points."""
        digest = hashlib.sha256(repr((vectors_NE.shape, k)).encode())
        for rows in blocks(len(vectors_NE)):
            digest.update(np.ascontiguousarray(vectors_NE[rows]).data)
        kept: tuple[bytes, np.ndarray, int] | None = getattr(self, "_kept", None)
        if kept is None or kept[0] != digest.digest():
            points_NE = self.rows(vectors_NE)
            graph = neighbour_graph(points_NE, self.neighbours, device)
            kept = digest.digest(), smoothest(graph, k), graph.components
            object.__setattr__(self, "_kept", kept)  # no setting
        return kept[1], kept[2]


def smoothest(graph: Graph, k: int) -> np.ndarray:
    """Return the `k` eigenvectors of the random walk on a graph whose eigenvalues are largest, float32 [N, K].

    Those of D^-1/2 A D^-1/2, which is symmetric, times D^-1/2; without shift and inversion, whose factors of a graph of
    neighbours in many dimensions are as large as all pairs. Scaled so that the constant one is 1.

    Raises
    ------
    UserError
        When they can't be found in so many iterations.
    """
    from scipy.linalg import eigh
    from scipy.sparse import diags_array
    from scipy.sparse.linalg import ArpackNoConvergence, eigsh

    n = graph.links.shape[0]
    degrees_N = np.asarray(graph.links.sum(axis=1), np.float64).ravel()
    root_N = 1 / np.sqrt(degrees_N)
    scaled = diags_array(root_N)
    walk = (scaled @ graph.links.astype(np.float64) @ scaled).tocsr()
    if n <= _SMALL or k > n // 3:
        vectors_NK = eigh(walk.toarray(), subset_by_index=(n - k, n - 1))[1]
    else:
        start_N = np.random.default_rng(0).uniform(-1, 1, n)
        basis = min(n, max(4 * k + 1, 40))
        try:
            vectors_NK = eigsh(walk, k, which="LA", v0=start_N, ncv=basis, tol=_CLOSE, maxiter=50 * n // basis + 1000)[
                1
            ]
        except ArpackNoConvergence as error:
            raise UserError(
                f"The eigenvectors of the graph of neighbours of {n} images can't be told apart well enough for "
                "spectral clustering; raise clusterer.neighbours, which links more of them."
            ) from error
    vectors_NK = vectors_NK[:, ::-1] * root_N[:, None] * np.sqrt(degrees_N.sum())
    return np.ascontiguousarray(vectors_NK, np.float32)
