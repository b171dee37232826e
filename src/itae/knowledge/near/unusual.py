"""How unusual a query is: its distance to the nearest row against the rows' own distances to each other."""

from __future__ import annotations

import numpy as np

from itae.knowledge.near.held_out import held_out
from itae.knowledge.records.snapshot import Snapshot


def unusual(snapshot: Snapshot, nearest_Q: np.ndarray, device: str = "auto") -> tuple[np.ndarray, str]:
    """Return p of each query, (1 + rows at least as far from their nearest as the query is) / (1 + rows), and a note.

    Small is unusual. A row's nearest is the nearest live row that is not of its group; a row without one is farther
    than any query. Of a large base a fixed draw of rows is taken, and the note says so.

    Parameters
    ----------
    snapshot
        The base.
    nearest_Q
        Each query's similarity to its nearest live row, -inf where there is none.
    device
        See `itae.knowledge.near.neighbours.nearest`.
    """
    found = held_out(snapshot, 1, voters=False, device=device)
    own = np.full(len(found.rows), -np.inf)
    if found.similarities_RK.shape[1]:
        own = np.sort(found.similarities_RK[:, 0])
    at_least_as_far = np.searchsorted(own, nearest_Q, side="right")  # their similarity is at most the query's
    return (1 + at_least_as_far) / (1 + len(own)), f"p is against {found.note}" if found.note else ""


def never_below(snapshot: Snapshot, threshold: float, device: str = "auto") -> str:
    """Return a note where no p can be below a threshold that is above 0: there are too few rows to compare with."""
    rows = len(held_out(snapshot, 1, voters=False, device=device).rows)
    least = 1 / (1 + rows)
    if not 0 < threshold <= least:
        return ""
    compared = f"with {rows} rows to compare with no p is below {least:.3g}"
    return f"--abstain {threshold:g} leaves out no label: {compared}"
