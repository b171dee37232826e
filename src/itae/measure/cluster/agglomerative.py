"""Agglomerative clustering: what is alike is merged, two at a time, until few are left (scikit-learn).

By default only neighbours in the graph of nearest neighbours may merge. That follows clusters of any shape, and takes
memory in proportion to the points; to compare each with each takes it in proportion to their square. Nothing is random:
there are no seeds, and no spread over them.

Shapes: N points, E embedding width.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from itae.base.checks import number, one_of, whole
from itae.base.device import memory_told
from itae.base.errors import UserError
from itae.measure.cluster.clustered import Partition, largest_first
from itae.measure.cluster.graph import check_neighbours, neighbour_graph
from itae.measure.cluster.numbered import Numbered
from itae.measure.cluster.points import Scaled
from itae.measure.faiss_backend import require_faiss

log = logging.getLogger(__name__)

LINKAGES = ("ward", "average", "complete", "single")
DENSE_MOST = 20_000
"""Points that may be compared each with each: 1.6 GB of distances."""
_PERCOLATES = (
    "clusterer.linkage=%s along a graph of neighbours, where not all distances are known, often ends in one large "
    "cluster and crumbs; clusterer.neighbours=null knows all, of %d images at most."
)


@dataclass(frozen=True)
class Agglomerative(Scaled, Numbered):
    """Agglomerative clustering by scikit-learn: settings, and the fit.

    Parameters
    ----------
    k
        See `Numbered`.
    distance
        In place of `k`: clusters farther apart than this aren't merged, and each side has as many as are left. In units
        of the linkage: of Ward the root of twice the growth of the sum of squares, else a Euclidean distance. Ward
        along a graph now and then merges what is nearer than what was merged before it: as many merges are made, the
        first ones, as are within it. Default None.
    linkage
        How far two clusters are apart: ``ward`` (default), by how much the sum of squared distances to the means grows;
        ``average``, ``complete`` or ``single``, the mean, largest and least distance of their points. In a graph, the
        mean and the largest are of what is linked, and often end in one large cluster and crumbs: a warning says so.
    neighbours
        Each point may merge with so many nearest ones at first, and clusters with those that their points may merge
        with. Default 30. None: with all, exactly, of at most `DENSE_MOST` points.
    scale
        ``none`` (default): embeddings as they are. ``unit``: each divided by its length, so that distances are those of
        directions. The same on both sides.

    Raises
    ------
    UserError
        When a setting is out of its range.
    """

    distance: float | None = None
    linkage: str = "ward"
    neighbours: int | None = 30
    scale: str = "none"

    def __post_init__(self) -> None:
        """Check every value."""
        super().__post_init__()
        if self.distance is not None:
            number("clusterer.distance", self.distance, low=0.0)
            if self.k is not None:
                raise UserError(
                    f"clusterer.distance={self.distance} finds the number of clusters and clusterer.k={self.k} gives "
                    "it; set one of them and leave the other null."
                )
            if self.candidates is not None:
                raise UserError(
                    f"clusterer.distance={self.distance} finds the number of clusters, and clusterer.candidates is "
                    "what it would be chosen among; set one of them and leave the other null."
                )
        one_of("clusterer.linkage", self.linkage, LINKAGES)
        whole("clusterer.neighbours", self.neighbours, low=1, optional=True)
        self.check_scale()

    def seed_list(self, base_seed: int) -> None:
        """Return None: no fit differs from another."""

    def to_choose(self, n: int, n_classes: int | None) -> tuple[int, ...] | None:
        """Return the candidates for k, as of `Numbered`; None where `distance` finds it."""
        return super().to_choose(n, n_classes) if self.distance is None else None

    def check(self, n: int, n_classes: int | None) -> int | None:
        """Return the number of clusters, as of `Numbered`, or None where `distance` finds it; refuse what can't be."""
        if self.neighbours is None:
            if n > DENSE_MOST:
                raise UserError(
                    f"clusterer.neighbours=null compares each of {n} images with each, which takes "
                    f"{4e-9 * n * n:.0f} GB; it is for {DENSE_MOST} images at most: set clusterer.neighbours=30."
                )
        else:
            require_faiss()
            check_neighbours(self.neighbours, n)
        if n < 2:
            raise UserError(f"Agglomerative clustering merges two images or more, and there is {n}; take more images.")
        return super().check(n, n_classes) if self.distance is None else None

    def fit(self, vectors_NE: np.ndarray, k: int | None, seed: None = None, device: str = "auto") -> Partition:
        """Merge points to `k` clusters, or as long as they are within `distance`.

        Parameters
        ----------
        vectors_NE
            float32 [N, E].
        k
            Number of clusters, 1..N; None with `distance`.
        seed
            None.
        device
            Where neighbours are looked for, see `KMeans.fit`; merging is on the CPU.

        Returns
        -------
        Partition
            The clusters, the largest first. No objective: nothing is chosen from. Facts: ``last_merge``, how far the
            last two that were merged are apart, 0 where none were; ``next_merge``, how far the next two would be, None
            where all are one; with a graph ``components``, how many it had before they were joined.

        Raises
        ------
        UserError
            When rows are NaN, infinite, or too large to square in float32, or of zero length for ``scale=unit``; when
            neighbours are too many, or points too many without; when memory is too little.
        """
        from sklearn.cluster import AgglomerativeClustering

        n = len(vectors_NE)
        replace(self, k=k, candidates=None).check(n, None)
        vectors_NE = self.rows(vectors_NE)
        facts: dict[str, Any] = {}
        links = None
        with memory_told(self._too_many(n)):
            if self.neighbours is not None:
                graph = neighbour_graph(vectors_NE, self.neighbours, device)
                links, facts["components"] = graph.links, graph.components
                if self.linkage in ("average", "complete"):
                    log.warning(_PERCOLATES, self.linkage, DENSE_MOST)
            # scikit-learn leaves apart what is as far apart as that.
            farther = None if self.distance is None else float(np.nextafter(self.distance, np.inf))
            log.info("Agglomerative: %d images are merged, which shows no progress", n)
            model = AgglomerativeClustering(
                n_clusters=k, linkage=self.linkage, connectivity=links, distance_threshold=farther,
                compute_full_tree=True, compute_distances=True,
            )  # fmt: skip
            model.fit(vectors_NE)
        merges = np.asarray(model.distances_, np.float64)
        done = n - int(model.n_clusters_)
        facts["last_merge"] = float(merges[done - 1]) if done else 0.0
        facts["next_merge"] = float(merges[done]) if done < len(merges) else None
        return Partition(largest_first(model.labels_), info=facts)

    def _too_many(self, n: int) -> str:
        lower = "set clusterer.neighbours=30" if self.neighbours is None else "lower clusterer.neighbours"
        return f"to merge {n} vectors; {lower} or take fewer images (dataset.limit)"
