"""Rows that are the same picture, or nearly: groups of them, not pairs.

Shapes: M positions of a snapshot, R rows compared, E embedding width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from itae.base.checks import number
from itae.base.progress import progress
from itae.knowledge.near.held_out import draw
from itae.knowledge.near.neighbours import MISSING, Excluded, nearest
from itae.knowledge.records.similarity import margin, similarities
from itae.knowledge.records.snapshot import Snapshot

THRESHOLD = 0.98
"""The similarity from which two rows are near duplicates, at least; see `near_duplicate`."""

_DRAWN = 200  # rows whose nearest others are looked for
_CLOSER = 0.1  # of the way between a usual nearest other and the row itself
_ROWS = 512  # compared with all behind them at a time
_COLUMNS = 2**14
_LINKS = 2**21  # held before those that join nothing are dropped


@dataclass(frozen=True)
class Group:
    """Rows that hang together by similarity.

    Parameters
    ----------
    positions
        By id.
    similarity
        Of the weakest link that holds the group together: above it, it falls apart.
    nearest
        Of each row, its similarity to the nearest other of the group.
    same_bytes
        Whether all are of the same bytes.
    labels_differ
        Whether two of those that have a label have none in common.
    """

    positions: tuple[int, ...]
    similarity: float
    nearest: tuple[float, ...]
    same_bytes: bool
    labels_differ: bool

    def plain(self, snapshot: Snapshot) -> dict[str, Any]:
        """Return it as JSON has it."""
        rows = zip(self.positions, self.nearest, strict=True)
        return {
            "similarity": self.similarity,
            "same_bytes": self.same_bytes,
            "labels_differ": self.labels_differ,
            "rows": [{"id": snapshot.ids[i], "labels": list(snapshot.labels_of(i)), "similarity": s} for i, s in rows],
        }


def near_duplicate(snapshot: Snapshot) -> float:
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


def duplicates(snapshot: Snapshot, threshold: float | None = THRESHOLD) -> list[Group]:
    """Return the groups of live rows that are of the same bytes or, from `threshold` on, alike.

    Groups are the connected components of all links between two rows: of two whose vectors are alike, of two of the
    same bytes (their similarity is 1). All pairs are compared, exactly, which takes as long as to look for the
    neighbours of all rows.

    Parameters
    ----------
    snapshot
        The base.
    threshold
        A similarity from -1 to 1; None looks at bytes alone.

    Returns
    -------
    list of Group
        Those of which labels differ first, then the most alike, then the largest.
    """
    if threshold is not None:
        number("--threshold", threshold, -1, 1)
    same = [(group[0], other) for group in same_bytes(snapshot, snapshot.live) for other in group[1:]]
    links = [np.array(same, np.int64).reshape(-1, 2)], [np.ones(len(same))]
    if threshold is not None:
        rows = np.setdiff1d(snapshot.live, [j for _, j in same])
        for pairs, similar in _alike(snapshot, rows, threshold):
            links[0].append(pairs)
            links[1].append(similar)
            if sum(map(len, links[1])) > _LINKS:
                links = tuple([one] for one in _forest(snapshot, *links))  # type: ignore[assignment]
    groups = [_group(snapshot, *parts) for parts in _parts(*_forest(snapshot, *links))]
    return sorted(
        groups, key=lambda g: (not g.labels_differ, -g.similarity, -len(g.positions), snapshot.ids[g.positions[0]])
    )


def same_bytes(snapshot: Snapshot, rows: np.ndarray) -> list[list[int]]:
    """Return the groups of some rows, positions, that share their bytes; those without an image are in none."""
    rows = rows[snapshot.digests_M32[rows].any(axis=1)]  # zeros: no image
    digests = np.ascontiguousarray(snapshot.digests_M32[rows]).view("V32").reshape(-1)
    _, at, counts = np.unique(digests, return_inverse=True, return_counts=True)
    groups: dict[int, list[int]] = {}
    for r in np.flatnonzero(counts[at] > 1).tolist():
        groups.setdefault(int(at[r]), []).append(int(rows[r]))
    return list(groups.values())


def _alike(snapshot: Snapshot, rows: np.ndarray, threshold: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield pairs of rows from a similarity on, and it: candidates by their product in float32, block by block."""
    vectors_ME = snapshot.vectors_ME
    least = np.float32(threshold - margin(vectors_ME.shape[1]))
    with progress(len(rows), "duplicates", "images") as advance:
        for top in range(0, len(rows), _ROWS):
            above = rows[top : top + _ROWS]
            some = np.ascontiguousarray(vectors_ME[above])
            for left in range(top, len(rows), _COLUMNS):
                beside = rows[left : left + _COLUMNS]
                i, j = np.nonzero(some @ np.asarray(vectors_ME[beside]).T >= least)
                i, j = above[i], beside[j]
                pairs = np.stack([i[i < j], j[i < j]], axis=1)
                if len(pairs):
                    similar = _of_pairs(vectors_ME, pairs)
                    yield pairs[similar >= threshold], similar[similar >= threshold]
            advance(len(above))


def _of_pairs(vectors_ME: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    similar, step = np.empty(len(pairs)), 2**14
    for start in range(0, len(pairs), step):
        one, other = pairs[start : start + step].T
        similar[start : start + step] = similarities(vectors_ME, vectors_ME[one], other[:, None])[:, 0]
    return similar


def _forest(
    snapshot: Snapshot, pairs: Sequence[np.ndarray], similar: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return those links that hold the groups together, the strongest: a maximum spanning forest."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import minimum_spanning_tree

    m, (i, j), weights = len(snapshot.alive_M), np.concatenate(pairs).T, 2 - np.concatenate(similar)  # 0 is no link
    tree = minimum_spanning_tree(coo_matrix((weights, (i, j)), (m, m)).tocsr()).tocoo()
    return np.stack([tree.row, tree.col], axis=1).astype(np.int64), np.round(2 - tree.data, 6)


def _parts(pairs: np.ndarray, similar: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the links of each group."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    if not len(pairs):
        return []
    rows, at = np.unique(pairs, return_inverse=True)
    i, j = at.reshape(-1, 2).T
    _, part = connected_components(coo_matrix((np.ones(len(i)), (i, j)), (len(rows), len(rows))), directed=False)
    order = np.argsort(part[i], kind="stable")
    borders = np.flatnonzero(np.diff(part[i][order])) + 1
    return list(zip(np.split(pairs[order], borders), np.split(similar[order], borders), strict=True))


def _group(snapshot: Snapshot, pairs: np.ndarray, similar: np.ndarray) -> Group:
    # In a maximum spanning tree each row's strongest link is to its nearest.
    best: dict[int, float] = {}
    for pair, s in zip(pairs.tolist(), similar.tolist(), strict=True):
        for i in pair:
            best[i] = max(s, best.get(i, -1.0))
    positions = sorted(best, key=lambda i: snapshot.ids[i])
    digests = {snapshot.digests_M32[i].tobytes() for i in positions}
    labels = {frozenset(snapshot.labels_of(i)) for i in positions} - {frozenset()}
    differ = any(not one & other for one in labels for other in labels)
    same = len(digests) == 1 and bytes(32) not in digests
    return Group(tuple(positions), float(similar.min()), tuple(best[i] for i in positions), same, differ)
