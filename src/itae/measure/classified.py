"""How well images are classified: what a task of neighbours, of several steps or of edits is scored by.

All is from plain arrays. The truth is a code for each image, [N], or for images of several labels a list of sets of
codes, none of them empty. What was told is codes best first, [N, M], the answer in column 0; -1 is no class, and an
image with -1 in column 0 has no answer, which is wrong. Of several labels any is right, as ReaL counts it (Beyer et
al., 2020, arXiv:2006.07159), and an image with m of them is 1/m of one in each of its classes, as in a base's own
choice of a voter.

Letters: N images, M classes told, C classes, P pairs of an image and a label of it, G groups, D draws, B bins.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from itae.measure.intervals import CONFIDENCE

Truth: TypeAlias = np.ndarray | Sequence[Set[int]]
"""Codes, whole numbers from 0: one for each image, [N], or a set of one or more for each."""

_DRAWS = 2000  # of a bootstrap: its ends are the 50th values from below and above
_DECIMALS = 9  # to which shares are equal: beyond, a sum is rounding


def right(truth: Truth, told_NM: np.ndarray, first: int = 1) -> np.ndarray:
    """Return whether a label of each image is among the `first` classes told, bool [N]; the mean is top-1, top-5.

    Where fewer classes are told, all of them count.
    """
    assert len(truth) == len(told_NM)
    told_NM = told_NM[:, :first]
    if isinstance(truth, np.ndarray):
        assert (truth >= 0).all(), "-1 is no class, so it can't be told rightly"
        return (told_NM == truth[:, None]).any(axis=1)
    return np.array([not labels.isdisjoint(told) for labels, told in zip(truth, told_NM.tolist(), strict=True)], bool)


def image_values(truth: Truth, told_NM: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """Return what each image adds to each score, float64 [N]; the means over N are the scores.

    Of two classifications of the same images, `itae.measure.intervals.mean_interval` of the difference, images of the
    same bytes put together by `by_group`, is the paired interval.

    Parameters
    ----------
    truth, told_NM
        As told above; N at least 1.
    count
        How many classes there are, with images or without.

    Returns
    -------
    dict
        ``top_1``, ``top_5`` where M is above 1, and ``balanced_accuracy``, the mean of the recalls of classes that have
        images (Brodersen et al., 2010). The last is a mean over images with weights ``N / (C n_c)``, n_c images in a
        class. As n_c would be another in other images it is a sum of ratios, of which an image's value is what it adds
        where that is linear: ``balanced accuracy + N / (C n_c) (right - recall)`` (Cochran, 1977, Sampling Techniques,
        6.3), the residual times the root of ``n_c / (n_c - 1)``, without which its squares are too small. Of simulated
        deltas the intervals hold 94 % where the smallest of three classes has 30 images, 90 % where it has 10. The
        spread of a class of one image is not known and taken for 0.
    """
    right_N = right(truth, told_NM)
    found: dict[str, np.ndarray] = {"top_1": right_N.astype(np.float64)}
    if told_NM.shape[1] > 1:
        found["top_5"] = right(truth, told_NM, 5).astype(np.float64)
    image_P, class_P, weight_P = _pairs(truth)
    sizes_C = class_sizes(truth, count)
    recall_C = recalls(truth, told_NM, count)
    there = sizes_C > 0
    each_C = np.bincount(class_P, minlength=count)
    scale_C = np.sqrt(each_C / np.maximum(each_C - 1, 1)) * len(truth) / there.sum() / np.where(there, sizes_C, 1)
    residual_P = (right_N[image_P] - recall_C[class_P]) * weight_P * scale_C[class_P]
    balanced = float(recall_C[there].mean())
    found["balanced_accuracy"] = balanced + np.bincount(image_P, residual_P, minlength=len(truth))
    return found


def class_sizes(truth: Truth, count: int) -> np.ndarray:
    """Return how many images each class has, float64 [C]; one of m labels is 1/m of an image in each."""
    _, class_P, weight_P = _pairs(truth)
    return np.bincount(class_P, weight_P, minlength=count)


def recalls(truth: Truth, told_NM: np.ndarray, count: int) -> np.ndarray:
    """Return the share of each class's images that are answered rightly, float64 [C]; NaN for one without images."""
    image_P, class_P, weight_P = _pairs(truth)
    hits_C = np.bincount(class_P, weight_P * right(truth, told_NM)[image_P], minlength=count)
    sizes_C = class_sizes(truth, count)
    return np.divide(hits_C, sizes_C, out=np.full(count, np.nan), where=sizes_C > 0)


def recall_intervals(
    truth: Truth, told_NM: np.ndarray, count: int, groups_N: np.ndarray | None = None, seed: int = 0
) -> np.ndarray:
    """Return the 95 % interval of each class's recall, float64 [C, 2]; NaN for a class without images.

    Percentiles of a bootstrap over the class's images (Efron & Tibshirani, 1993, 13.3). What a draw of images comes to
    depends on how often it has each kind of them, right or wrong, alone. That is one multinomial draw: .03 CPU s for
    50,000 images of ten classes, where `scipy.stats.bootstrap`, which draws each image, takes .5 and ends in the same.

    Where all images of a class are right, or none is, every draw is the same, and percentiles would call it certain.
    There the interval is that of Clopper & Pearson (1934) for as many images as there are groups.

    Parameters
    ----------
    truth, told_NM, count
        As of `image_values`.
    groups_N
        Equal numbers, 0 and more, for images that are drawn together, those of the same bytes; by default each is by
        itself.
    seed
        Of the draws, the same for each class: its interval depends on its own images alone.
    """
    image_P, class_P, weight_P = _pairs(truth)
    hit_P = weight_P * right(truth, told_NM)[image_P]
    group_P = image_P if groups_N is None else groups_N[image_P]
    ends_C2 = np.full((count, 2), np.nan)
    order = np.argsort(class_P, kind="stable")
    for some in np.split(order, np.flatnonzero(np.diff(class_P[order])) + 1):
        _, group = np.unique(group_P[some], return_inverse=True)
        hits_G, sizes_G = np.bincount(group, hit_P[some]), np.bincount(group, weight_P[some])
        ends_C2[class_P[some[0]]] = _share_interval(hits_G, sizes_G, np.random.default_rng(seed))
    return ends_C2


def _share_interval(hits_G: np.ndarray, sizes_G: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """Return the interval of a share of images, given how many of each group are right and how many there are."""
    from scipy.stats import binomtest

    groups, whole = len(sizes_G), float(hits_G.sum() / sizes_G.sum())
    if not hits_G.any() or np.array_equal(hits_G, sizes_G):
        ends = binomtest(round(whole) * groups, groups).proportion_ci(CONFIDENCE, method="exact")
        return float(ends.low), float(ends.high)
    kinds, times = np.unique(np.stack([hits_G, sizes_G], axis=1), axis=0, return_counts=True)
    sums = rng.multinomial(groups, times / groups, size=_DRAWS) @ kinds
    low, high = np.quantile(sums[:, 0] / sums[:, 1], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def confusion(labels_N: np.ndarray, predicted_N: np.ndarray, count: int) -> np.ndarray:
    """Return how many images of a class, by row, were given each answer, int64 [C, C + 1].

    The last column is no answer. The row of a class without images is 0; `class_sizes` tells it from one of which
    nothing is right. Images of several labels have no confusion: none of them is the one that was to be told.
    """
    from sklearn.metrics import confusion_matrix

    told_N = np.where(predicted_N < 0, count, predicted_N)
    return confusion_matrix(labels_N, told_N, labels=np.arange(count + 1))[:count].astype(np.int64)


@dataclass(frozen=True)
class Reliability:
    """What the share of an answer says of its being right.

    Parameters
    ----------
    images_B
        How many answers have a share in each bin of equal width: above its lower edge, up to the upper one, with 0 in
        the first; int64.
    share_B, right_B
        Their mean share, and the share of them that are right, float64; NaN for a bin without answers.
    ece
        Expected calibration error: the mean over answers of how far the two are apart in their bin (Naeini et al.,
        2015; Guo et al., 2017, arXiv:1706.04599). NaN where there is no answer.
    """

    images_B: np.ndarray  # noqa: N815
    share_B: np.ndarray  # noqa: N815
    right_B: np.ndarray  # noqa: N815
    ece: float


def reliability(right_N: np.ndarray, share_N: np.ndarray, bins: int = 15) -> Reliability:
    """Return the reliability curve of answers.

    Parameters
    ----------
    right_N
        Whether each is right, bool. Leave out images without an answer: nothing was claimed of them.
    share_N
        The share of the class that was answered, from 0 to 1. Shares that differ by rounding are of one bin.
    bins
        How many; 15 is the usual number (Guo et al., 2017).
    """
    at_N = np.clip(np.ceil(np.round(share_N * bins, _DECIMALS)).astype(np.int64) - 1, 0, bins - 1)
    images_B = np.bincount(at_N, minlength=bins)
    sums = [np.bincount(at_N, values, minlength=bins) for values in (share_N, right_N)]
    share_B, right_B = (np.divide(x, images_B, out=np.full(bins, np.nan), where=images_B > 0) for x in sums)
    apart = np.abs(sums[0] - sums[1]).sum()
    return Reliability(images_B, share_B, right_B, float(apart / len(share_N)) if len(share_N) else float("nan"))


def unknown_auroc(p_known: np.ndarray, p_unknown: np.ndarray) -> float | None:
    """Return how well unusualness tells queries of unknown classes from those of known ones; None without either.

    The share of pairs in which the unknown query has the smaller p, equal ones counted half: the area under the curve
    of true against false alarms (Hanley & McNeil, 1982). 0.5 is chance.

    Parameters
    ----------
    p_known, p_unknown
        The p of each query, as `itae knowledge classify` tells it: small is unusual.
    """
    from sklearn.metrics import roc_auc_score

    if not len(p_known) or not len(p_unknown):
        return None
    unknown = np.repeat([False, True], [len(p_known), len(p_unknown)])
    return float(roc_auc_score(unknown, -np.concatenate([p_known, p_unknown])))


def auroc_values(p_N: np.ndarray, unknown_N: np.ndarray) -> np.ndarray:
    """Return what each query adds to the AUROC of `unknown_auroc`, float64 [N]; their mean is the AUROC.

    The share of queries of the other kind that a query is on the right side of (DeLong et al., 1988), weighted so that
    the variance of the mean is the sum of those of both kinds.

    Parameters
    ----------
    p_N
        The p of each query.
    unknown_N
        Whether its class is unknown; at least one is and one isn't.
    """
    values_N = np.empty(len(p_N))
    for kind in (True, False):
        mine, others = p_N[unknown_N == kind], np.sort(p_N[unknown_N != kind])
        below, upto = (np.searchsorted(others, mine, side) for side in ("left", "right"))
        half = (below + upto) / (2 * len(others))
        values_N[unknown_N == kind] = 1 - half if kind else half
    area = values_N[unknown_N].mean()
    sizes_N = np.where(unknown_N, unknown_N.sum(), (~unknown_N).sum())
    return area + (values_N - area) * len(p_N) / sizes_N


def mean_average_precision(truth: Truth, shares_NC: np.ndarray) -> float:
    """Return the mean, over classes that have images, of a class's average precision.

    It is what mAP is of images with several labels (PASCAL VOC, COCO): for each class, all images are ranked by its
    share, and the precision at each of its own is averaged, without interpolation, equal shares at one threshold
    (scikit-learn's `average_precision_score`). The other reading, labels ranked for each image, doesn't ask whether
    shares of different images compare, and is high already where a few common labels are told for every image.

    Parameters
    ----------
    truth
        As told above; each label counts as a whole.
    shares_NC
        The share of each class, 0 where it has none.
    """
    from sklearn.metrics import average_precision_score

    image_P, class_P, _ = _pairs(truth)
    truth_NC = np.zeros(shares_NC.shape, bool)
    truth_NC[image_P, class_P] = True
    there = truth_NC.any(axis=0)
    shares_NC = np.round(shares_NC, _DECIMALS)
    return float(np.mean([average_precision_score(truth_NC[:, c], shares_NC[:, c]) for c in np.flatnonzero(there)]))


def _pairs(truth: Truth) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return image, class and weight of each label, int64, int64 and float64 [P]."""
    if isinstance(truth, np.ndarray):
        return np.arange(len(truth)), truth.astype(np.int64), np.ones(len(truth))
    sizes = np.array([len(labels) for labels in truth])
    assert sizes.all(), "an image without labels can't be scored"
    codes = np.array([code for labels in truth for code in sorted(labels)], np.int64)
    return np.repeat(np.arange(len(truth)), sizes), codes, np.repeat(1 / sizes, sizes)
