"""Two groupings of the same images, matched group by group."""

from __future__ import annotations

import numpy as np


def one_to_one(counts_RC: np.ndarray) -> np.ndarray:
    """Return the column that each row is matched with, int64 [R], so that the matched counts are most in sum.

    By the Hungarian method (Kuhn, 1955). No column is taken twice; a row that is left over has -1.

    Parameters
    ----------
    counts_RC
        How many images are in both groups, of each pair of groups; neither side need have as many as the other.
    """
    from scipy.optimize import linear_sum_assignment

    matched_R = np.full(len(counts_RC), -1)
    rows, columns = linear_sum_assignment(counts_RC, maximize=True)
    matched_R[rows] = columns
    return matched_R
