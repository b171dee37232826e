"""The clustering task: cluster the embeddings, and score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from itae.base.checks import number, whole
from itae.measure.clustered import Clustered
from itae.measure.kmeans import KMeans
from itae.tasks.cluster_and_score import cluster_and_score


@dataclass(frozen=True)
class Clustering:
    """The clustering task; the clusterings' settings are the clusterer's.

    Parameters
    ----------
    knn
        How many neighbours vote on an image's class, leaving out the image itself and those of the same bytes; 0 for no
        such readout. Where there are not so many other images, all of them vote. Default 20.
    temperature
        Of the votes, at least 0.001; see `itae.measure.scores.knn_correct`. Default 0.07.

    Raises
    ------
    UserError
        When a setting is out of its range.
    """

    knn: int = 20
    temperature: float = 0.07

    def __post_init__(self) -> None:
        whole("task.knn", self.knn, 0)
        number("task.temperature", self.temperature, 0.001)

    def __call__(
        self,
        vectors_NE: np.ndarray,
        labels: np.ndarray | None,
        n_classes: int | None,
        clusterer: KMeans,
        seed: int,
        device: str = "auto",
        groups_N: np.ndarray | None = None,
    ) -> Clustered:
        """Cluster, and score: see `cluster_and_score`."""
        return cluster_and_score(
            vectors_NE, labels, n_classes, clusterer, seed, device, groups_N, self.knn, self.temperature
        )
