"""Results that are nearly the same image as one before them, which a page shows as one.

Shapes: K results, E embedding width, B results of a block, W of a window.
"""

from __future__ import annotations

import numpy as np

from itae.knowledge.curate.duplicates import THRESHOLD
from itae.knowledge.near.held_out import draw
from itae.knowledge.near.neighbours import MISSING, Excluded, nearest
from itae.knowledge.records.snapshot import Snapshot

_WINDOW, _BLOCK = 512, 256
_DRAWN = 200  # rows whose nearest others are looked for
_CLOSER = 0.1  # of the way between a usual nearest other and the row itself


def near_identical(snapshot: Snapshot) -> float:
    """Return the cosine from which two rows are nearly the same image, by how alike a row's nearest other usually is.

    `THRESHOLD`, and more in a space that is tight, as one that was trained to bring a class together: there .98 is any
    two of a class. Two rows have to be ten times as near as the median of a fixed draw of 200 is to its nearest other;
    rows of the same bytes are no others.
    """
    rows = draw(snapshot, snapshot.live, _DRAWN)
    if len(rows) < 2:
        return THRESHOLD
    groups = Excluded(snapshot.groups_M, snapshot.groups_M[rows])
    positions_R1, similarities_R1 = nearest(snapshot, snapshot.vectors_ME[rows], 1, snapshot.live, groups)
    found = similarities_R1[positions_R1 != MISSING]
    return max(THRESHOLD, 1 - _CLOSER * (1 - float(np.median(found)))) if len(found) else THRESHOLD


def folded(snapshot: Snapshot, positions_K: np.ndarray, threshold: float) -> np.ndarray:
    """Return for each result the first one before it that it is nearly the same as, or itself, int64 [K].

    What it is folded under is itself folded under none. Nearly the same images score nearly the same, so a result is
    compared with the 512 to 767 before it alone.

    Parameters
    ----------
    snapshot, positions_K
        The version, and where the results lie in it, best first.
    threshold
        The cosine from which two are nearly the same, see `near_identical`.
    """
    under_K = np.arange(len(positions_K))
    for start in range(0, len(positions_K), _BLOCK):
        first, end = max(0, start - _WINDOW), min(start + _BLOCK, len(positions_K))
        window_WE = snapshot.vectors_ME[positions_K[first:end]]
        alike_BW = window_WE[start - first :] @ window_WE.T >= threshold
        for k in range(start, end):
            before = np.flatnonzero(alike_BW[k - start, : k - first]) + first
            leading = before[under_K[before] == before]
            if len(leading):
                under_K[k] = leading[0]
    return under_K
