"""Rows whose removal turns an answer of class means: a greedy choice, which need not be the fewest.

For each of the nearest other classes, the row that helps it most by going is taken out of it or of the class that has
won, until that loses; then those that weren't needed come back.

Shapes: R rows of two classes, E embedding width.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from itae.knowledge.answers.class_means import add_up, cosines
from itae.knowledge.answers.vote import ClassMean
from itae.knowledge.records.snapshot import SEVERAL, Snapshot

_CLASSES = 5  # the nearest others, that may win where class means vote
_CLASS_ROWS = 4096  # of two classes that may be taken out
_NOTHING = 1e-9  # the square of a sum of no rows
_NEAR = 1e-3  # a cosine: before the winner's is down to there, no vote is held


def turn_class_means(
    snapshot: Snapshot, query_E: np.ndarray, voter: ClassMean, rows: np.ndarray, won: int, most: int
) -> np.ndarray | None:
    """Return rows without which another class than `won` wins, the fewest of those found for the nearest few others.

    None where `most` of them don't turn it; see `itae.knowledge.turn.turn`.
    """
    at_first = cosines(snapshot, query_E[None], rows)[0]
    at_first[won] = -np.inf

    def lost(taken: list[int]) -> bool:
        left = np.setdiff1d(rows, taken, assume_unique=True)
        return int(voter.ballot(snapshot, query_E[None], left).winners[0]) not in (won, -1)

    best: list[int] | None = None
    for other in np.argsort(-at_first, kind="stable")[:_CLASSES].tolist():
        if not np.isfinite(at_first[other]):
            continue
        taken: list[int] = []
        for i, lead in _class_against_class(snapshot, query_E, rows, won, other):
            taken.append(i)
            if len(taken) >= (most + 1 if best is None else len(best)):
                break
            if lead > -_NEAR and lost(taken):
                best = taken
                break
    while best is not None:  # without some of those it may have turned, too, the last first
        enough = next((i for i in best[::-1] if lost([one for one in best if one != i])), None)
        if enough is None:
            break
        best = [one for one in best if one != enough]
    return None if best is None else np.array(best)


def _class_against_class(
    snapshot: Snapshot, query_E: np.ndarray, rows: np.ndarray, won: int, other: int
) -> Iterator[tuple[int, float]]:
    """Yield rows of two classes, each the one that helps the other most if it goes, and by how much that leads then."""
    parts_2R = np.stack([_parts(snapshot, rows, code) for code in (won, other)])
    toward_R = np.zeros(len(rows), np.float32)
    members = np.flatnonzero(parts_2R.any(axis=0))
    toward_R[members] = np.asarray(snapshot.vectors_ME[rows[members]]) @ query_E
    helps = np.argsort((parts_2R[1] - parts_2R[0])[members] * toward_R[members], kind="stable")[:_CLASS_ROWS]
    some = np.sort(members[helps])
    vectors_RE, query, parts_2R = (
        snapshot.vectors_ME[rows[some]].astype(np.float64),
        query_E.astype(float),
        parts_2R[:, some],
    )
    sums_2E = add_up(snapshot, rows).sums_CE[[won, other]] / 2.0**40
    to_query_R, own_R, left = vectors_RE @ query, (vectors_RE * vectors_RE).sum(axis=1), np.ones(len(some), bool)
    for _ in range(len(some)):
        here_2R = (sums_2E @ query)[:, None] - parts_2R * to_query_R
        squares_2R = (sums_2E * sums_2E).sum(axis=1)[:, None] - 2 * parts_2R * (sums_2E @ vectors_RE.T)
        squares_2R += parts_2R**2 * own_R
        # A class whose last row goes is no class any more: its sum is nothing but rounding.
        cosine_2R = np.where(squares_2R > _NOTHING, here_2R / np.sqrt(np.maximum(squares_2R, _NOTHING)), -1.0)
        lead_R = np.where(left, cosine_2R[1] - cosine_2R[0], -np.inf)
        r = int(lead_R.argmax())
        left[r] = False
        sums_2E = sums_2E - parts_2R[:, r, None] * vectors_RE[r]
        yield int(rows[some[r]]), float(lead_R[r])


def _parts(snapshot: Snapshot, rows: np.ndarray, code: int) -> np.ndarray:
    """Return which part of each row a label has."""
    codes = snapshot.labels_M[rows]
    parts = (codes == code).astype(np.float64)
    for r in np.flatnonzero(codes == SEVERAL).tolist():
        labels = snapshot.several[int(rows[r])]
        parts[r] = (code in labels) / len(labels)
    return parts
