"""What mending brought back: the scores of one draw of wrong labels, and what each image adds to them.

What an image adds is such that the mean over images is the score, so that a mean of differences of two sides has an
interval (`itae.measure.intervals.mean_interval`). Of a ratio it is what the image adds where that is linear (Cochran,
1977, Sampling Techniques, 6.3), of the AUROC its structural component (DeLong, DeLong & Clarke-Pearson, 1988).

Letters: N rows that vote, Q queries, P points of a curve.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

LOCALITY = "locality"
"""By the nearest row alone it is 0 by construction: mending that row changes only answers that it had made wrong."""


@dataclass(frozen=True, eq=False)
class Score:
    """A number, None where it says nothing, and what each image adds to it, or None."""

    value: float | None
    images: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Answers:
    """The answers of one voter, codes, [Q] each, and the truth.

    Parameters
    ----------
    truth
        Of the queries.
    clean, noisy, mended
        By a memory without a wrong label; with all of them; after some rows were looked at.
    """

    truth: np.ndarray
    clean: np.ndarray
    noisy: np.ndarray
    mended: np.ndarray

    def scores(self, edits: int) -> dict[str, Score]:
        """Return the scores, by the names of `itae.tasks.editing.Editing`, given how many labels were mended."""
        clean, noisy, mended = (one == self.truth for one in (self.clean, self.noisy, self.mended))
        kept, changed = self.noisy == self.clean, self.mended != self.noisy
        return {
            **{name: mean_of(right) for name, right in (("clean", clean), ("noisy", noisy), ("repaired", mended))},
            "recovery": ratio(mended * 1.0 - noisy, clean * 1.0 - noisy),
            LOCALITY: ratio(kept & changed, kept),
            "changed_per_edit": Score(float(changed.sum() / edits) if edits else None),
        }


def mean_of(values_Q: np.ndarray) -> Score:
    """Return a mean over images."""
    return Score(float(values_Q.mean()), values_Q.astype(np.float64))


def ratio(part_Q: np.ndarray, whole_Q: np.ndarray) -> Score:
    """Return the ratio of two means over images; none where the lower one is not above 0."""
    part, whole = float(part_Q.mean()), float(whole_Q.mean())
    if whole_Q.sum() <= 0:  # of whole numbers, so exactly
        return Score(None)
    return Score(part / whole, part / whole + (part_Q - part / whole * whole_Q) / whole)


def precision(wrong_N: np.ndarray, first_N: np.ndarray) -> Score:
    """Return the share of the rows looked at first that are wrong.

    Parameters
    ----------
    wrong_N, first_N
        Whether each row is wrong, and whether it is among the first; some are.
    """
    return mean_of((wrong_N & first_N) * (len(first_N) / first_N.sum()))


def auroc(wrong_N: np.ndarray, scores_N: np.ndarray) -> Score:
    """Return the share of pairs of a wrong and a right row in which the wrong one has the higher score.

    Equal scores count half. None where all rows are wrong, or none is.
    """
    wrong, right, n = int(wrong_N.sum()), int((~wrong_N).sum()), len(wrong_N)
    if not wrong or not right:
        return Score(None)
    every_N, placed_N = rankdata(scores_N), np.empty(n)
    placed_N[wrong_N] = (every_N[wrong_N] - rankdata(scores_N[wrong_N])) / right
    placed_N[~wrong_N] = 1 - (every_N[~wrong_N] - rankdata(scores_N[~wrong_N])) / wrong
    area = float(placed_N[wrong_N].mean())
    return Score(area, area + (placed_N - area) * np.where(wrong_N, n / wrong, n / right))


def curve(
    truth_Q: np.ndarray, clean_Q: np.ndarray, noisy_Q: np.ndarray, mended_PQ: np.ndarray
) -> dict[str, np.ndarray]:
    """Return ``accuracy``, ``recovery`` and ``locality`` at each point, float64 [P]; NaN where one says nothing."""
    lost = int((clean_Q == truth_Q).sum()) - int((noisy_Q == truth_Q).sum())
    kept_Q = noisy_Q == clean_Q
    right_P = (mended_PQ == truth_Q).sum(axis=1)
    none_P = np.full(len(mended_PQ), np.nan)
    return {
        "accuracy": right_P / len(truth_Q),
        "recovery": (right_P - int((noisy_Q == truth_Q).sum())) / lost if lost > 0 else none_P,
        "locality": (mended_PQ != noisy_Q)[:, kept_Q].mean(axis=1) if kept_Q.any() else none_P,
    }


def over_draws(values_DP: np.ndarray) -> list[tuple[float | None, float | None]]:
    """Return mean and standard deviation over draws at each point; None where no draw, or one alone, has a value."""
    found: list[tuple[float | None, float | None]] = []
    for column in values_DP.T:
        known = column[np.isfinite(column)]
        mean, std = known.mean() if len(known) else None, known.std(ddof=1) if len(known) > 1 else None
        found.append((mean, std))
    return found
