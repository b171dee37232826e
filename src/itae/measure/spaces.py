"""How expressive a space of embeddings is, in two numbers: how many directions it uses, and how far classes lie apart.

Neither is of any clustering. An edit that makes room for what tells images apart should raise the second; the first
rises with noise, too, so that neither way is better by itself.

Letters: N images, E embedding width, C classes.
"""

from __future__ import annotations

import numpy as np

from itae.measure.cluster.points import blocks

SAMPLE = 20_000
"""Images whose singular values are looked at, at most; the same of both sides."""


def effective_rank(vectors_NE: np.ndarray) -> float | None:
    """Return how many directions embeddings use: the exponential of the entropy of their singular values.

    Those of the centred rows, divided by their sum (Roy & Vetterli, 2007, EUSIPCO: The effective rank). Between 1 and
    the rank; equal values in R directions give R. The length of all rows together doesn't matter, nor does a turn.

    Parameters
    ----------
    vectors_NE
        float32 [N, E]; of more than `SAMPLE` rows, so many are drawn, always the same.

    Returns
    -------
    float or None
        None where all rows are equal, or some are NaN or infinite.
    """
    rows = looked_at(len(vectors_NE))
    points_NE = np.asarray(vectors_NE if rows is None else vectors_NE[rows])
    mean_E = points_NE.mean(axis=0, dtype=np.float64)
    scatter_EE = np.zeros((points_NE.shape[1],) * 2)
    for some in blocks(len(points_NE)):
        centred = points_NE[some] - mean_E
        scatter_EE += centred.T @ centred
    if not np.isfinite(scatter_EE).all():
        return None
    squares_E = np.linalg.eigvalsh(scatter_EE)
    if not squares_E[-1] > len(points_NE) * (np.finfo(np.float32).eps * np.abs(mean_E).max()) ** 2:
        return None  # what is left is how the mean was rounded
    values_E = np.sqrt(np.clip(squares_E, 0, None))
    shares_E = values_E[values_E > 0] / values_E.sum()
    return float(np.exp(-(shares_E * np.log(shares_E)).sum()))


def looked_at(n: int) -> np.ndarray | None:
    """Return the rows whose singular values are looked at, or None for all of them."""
    return None if n <= SAMPLE else np.sort(np.random.default_rng(0).choice(n, SAMPLE, replace=False))


def separation(vectors_NE: np.ndarray, labels_N: np.ndarray) -> np.ndarray | None:
    """Return what each image adds to the share of the scatter of unit rows that lies between classes; the mean is it.

    ``tr S_B / tr S_T``: of the squared distances to the mean of all, what those of the class means are (the correlation
    ratio; of classes in several dimensions Fukunaga, 1990, Introduction to Statistical Pattern Recognition, 10.2). 0
    where all classes have one mean, 1 where each class is one point, and on average (C - 1) / (N - 1) for shuffled
    labels.

    It is a ratio of two means, so an image's value is what it adds to the ratio where that is linear, as
    `itae.measure.intervals` takes such; what it adds by moving a mean is of second order.

    Parameters
    ----------
    vectors_NE
        float32 [N, E]; rows are brought to unit length, but those of length zero.
    labels_N
        Whole numbers.

    Returns
    -------
    numpy.ndarray or None
        float64 [N]; None where all unit rows are equal, or some are NaN or infinite.
    """
    names_C, class_N = np.unique(labels_N, return_inverse=True)
    sums_CE = np.zeros((len(names_C), vectors_NE.shape[1]))
    for some in blocks(len(class_N)):
        np.add.at(sums_CE, class_N[some], _unit(vectors_NE[some]))
    mean_E, means_CE = sums_CE.sum(axis=0) / len(class_N), sums_CE / np.bincount(class_N)[:, None]
    total_N, within_N = np.empty(len(class_N)), np.empty(len(class_N))
    for some in blocks(len(class_N)):
        unit = _unit(vectors_NE[some])
        total_N[some] = ((unit - mean_E) ** 2).sum(axis=1)
        within_N[some] = ((unit - means_CE[class_N[some]]) ** 2).sum(axis=1)
    total, within = total_N.mean(), within_N.mean()
    if not total >= 1e-12:  # NaN, too
        return None
    between = 1 - within / total
    value_N: np.ndarray = between + (total_N * within / total - within_N) / total
    return value_N


def _unit(rows: np.ndarray) -> np.ndarray:
    """Return rows of unit length, float64; those of length zero stay."""
    wide = rows.astype(np.float64)
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    unit: np.ndarray = wide / np.where(length > 0, length, 1)
    return unit
