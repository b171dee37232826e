"""How good a ranking of images is: recall and precision at K, and MAP@R.

Shapes: K places of a ranking, best first.
"""

from __future__ import annotations

import numpy as np

AT = 10
"""K of recall and precision."""


def ranking_scores(hits_K: np.ndarray, positives: int) -> dict[str, float]:
    """Return the scores of one ranking.

    Parameters
    ----------
    hits_K
        Whether each of the first images is wanted, bool; at least the first `AT` and as many as `positives`, where
        there are so many.
    positives
        R: how many images of the whole collection are wanted, at least 1.

    Returns
    -------
    dict
        ``r_at_1`` and ``r_at_10``: whether one of the first 1 or 10 is wanted (Recall@K of retrieval, as Jegou et al.,
        2011, have it). ``p_at_10``: the share of 10 that is wanted, whatever there is to find. ``map_at_r``: the mean
        over the first R places of the precision up to there where that place is wanted, and 0 where it isn't
        (Musgrave, Belongie & Lim, 2020, A Metric Learning Reality Check, arXiv:2003.08505): 1 for R wanted ones first.
    """
    hits_K = np.asarray(hits_K, bool)
    assert 1 <= positives >= hits_K.sum(), (positives, hits_K)
    first_R = hits_K[:positives]
    precision_R = np.cumsum(first_R) / np.arange(1, len(first_R) + 1)
    return {
        "r_at_1": float(hits_K[:1].any()),
        "r_at_10": float(hits_K[:AT].any()),
        "p_at_10": float(hits_K[:AT].sum() / AT),
        "map_at_r": float(precision_R[first_R].sum() / positives),
    }
