"""Cluster embeddings over several seeds, find each image's nearest neighbours, then score both.

Labels arrive beside the vectors and go to the metrics alone: every clustering is finished and all neighbours are found
before the first label is looked at, and the run told apart from the others is the one of lowest inertia.
"""

from __future__ import annotations

import logging

import numpy as np

from itae.base.progress import progress
from itae.measure.clustered import Clustered
from itae.measure.kmeans import KMeans
from itae.measure.knn import neighbours
from itae.measure.scores import knn_chance, knn_correct, scores, summarise, unscored
from itae.measure.silhouette import Space

log = logging.getLogger(__name__)


def cluster_and_score(
    vectors_NE: np.ndarray,
    labels: np.ndarray | None,
    n_classes: int | None,
    clusterer: KMeans,
    seed: int,
    device: str = "auto",
    groups_N: np.ndarray | None = None,
    knn: int = 20,
    temperature: float = 0.07,
) -> Clustered:
    """Cluster with every seed of the clusterer and score each clustering.

    Parameters
    ----------
    vectors_NE
        float32 [n, E]; a read-only memory map is fine.
    labels
        Whole numbers >= 0, [n], or None: then assignments and no scores, nor where all are of one class or each of
        its own (`itae.measure.scores.unscored`).
    n_classes
        The number of clusters where the clusterer names none.
    clusterer
        Settings of the clustering.
    seed
        The base seed; equal base seeds give baseline and edited vectors the same list of seeds.
    device
        See `KMeans.fit`.
    groups_N
        A number for each image, equal for those that don't vote for each other; by default each has its own.
    knn, temperature
        As of `itae.tasks.clustering.Clustering`.

    Returns
    -------
    Clustered
        ``metrics``: ``n``, ``k``, ``seeds``, ``device``; ``inertia``, ``silhouette`` (see
        `itae.measure.silhouette.Space`) and, with labels, ``acc``, ``nmi``, ``ami``, ``ari``, ``purity``, each as
        ``mean``, ``std`` and ``per_seed``; ``iterations``, ``empty_clusters`` and ``largest_share`` per seed;
        ``lowest_inertia``: seed, inertia, silhouette and scores of that run. With labels, and other images that
        may vote, ``knn``: its accuracy in the same shape, of one value, ``chance`` (see
        `itae.measure.scores.knn_chance`), ``k``, ``temperature``, ``protocol``.
        ``assignments``: those of the run of lowest inertia.

    Raises
    ------
    UserError
        As `KMeans.check`, `KMeans.fit` and `scores` do.
    """
    k = clusterer.check(len(vectors_NE), n_classes)
    seeds = clusterer.seed_list(seed)
    runs = []
    with progress(len(seeds), "clustering", "seeds") as advance:
        for one in seeds:
            runs.append(clusterer.fit(vectors_NE, k, one, device))
            advance(1)
    log.info("k-means: n=%d k=%d, %d seeds, on %s", len(vectors_NE), k, len(seeds), runs[0].device)
    if empty := max(run.empty_clusters for run in runs):
        log.warning("k-means left up to %d of %d clusters empty: are there many equal embeddings?", empty, k)
    if labels is not None and unscored(labels):
        labels = None
    space = Space(vectors_NE)
    compact = [space.silhouette(run.assignments) for run in runs]
    voters = neighbours(vectors_NE, knn if labels is not None else 0, device, groups_N)
    per_seed: list[dict[str, float | None]] = [
        {"inertia": run.inertia, "silhouette": value} for run, value in zip(runs, compact, strict=True)
    ]
    if labels is not None:
        per_seed = [{**one, **scores(labels, run.assignments)} for one, run in zip(per_seed, runs, strict=True)]
    near = knn_correct(labels, *voters, temperature) if labels is not None and voters[0].size else None
    lowest = min(range(len(runs)), key=lambda i: runs[i].inertia)
    metrics = {
        "n": len(vectors_NE),
        "k": k,
        "seeds": seeds,
        "device": runs[0].device,
        **summarise(per_seed),
        "iterations": [run.iterations for run in runs],
        "empty_clusters": [run.empty_clusters for run in runs],
        "largest_share": [run.largest_share for run in runs],
        "lowest_inertia": {"seed": seeds[lowest], **per_seed[lowest]},
    }
    if labels is not None and near is not None:
        right = float(near.mean())
        metrics["knn"] = {
            "mean": right,
            "std": None,
            "per_seed": [right],  # it knows no seeds
            "chance": knn_chance(labels, *voters, temperature),
            "k": voters[0].shape[1],
            "temperature": temperature,
            "protocol": "leave-one-out",
        }
    every = np.stack([run.assignments for run in runs]).astype(np.min_scalar_type(k))  # a sweep keeps many
    return Clustered(metrics, runs[lowest].assignments, every, near)
