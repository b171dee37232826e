"""Cluster embeddings, with several seeds where there are such, find each image's nearest neighbours, and score both.

Labels arrive beside the vectors and go to the metrics alone: every clustering is finished and all neighbours are found
before the first label is looked at, and the clustering told apart from the others is the one of the best objective.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from itae.base.checks import one_of
from itae.base.errors import UserError
from itae.base.progress import progress
from itae.measure.cluster.clustered import BOTH, OWN, Clustered, Clusterer, Partition
from itae.measure.knn import neighbours
from itae.measure.scores import LABELLED, acc_clustered, knn_chance, knn_correct, scores, summarise, unscored
from itae.measure.silhouette import Space
from itae.measure.spaces import effective_rank, separation

log = logging.getLogger(__name__)

_TAKEN = {"n", "k", "seeds", "device", "silhouette", "silhouette_common", "clusters", "noise_share", "largest_share",
          "empty_clusters", "effective_rank", *LABELLED}  # fmt: skip


def spaces(clusterer: Clusterer, untouched_NE: np.ndarray, own_NE: np.ndarray) -> np.ndarray | list[np.ndarray]:
    """Return what a clusterer is given of one side: its own embeddings, or the untouched ones and then its own.

    A clusterer of both spaces gets the untouched embeddings twice on the untouched side: as many spaces on either side,
    and nothing in the second that the first hasn't. So its delta is what the edited space adds to the untouched one.

    Raises
    ------
    UserError
        When its ``spaces`` is neither ``own`` nor ``both``.
    """
    which = getattr(clusterer, "spaces", OWN)
    one_of(f"{type(clusterer).__name__}.spaces", which, (OWN, BOTH))
    return [untouched_NE, own_NE] if which == BOTH else own_NE


def cluster_and_score(
    vectors: np.ndarray | Sequence[np.ndarray],
    labels: np.ndarray | None,
    n_classes: int | None,
    clusterer: Clusterer,
    seed: int,
    device: str = "auto",
    groups_N: np.ndarray | None = None,
    knn: int = 20,
    temperature: float = 0.07,
) -> Clustered:
    """Cluster with every seed of the clusterer and score each clustering.

    Parameters
    ----------
    vectors
        float32 [n, E]; a read-only memory map is fine. Or several such, as `spaces` gives them: the last is the side's
        own, in which silhouettes are measured and neighbours found.
    labels
        Whole numbers >= 0, [n], or None: then assignments and no scores, nor where all are of one class or each of
        its own (`itae.measure.scores.unscored`).
    n_classes
        The number of clusters where the clusterer names none.
    clusterer
        Settings of the clustering; a k that is yet to be chosen must have been (`itae.measure.cluster.choose_k`).
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
        ``metrics``: ``n``, ``k`` (None where the fit finds it), ``seeds`` (empty where there are none: one fit),
        ``device``. As ``mean``, ``std`` and ``per_seed``: the objective under its own name, as ``inertia``;
        ``silhouette`` (see `itae.measure.silhouette.Space`); ``clusters`` where the fit finds k; ``noise_share`` where
        the clusterer leaves points out; with labels ``acc``, ``nmi``, ``ami``, ``ari``, ``purity``, and
        ``acc_clustered`` beside noise. As a list of one value a fit: numbers of its own, ``empty_clusters`` where k is
        given, ``largest_share``. Under the objective's `Objective.best`, as ``lowest_inertia``: seed, objective,
        silhouette and scores of that fit. Of the space (`itae.measure.spaces`), in the same shape, of one value:
        ``effective_rank``, and with labels ``separation``. With labels, and other images that may vote, ``knn``: its
        accuracy in that shape, ``chance`` (see `itae.measure.scores.knn_chance`), ``k``, ``temperature`` and
        ``protocol``.
        ``assignments``: those of the fit of the best objective, of the first where there is no objective.

    Raises
    ------
    UserError
        As the clusterer's ``check`` and ``fit`` and `scores` do, and when what it returns isn't what it says.
    """
    vectors_NE = vectors if isinstance(vectors, np.ndarray) else vectors[-1]
    k = number_of_clusters(clusterer, len(vectors_NE), n_classes)
    if k is None and (candidates := to_choose(clusterer, len(vectors_NE), n_classes)):
        raise UserError(
            f"clusterer.k is still to be chosen among {len(candidates)} candidates: choose it by "
            "itae.measure.cluster.choose_k.choose_k, once for all that is to be compared, or set it."
        )
    given = clusterer.seed_list(seed)
    seeds = [] if given is None else [int(one) for one in given]
    runs = _fits(clusterer, vectors, k, seeds, device)
    _check(clusterer, runs, len(vectors_NE))
    if labels is not None and unscored(labels):
        labels = None
    space = Space(vectors_NE)
    voters = neighbours(vectors_NE, knn if labels is not None else 0, device, groups_N)
    per_seed = _per_seed(clusterer, runs, space, k, labels)
    best = min(range(len(runs)), key=lambda i: one.cost if (one := runs[i].objective) else 0)
    objective = runs[best].objective
    metrics: dict[str, Any] = {"n": len(vectors_NE), "k": k, "seeds": seeds, "device": runs[0].device}
    metrics |= summarise(per_seed)
    if k is None:
        metrics["clusters"]["per_seed"] = [run.clusters for run in runs]  # counts, which are shown without decimals
    metrics |= {name: [run.info[name] for run in runs] for name in runs[0].info}
    if k is not None:
        metrics["empty_clusters"] = [k - run.clusters for run in runs]
    metrics["largest_share"] = [run.largest_share for run in runs]
    apart = None if labels is None else separation(vectors_NE, labels)
    metrics |= {"effective_rank": _once(effective_rank(vectors_NE))}
    metrics |= {} if labels is None else {"separation": _once(None if apart is None else float(apart.mean()))}
    if objective:
        metrics[objective.best] = {"seed": seeds[best] if seeds else None, **per_seed[best]}
    near = knn_correct(labels, *voters, temperature) if labels is not None and voters[0].size else None
    if labels is not None and near is not None:
        metrics["knn"] = _once(float(near.mean())) | {
            "chance": knn_chance(labels, *voters, temperature),
            "k": voters[0].shape[1],
            "temperature": temperature,
            "protocol": "leave-one-out",
        }
    return Clustered(metrics, runs[best].assignments.astype(np.int64), _packed(runs), near, objective, apart)


def number_of_clusters(clusterer: Clusterer, n: int, n_classes: int | None) -> int | None:
    """Return what a clusterer's ``check`` does, None where the fit finds k; a `UserError` where that is no number."""
    k: Any = clusterer.check(n, n_classes)
    if k is None or (isinstance(k, int | np.integer) and not isinstance(k, bool) and k > 0):
        return None if k is None else int(k)
    raise UserError(
        f"{type(clusterer).__name__}.check returned {k!r}; it must return a whole number of clusters, or None where "
        "the fit finds it. For clusterer.k=auto make the class one of itae.measure.cluster.numbered.Numbered."
    )


def to_choose(clusterer: Clusterer, n: int, n_classes: int | None) -> tuple[int, ...] | None:
    """Return the candidates for k where a clusterer is told it and it is yet to be chosen, else None."""
    found: tuple[int, ...] | None = clusterer.to_choose(n, n_classes) if hasattr(clusterer, "to_choose") else None
    return found


def _once(value: float | None) -> dict[str, Any]:
    """Return what knows no seeds in the shape of what does."""
    return {"mean": value, "std": None, "per_seed": [value]}


def _fits(
    clusterer: Clusterer, vectors: np.ndarray | Sequence[np.ndarray], k: int | None, seeds: list[int], device: str
) -> list[Partition]:
    name = type(clusterer).__name__
    runs = []
    each: Sequence[int | None] = seeds or [None]
    with progress(len(each), "clustering", "seeds") as advance:
        for seed in each:
            run = clusterer.fit(vectors, k, seed, device)
            if not isinstance(run, Partition):
                raise UserError(
                    f"{name}.fit returned a {type(run).__name__}; it must be an itae.measure.cluster Partition."
                )
            runs.append(run)
            advance(1)
    log.info("%s: n=%d k=%s, %d seeds, on %s", name, len(runs[0].assignments), k, len(seeds), runs[0].device)
    if k is not None and (fewest := min(run.clusters for run in runs)) < k:
        log.warning("%s left up to %d of %d clusters empty: are there many equal embeddings?", name, k - fewest, k)
    return runs


def _check(clusterer: Clusterer, runs: list[Partition], n: int) -> None:
    """Raise a `UserError` unless the fits are of these points, alike, and hold what the clusterer says they may."""
    name = type(clusterer).__name__
    told = [(run.info.keys(), run.objective and (run.objective.name, run.objective.better)) for run in runs]
    if any(len(run.assignments) != n for run in runs):
        raise UserError(f"{name} returned {len(runs[0].assignments)} assignments of {n} embeddings; give one each.")
    if any(one != told[0] for one in told):
        raise UserError(f"{name} returned other numbers, or another objective, for one seed than for another.")
    names = [*runs[0].info, *([runs[0].objective.name] if runs[0].objective else [])]
    if taken := sorted(_TAKEN.intersection(names)):
        raise UserError(f"{name} calls a number of its own {taken[0]!r}, as one of every clustering is; rename it.")
    if not getattr(clusterer, "noise", False) and any(run.noise_share for run in runs):
        raise UserError(f"{name} left points out (-1) and doesn't say that it may; set noise = True in its class.")


def _per_seed(
    clusterer: Clusterer, runs: list[Partition], space: Space, k: int | None, labels: np.ndarray | None
) -> list[dict[str, float | None]]:
    """Return the numbers of each fit: what needs no labels first."""
    noise = getattr(clusterer, "noise", False)
    found = []
    for run in runs:
        one: dict[str, float | None] = {run.objective.name: run.objective.value} if run.objective else {}
        one["silhouette"] = space.silhouette(run.assignments)
        if k is None:
            one["clusters"] = run.clusters
        if noise:
            one["noise_share"] = run.noise_share
        if labels is not None:
            one |= scores(labels, run.assignments)
            one |= {"acc_clustered": acc_clustered(labels, run.assignments)} if noise else {}
        found.append(one)
    return found


def _packed(runs: list[Partition]) -> np.ndarray:
    """Return the assignments of all fits, [fits, n], in as few bytes as hold them: a sweep keeps many."""
    every = np.stack([run.assignments for run in runs])
    return every.astype(np.min_scalar_type(-1 - max(0, int(every.max()))))  # signed, for noise
