"""HDBSCAN: clusters are where points lie densely, as many as there are, and what lies between them is noise.

Campello et al., 2013, doi:10.1007/978-3-642-37456-2_14; McInnes & Healy, 2017, arXiv:1705.07321. The tree that it
begins with is found by `reach`, since scikit-learn's ways to it take the square of the points in memory or, in hundreds
of dimensions, very long; clusters are taken from it by scikit-learn. Time grows with the square of the points, memory
with the points.

Shapes: N points, E embedding width.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from itae.base.checks import one_of, whole
from itae.base.device import memory_told
from itae.base.errors import UserError
from itae.measure.cluster.clustered import Partition, largest_first
from itae.measure.cluster.numbered import checked_seeds, listed_seeds
from itae.measure.cluster.points import Scaled
from itae.measure.cluster.reach import reachability_tree
from itae.measure.cluster.reduce import LARGEST_SEED, REDUCTIONS, reduced, require_umap
from itae.measure.faiss_backend import require_faiss

log = logging.getLogger(__name__)

_UMAP_LEAST = 10  # points


@dataclass(frozen=True)
class Hdbscan(Scaled):
    """HDBSCAN by scikit-learn: settings, and the fit. It finds the number of clusters on each side by itself.

    Parameters
    ----------
    min_cluster_size
        Points that make a cluster, at least 2. Default 15.
    min_samples
        A point is in a dense place as far as so many, itself included, are near it; the more, the more is noise.
        Default None, `min_cluster_size`.
    reduce
        See `itae.measure.cluster.reduce.reduced`. Default ``pca50``.
    scale
        ``none`` (default): embeddings as they are. ``unit``: each divided by its length first. The same on both sides.
    seeds
        Of ``reduce=umap`` alone, which is random: how many are drawn from the run's base seed (default 3), or the seeds
        themselves. Nothing else here is random.

    Raises
    ------
    UserError
        When a setting is out of its range, or UMAP is missing.
    """

    noise = True

    min_cluster_size: int = 15
    min_samples: int | None = None
    reduce: str = "pca50"
    scale: str = "none"
    seeds: int | Sequence[int] = 3

    def __post_init__(self) -> None:
        """Check every value."""
        whole("clusterer.min_cluster_size", self.min_cluster_size, low=2)
        whole("clusterer.min_samples", self.min_samples, low=1, optional=True)
        one_of("clusterer.reduce", self.reduce, REDUCTIONS)
        self.check_scale()
        object.__setattr__(self, "seeds", checked_seeds(self.seeds, LARGEST_SEED))
        if self.reduce == "umap":
            require_umap("clusterer.reduce=umap")

    def seed_list(self, base_seed: int) -> list[int] | None:
        """Return the seeds of UMAP, or None without it: then no fit differs from another."""
        return listed_seeds(self.seeds, base_seed) if self.reduce == "umap" else None

    def check(self, n: int, n_classes: int | None) -> None:
        """Refuse more points for a cluster, or around a point, than there are; the fit finds the clusters."""
        require_faiss()
        for word, least in (("min_cluster_size", 2), ("min_samples", 1)):
            value = getattr(self, word)
            if value is not None and value > n:
                lower = f"set it to at most {n // 2}, since there is no cluster beside another of more, or "
                raise UserError(
                    f"clusterer.{word}={value} is more images than there are ({n}); "
                    f"{lower if n // 2 >= least else ''}take more images (dataset.limit)."
                )
        if self.reduce == "umap" and n < _UMAP_LEAST:
            raise UserError(
                f"clusterer.reduce=umap needs {_UMAP_LEAST} images, and there are {n}; set clusterer.reduce=none."
            )

    def fit(self, vectors_NE: np.ndarray, k: None = None, seed: int | None = None, device: str = "auto") -> Partition:
        """Find dense places.

        Parameters
        ----------
        vectors_NE
            float32 [N, E].
        k
            None.
        seed
            Of UMAP, or None.
        device
            Taken for what other clusterers do with it: this one works on the CPU.

        Returns
        -------
        Partition
            The clusters, the largest first, and `NOISE` where there is none. No objective: of several seeds the
            first stands for all. Fact: ``mean_probability``, of all points that are in a cluster, how surely they are,
            0..1; None where none is.

        Raises
        ------
        UserError
            When rows are NaN, infinite, or too large to square in float32, or of zero length for ``scale=unit``; when
            there are too few of them; when memory is too little.
        """
        from sklearn.cluster import HDBSCAN

        n = len(vectors_NE)
        self.check(n, None)
        vectors_NE = self.rows(vectors_NE)
        with memory_told(
            f"for HDBSCAN of {n} vectors; set clusterer.reduce=pca50 or take fewer images (dataset.limit)"
        ):
            points = reduced(vectors_NE, self.reduce, seed)
            tree = reachability_tree(points, self.min_samples or self.min_cluster_size)
            # Its weights are of mutual reachability already, and with one sample they stay what they are.
            model = HDBSCAN(self.min_cluster_size, min_samples=1, metric="precomputed", copy=False).fit(tree + tree.T)
        found_N = largest_first(model.labels_)
        inside_N = found_N >= 0
        if not inside_N.any():
            log.warning(
                "HDBSCAN found no cluster of %d images or more among %d: all are noise; lower "
                "clusterer.min_cluster_size or clusterer.min_samples.", self.min_cluster_size, n
            )  # fmt: skip
        sure: dict[str, Any] = {
            "mean_probability": float(model.probabilities_[inside_N].mean()) if inside_N.any() else None
        }
        return Partition(found_N, info=sure)
