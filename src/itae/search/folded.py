"""Results that are nearly the same image as one before them, which a page shows as one.

Shapes: K results, E embedding width, B results of a block, W of a window.
"""

from __future__ import annotations

import numpy as np

from itae.knowledge.records.snapshot import Snapshot

_WINDOW, _BLOCK = 512, 256


def folded(snapshot: Snapshot, positions_K: np.ndarray, threshold: float) -> np.ndarray:
    """Return for each result the first one before it that it is nearly the same as, or itself, int64 [K].

    What it is folded under is itself folded under none. Nearly the same images score nearly the same, so a result is
    compared with the 512 to 767 before it alone.

    Parameters
    ----------
    snapshot, positions_K
        The version, and where the results lie in it, best first.
    threshold
        The cosine from which two are nearly the same, see
        `itae.knowledge.curate.duplicates.near_duplicate`.
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
