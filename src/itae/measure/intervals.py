"""How far a mean delta is open: its variance over images and seeds, and over the draws of a control.

Every image meets every seed, so the deltas are a table with a row a seed and a column an image, both drawn from many.
The variance of their mean is what seeds add, what images add, and what is of a seed and an image together, found by
analysis of variance, as clustered standard errors in several ways are (Cameron, Gelbach & Miller, 2011). The interval
is Student's, with the degrees of freedom of Satterthwaite (1946): with ten seeds a normal one is too narrow, and so are
percentiles of a bootstrap. `experiments/06_intervals` counts how often it holds the delta of such data.

ACC and purity keep the matching of clusters and classes that all images gave, so they are means over images. ACC of
those in a cluster is a ratio of two such means: an image's value is what it adds to the ratio where that is linear
(Cochran, 1977, Sampling Techniques, 6.3). So is the separation of classes. NMI and ARI are not means: there an image's
value is its pseudo-value, ``n T - (n - 1) T'`` with ``T'`` the score without it (Tukey, 1958), whose variance is on
average not too small (Efron & Stein, 1981). AMI has no interval: its correction for chance takes longer than the rest.

Images of the same bytes are drawn together. Embeddings, neighbours and clusterings are taken as they are: what k-means
would make of other images is not in an interval.

Letters: N images, S seeds.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.measure.scores import hits

if TYPE_CHECKING:
    from itae.measure.cluster.clustered import Clustered

CONFIDENCE = 0.95


def with_intervals(
    delta: Mapping[str, Any],
    labels_N: np.ndarray,
    before: Clustered,
    after: Clustered,
    groups_N: np.ndarray | None = None,
) -> dict[str, Any]:
    """Return the deltas, each with its ``interval``, [low, high] or None."""
    known: dict[str, tuple[float, float] | None] = {}
    if before.per_seed is not None and after.per_seed is not None:
        known = delta_intervals(labels_N, before, after, groups_N)
    ends = {name: list(found) for name, found in known.items() if found}
    return {name: {**change, "interval": ends.get(name)} for name, change in delta.items()}


def delta_intervals(
    labels_N: np.ndarray, before: Clustered, after: Clustered, groups_N: np.ndarray | None = None
) -> dict[str, tuple[float, float] | None]:
    """Return the 95 % intervals of the mean deltas of the scores of `image_values` that both sides have.

    And of the separation of their classes.

    Parameters
    ----------
    labels_N
        Whole numbers >= 0.
    before, after
        With the assignments of the same seeds of both sides, [S, N].
    groups_N
        Equal numbers, 0 and more, for images that are drawn together; by default each is by itself.
    """
    assert before.per_seed is not None
    assert after.per_seed is not None
    sides = [
        image_values(labels_N, before.per_seed, before.knn_correct),
        image_values(labels_N, after.per_seed, after.knn_correct),
    ]
    for values, side in zip(sides, (before, after), strict=True):
        values |= {} if side.separation is None else {"separation": side.separation[None]}
    both = sides[0].keys() & sides[1].keys()
    return {name: mean_interval(by_group(sides[1][name] - sides[0][name], groups_N)) for name in both}


def image_values(
    labels_N: np.ndarray, assignments_SN: np.ndarray, knn_correct_N: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Return what each image adds to each score under each seed, float64 [S, N]; their means over N are the scores.

    Of acc, purity, nmi, ari; of acc_clustered, if no seed calls all images noise; of knn where it is given, [1, N].
    """
    each = [_of_clustering(labels_N, one) for one in assignments_SN.astype(np.int64)]
    found = {name: np.array([one[name] for one in each]) for name in each[0] if all(name in one for one in each)}
    return found if knn_correct_N is None else found | {"knn": knn_correct_N.astype(np.float64)[None]}


def _of_clustering(labels_N: np.ndarray, clusters_N: np.ndarray) -> dict[str, np.ndarray]:
    right = hits(labels_N, clusters_N)
    found = {name: right[name].astype(np.float64) for name in ("acc", "purity")}
    if (inside_N := clusters_N >= 0).any():
        share = inside_N.mean()
        ratio = found["acc"].mean() / share
        found["acc_clustered"] = ratio + (found["acc"] - ratio * inside_N) / share
    clusters_N = clusters_N - min(int(clusters_N.min()), 0)  # to NMI and ARI noise is a cluster, see `scores`
    _, class_N = np.unique(labels_N, return_inverse=True)
    cells, cell_N, counts = np.unique(
        clusters_N * (int(class_N.max()) + 1) + class_N, return_inverse=True, return_counts=True
    )
    class_sizes, cluster_sizes = np.bincount(class_N), np.bincount(clusters_N)
    cluster, of_class = np.divmod(cells, len(class_sizes))
    for name, grown, score in (("nmi", _x_log_x, _nmi), ("ari", _pairs, _ari)):
        sums = [grown(sizes).sum() for sizes in (counts, class_sizes, cluster_sizes)]
        all_images = score(len(class_N), *sums)
        # Without one image, its cell, class and cluster are each one smaller.
        own = (counts, class_sizes[of_class], cluster_sizes[cluster])
        without = score(len(class_N) - 1, *(s - grown(x) + grown(x - 1) for s, x in zip(sums, own, strict=True)))
        pseudo_N = (len(class_N) * all_images - (len(class_N) - 1) * without)[cell_N]
        found[name] = pseudo_N - pseudo_N.mean() + all_images  # less the bias that pseudo-values estimate
    return found


def _x_log_x(x: np.ndarray) -> np.ndarray:
    return x * np.log(np.maximum(x, 1))


def _pairs(x: np.ndarray) -> np.ndarray:
    return x * (x - 1) / 2


def _nmi(n: int, cells: Any, classes: Any, clusters: Any) -> np.ndarray:
    """Return NMI over the arithmetic mean of the entropies, of `n` points and the sums of x log x."""
    joint, one, other = (np.log(max(n, 1)) - x / max(n, 1) for x in (cells, classes, clusters))
    mean = (one + other) / 2
    alone = mean < 1e-12  # one class and one cluster
    return np.where(alone, 1.0, (one + other - joint) / np.where(alone, 1.0, mean))


def _ari(n: int, cells: Any, classes: Any, clusters: Any) -> np.ndarray:
    """Return the adjusted Rand index (Hubert & Arabie, 1985), of `n` points and the sums of pairs."""
    expected, most = classes * clusters / max(n * (n - 1) / 2, 1), (classes + clusters) / 2
    alone = np.abs(most - expected) < 1e-12
    return np.where(alone, 1.0, (cells - expected) / np.where(alone, 1.0, most - expected))


def by_group(values: np.ndarray, groups_N: np.ndarray | None) -> np.ndarray:
    """Return [..., groups] of values [..., N]: a group's share of the mean, and the mean over groups is that over N."""
    if groups_N is None:
        return values
    n, count = len(groups_N), int(groups_N.max()) + 1
    mean = values.mean(axis=-1, keepdims=True)
    rows = (values - mean).reshape(-1, n)
    sums = np.array([np.bincount(groups_N, row, minlength=count) for row in rows])
    return sums.reshape(*values.shape[:-1], count) * count / n + mean


def mean_interval(values: np.ndarray) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean of values that are crossed: each axis is a sample, each cell was seen.

    Of one axis it is that of Student's t-test. Axes of length 1 tell nothing and are left out; None where none is left.

    Parameters
    ----------
    values
        [images], [seeds, images], [draws, seeds, images] and so on; finite.
    """
    from scipy.special import stdtrit

    values = np.squeeze(values)
    if not values.ndim:
        return None
    squares = _mean_squares(values)
    # By the expected mean squares, the variance is their sum by inclusion and exclusion. This estimate may be too
    # small, even below 0; what one sample alone adds is a lower bound.
    total = sum((-1) ** (len(axes) + 1) * square for axes, (square, _) in squares.items())
    most, degrees = max(squares[axes] for axes in squares if len(axes) == 1)
    if total > most:
        degrees = total**2 / sum(square**2 / free for square, free in squares.values())
    reach = float(stdtrit(degrees, (1 + CONFIDENCE) / 2)) * math.sqrt(max(total, most) / values.size)
    return float(values.mean()) - reach, float(values.mean()) + reach


def _mean_squares(values: np.ndarray) -> dict[tuple[int, ...], tuple[float, int]]:
    """Return the mean square of each effect and its degrees of freedom, by the axes that it is of."""
    found = {}
    for count in range(1, values.ndim + 1):
        for axes in itertools.combinations(range(values.ndim), count):
            effect = values.mean(axis=tuple(axis for axis in range(values.ndim) if axis not in axes))
            for axis in range(count):
                effect = effect - effect.mean(axis=axis, keepdims=True)
            free = math.prod(values.shape[axis] - 1 for axis in axes)
            found[axes] = float((effect**2).sum()) * (values.size / effect.size) / free, free
    return found
