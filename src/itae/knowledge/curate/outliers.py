"""Rows that lie far from all others, or from all others of their class.

Shapes: M positions of a snapshot, N rows, K neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from itae.knowledge.near.neighbours import MISSING, Excluded, nearest
from itae.knowledge.records.snapshot import Snapshot

_ROWS = 2**14  # at a time


@dataclass(frozen=True)
class Outlier:
    """A row and the nearest other that is not of its group.

    Parameters
    ----------
    position, nearest
        Of the row, and of its nearest.
    distance
        1 - their similarity.
    label
        In which class the nearest was looked for, or None: in all rows.
    """

    position: int
    nearest: int
    distance: float
    label: str | None = None

    def plain(self, snapshot: Snapshot) -> dict[str, Any]:
        """Return it as JSON has it."""
        here, there = snapshot.ids[self.position], snapshot.ids[self.nearest]
        return {"id": here, "label": self.label, "distance": self.distance, "nearest": there}


def outliers(snapshot: Snapshot, count: int = 20, device: str = "auto") -> tuple[list[Outlier], list[Outlier]]:
    """Return the rows farthest from their nearest other row, and those farthest from their nearest of their own class.

    Rows of a row's group don't count as others. A row that has no other at all, or none in its class, is in neither
    list; one with several labels is looked at in each of its classes. Farthest first, equally far ones by id.

    Parameters
    ----------
    snapshot
        The base.
    count
        How many of each.
    device
        See `itae.knowledge.near.neighbours.nearest`.
    """
    over_all = _farthest(snapshot, _own_distances(snapshot, snapshot.live, None, device), count)
    in_class: list[Outlier] = []
    for code, label in enumerate(snapshot.label_names):
        members = rows_of_label(snapshot, code)
        if len(members):
            in_class += _farthest(snapshot, _own_distances(snapshot, members, label, device), count)
    return over_all, _farthest(snapshot, iter(in_class), count)


def rows_of_label(snapshot: Snapshot, code: int) -> np.ndarray:
    """Return the live rows that have a label, positions, ascending."""
    several = [i for i, labels in snapshot.several.items() if code in labels and snapshot.alive_M[i]]
    return np.union1d(snapshot.live[snapshot.labels_M[snapshot.live] == code], np.array(several, np.int64))


def others_of_all(
    snapshot: Snapshot, rows: np.ndarray, k: int, device: str = "auto"
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield some of the rows at a time, with their nearest others of other groups, as `nearest` has them."""
    for start in range(0, len(rows), _ROWS):
        some = rows[start : start + _ROWS]
        groups = Excluded(snapshot.groups_M, snapshot.groups_M[some])
        yield some, *nearest(snapshot, snapshot.vectors_ME[some], k, rows, groups, device)


def _own_distances(snapshot: Snapshot, rows: np.ndarray, label: str | None, device: str) -> Iterator[Outlier]:
    for some, positions_NK, similarities_NK in others_of_all(snapshot, rows, 1, device):
        if not positions_NK.shape[1]:
            continue
        for i, near, similar in zip(
            some.tolist(), positions_NK[:, 0].tolist(), similarities_NK[:, 0].tolist(), strict=True
        ):
            if near != MISSING:
                yield Outlier(i, near, round(1 - similar, 6), label)


def _farthest(snapshot: Snapshot, found: Iterator[Outlier], count: int) -> list[Outlier]:
    import heapq

    return heapq.nsmallest(count, found, key=lambda one: (-one.distance, snapshot.ids[one.position], one.label or ""))
