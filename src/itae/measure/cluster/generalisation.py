"""How well a plain classifier learns a clustering: the label-free score by which TURTLE's authors choose among fits.

Shapes: N points, E embedding width.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from itae.base.checks import whole
from itae.base.errors import UserError

MOST = 5000  # points that are looked at: the score is then open by less than a hundredth, and costs seconds


def check_folds(folds: int, n: int | None = None) -> None:
    """Raise a `UserError` unless `folds` is 0, for none, or 2 and up, and at most as many as `n` points, or `MOST`."""
    whole("clusterer.folds", folds, low=0, high=MOST)
    if folds == 1:
        raise UserError("clusterer.folds=1 leaves nothing to train on; set 0, for no cross-validation, or 2 and up.")
    if n is not None and folds > n:
        raise UserError(f"clusterer.folds={folds} is more folds than there are images ({n}); lower it, or set 0.")


def generalisation(spaces: Sequence[np.ndarray], labels_N: np.ndarray, folds: int, seed: int) -> float:
    """Return the share of held-out points whose cluster logistic regression tells, by cross-validation, 0..1.

    A single cluster is told of every point and says nothing: it counts as 0.

    Parameters
    ----------
    spaces
        float32 [N, E], one or more; the score is the mean over them.
    labels_N
        The cluster of each point.
    folds
        At least 2. Of more than 5,000 points as many are drawn, the same for the same seed.
    seed
        Draws the points and the folds.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import KFold

    order = np.random.default_rng(seed).permutation(len(labels_N))[:MOST]
    labels = labels_N[order]
    if len(np.unique(labels)) < 2:
        return 0.0
    right = total = 0
    for rows_NE in spaces:
        rows = rows_NE[np.sort(order)][np.argsort(np.argsort(order))]  # a map on the disk is read in its order
        for train, test in KFold(folds).split(rows):
            total += len(test)
            if len(kept := np.unique(labels[train])) == 1:
                right += int((labels[test] == kept[0]).sum())
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                learnt = LogisticRegression(max_iter=100).fit(rows[train], labels[train])
            right += int((learnt.predict(rows[test]) == labels[test]).sum())
    return right / total
