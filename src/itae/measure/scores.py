"""How well clusters, or neighbours, agree with labels. With `itae.measure.intervals`, the only code that labels reach.

ACC is one-to-one (many-to-one is called purity), NMI is averaged arithmetically, and nothing here selects:
scores come as mean and spread over all seeds, the best seed is never picked by them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import starmap
from typing import Any

import numpy as np

from itae.base.errors import UserError
from itae.measure.cluster.clustered import NOISE
from itae.measure.matching import one_to_one

METRICS = ("acc", "nmi", "ami", "ari", "purity")
"""What a clustering is scored by."""
LABELLED = (*METRICS, "acc_clustered", "knn", "separation")
"""All that has seen labels: to choose by it makes an oracle."""
_VOTES = 2**22  # held at a time: a class's votes of an image are one
_NAMED = 3  # of the small classes


def unscored(labels: np.ndarray) -> str:
    """Return why no score by these labels, [n], would say anything, or an empty string.

    With one class every clustering is right, and with as many as images one of as many clusters, whatever they show.
    """
    n, classes = len(labels), len(np.unique(labels))
    if classes == 1:
        return f"all {n} images are of one class"
    return f"each of the {n} images is a class of its own" if classes == n else ""


def scores(labels: np.ndarray, assignments: np.ndarray) -> dict[str, float]:
    """Score assignments against labels.

    Parameters
    ----------
    labels, assignments
        Whole numbers >= 0, [n]. They need be neither consecutive nor equally many. An assignment of -1 is noise, a
        point in no cluster.

    Returns
    -------
    dict
        ``acc``: share of points on the best one-to-one matching of clusters and classes (Kuhn 1955, on the
        rectangular contingency matrix; a cluster or class too many stays unmatched). ``nmi``: mutual
        information over the arithmetic mean of the entropies. ``ami``, ``ari``: adjusted for chance, 0
        expected for random assignments. ``purity``: share of points in their cluster's largest class. All at
        most 1.

        All are over all points. For ``acc`` and ``purity`` noise is wrong; for ``nmi``, ``ami`` and ``ari`` it is one
        cluster more, as scikit-learn takes it and as HDBSCAN on such embeddings is reported (Lowe et al., 2024,
        arXiv:2406.02465). Each point a cluster of its own, the other convention, would raise NMI, which isn't
        adjusted for chance, by leaving points out. See `acc_clustered` for the others' share.

    Raises
    ------
    UserError
        When lengths differ, are 0, or values are no whole numbers, below 0, or below -1 in assignments.
    """
    from sklearn import metrics

    right = hits(labels, assignments)
    return {
        "acc": float(right["acc"].mean()),
        "nmi": float(metrics.normalized_mutual_info_score(labels, assignments, average_method="arithmetic")),
        "ami": float(metrics.adjusted_mutual_info_score(labels, assignments, average_method="arithmetic")),
        "ari": float(metrics.adjusted_rand_score(labels, assignments)),
        "purity": float(right["purity"].mean()),
    }


def hits(labels: np.ndarray, assignments: np.ndarray) -> dict[str, np.ndarray]:
    """Return which points ``acc`` and ``purity`` count as right, bool [n] each; their means are the scores.

    For ``acc`` those whose cluster is matched with their class, for ``purity`` those of their cluster's largest class;
    noise is never right. Raises as `scores` does.
    """
    from sklearn.metrics.cluster import contingency_matrix

    labels, assignments = _whole_numbers("labels", labels), _whole_numbers("assignments", assignments, NOISE)
    if len(labels) != len(assignments):
        raise UserError(f"{len(labels)} labels can't score {len(assignments)} assignments; give one label each.")
    (_, class_N), (_, cluster_N) = (np.unique(one, return_inverse=True) for one in (labels, assignments))
    counts_CK = contingency_matrix(class_N, cluster_N)
    clustered_N = assignments >= 0
    if not clustered_N.all():
        counts_CK[:, 0] = 0  # noise: matched with a class, if with any, that no cluster is matched with
    return {
        "acc": clustered_N & (one_to_one(counts_CK)[class_N] == cluster_N),
        "purity": clustered_N & (counts_CK.argmax(axis=0)[cluster_N] == class_N),
    }


def acc_clustered(labels: np.ndarray, assignments: np.ndarray) -> float | None:
    """Return ``acc`` over the points in a cluster alone, or None where all are noise.

    The matching is that of all points, in which noise takes no part. Raises as `scores` does.
    """
    right_N, clustered_N = hits(labels, assignments)["acc"], np.asarray(assignments) >= 0
    return float(right_N[clustered_N].mean()) if clustered_N.any() else None


def knn_correct(
    labels: np.ndarray, neighbours_NK: np.ndarray, similarities_NK: np.ndarray, temperature: float
) -> np.ndarray:
    """Return which points their neighbours' vote names rightly, bool [n]; the mean is the k-NN accuracy.

    Parameters
    ----------
    labels
        Whole numbers >= 0, [n].
    neighbours_NK, similarities_NK
        Of each point, the rows of others and their cosines, nearest first, [n, k], k at least 1; -1 is no row. See
        `itae.measure.knn.neighbours`.
    temperature
        Above 0: a neighbour of cosine s has ``exp(s / temperature)`` votes (Wu et al., 2018, arXiv:1805.01978; Oquab et
        al., 2023, arXiv:2304.07193, with .07). The larger, the more alike all votes are.

    Returns
    -------
    numpy.ndarray
        Whether the class with most votes is the point's own. Of classes with equally many, to a part in 1e9, the one of
        the smallest number is named: it depends neither on the neighbours' order nor on how a sum is rounded. A point
        that has no neighbour is not named rightly.
    """
    _, class_N = np.unique(_whole_numbers("labels", labels), return_inverse=True)
    count = int(class_N.max()) + 1
    named_N = np.empty(len(class_N), np.int64)
    step = max(1, _VOTES // count)
    for start in range(0, len(class_N), step):
        some = slice(start, start + step)
        similar, alone = similarities_NK[some].astype(np.float64), neighbours_NK[some, 0] < 0
        most = np.where(alone, 0, similar.max(axis=1))[:, None]
        weights = np.exp((similar - most) / temperature)  # exp(1 / T) may overflow
        places = class_N[neighbours_NK[some]] + count * np.arange(len(similar))[:, None]
        votes = np.bincount(places.ravel(), weights.ravel(), minlength=len(similar) * count).reshape(-1, count)
        named = (votes >= votes.max(axis=1, keepdims=True) * (1 - 1e-9)).argmax(axis=1)
        named_N[some] = np.where(alone, -1, named)
    return named_N == class_N


def knn_chance(labels: np.ndarray, neighbours_NK: np.ndarray, similarities_NK: np.ndarray, temperature: float) -> float:
    """Return the k-NN accuracy of these neighbours for shuffled labels: what embeddings reach that know nothing.

    It is not one in the number of classes: an image that is left out leaves its own class one voter fewer, which tells
    where voters are few. Two classes of 8 and 15 neighbours give 0. The mean over enough shuffles for 10,000 votes.
    """
    rng, times = np.random.default_rng(0), min(100, -(-10_000 // len(labels)))
    shuffled = (rng.permutation(labels) for _ in range(times))
    return float(np.mean([knn_correct(some, neighbours_NK, similarities_NK, temperature).mean() for some in shuffled]))


def small_classes(
    labels: np.ndarray, names: Sequence[str], knn: Mapping[str, Any], groups_N: np.ndarray | None = None
) -> str | None:
    """Return a sentence on classes with fewer other images than have a vote in k-NN, or None where there are none.

    Of images of one group, [n], which don't vote for each other, one counts: those of the largest group in a class have
    the fewest voters there.
    """
    sizes = np.bincount(labels, minlength=len(names))
    if groups_N is not None:
        twins = np.unique(np.stack([labels, groups_N]), axis=1, return_counts=True)
        most = np.zeros_like(sizes)
        np.maximum.at(most, twins[0][0], twins[1])
        sizes = sizes - np.maximum(most - 1, 0)
    small = [i for i in np.argsort(sizes, kind="stable") if 0 < sizes[i] <= knn["k"]]
    if not small:
        return None
    told = ", ".join(f"{names[i]!r} {sizes[i]}" for i in small[:_NAMED]) + ", ..." * (len(small) > _NAMED)
    return (
        f"KNN lets {knn['k']} other images vote, and {len(small)} of {int((sizes > 0).sum())} classes have fewer of "
        f"their own ({told}): others vote there too and may outvote them. With shuffled labels it is "
        f"{knn['chance']:.4f}; lower task.knn for small classes."
    )


def summarise(per_seed: Sequence[Mapping[str, float | None]]) -> dict[str, dict[str, Any]]:
    """Return ``{metric: {"mean", "std", "per_seed"}}`` of one mapping a seed.

    ``std`` is the sample's (ddof=1), and None for one seed, whose spread nobody knows. A seed with no value
    (None) is left out of both.
    """
    assert per_seed
    assert all(one.keys() == per_seed[0].keys() for one in per_seed)
    return {name: _spread([one[name] for one in per_seed]) for name in per_seed[0]}


def paired_delta(baseline: Mapping[str, Any], edited: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return edited minus baseline, taken seed by seed, in the shape of `summarise`.

    Parameters
    ----------
    baseline, edited
        What `summarise` or the clustering task returned, on the same seeds. Scores both have are compared, and
        the effective ranks; inertia is not, since the two live in different spaces.
    """
    assert baseline.get("seeds") == edited.get("seeds")
    both = [name for name in (*LABELLED, "effective_rank") if name in baseline and name in edited]
    columns = [zip(baseline[m]["per_seed"], edited[m]["per_seed"], strict=True) for m in both]
    return {m: _spread(list(starmap(_difference, pairs))) for m, pairs in zip(both, columns, strict=True)}


def told_interval(change: Mapping[str, Any] | None) -> str:
    """Return the interval of a delta over images and seeds in words; none for a result from before there was one."""
    ends = (change or {}).get("interval")
    return f"{ends[0]:+.4f} to {ends[1]:+.4f}" if ends else ""


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def _spread(values: Sequence[float | None]) -> dict[str, Any]:
    known = [float(value) for value in values if value is not None]
    std = float(np.std(known, ddof=1)) if len(known) > 1 else None
    per_seed = [None if value is None else float(value) for value in values]
    return {"mean": float(np.mean(known)) if known else None, "std": std, "per_seed": per_seed}


def _whole_numbers(name: str, values: np.ndarray, least: int = 0) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim != 1 or not len(values) or values.dtype.kind not in "iu":
        raise UserError(
            f"{name} of shape {values.shape} and type {values.dtype} must be a list of whole numbers, one a point."
        )
    if values.min() < least:
        raise UserError(f"{name} hold {values.min()}; all must be {least} or more.")
    return values
