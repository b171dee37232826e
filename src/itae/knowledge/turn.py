"""The fewest rows whose removal turns an answer, checked by removing them and voting again.

Where rows vote by their rank and similarity alone it is the fewest, proved: for each number of rows j, the best j to
take out of the first k + j is found exactly, for each other label, by dynamic programming over the rows in their order
(which are taken out, and how many were so far). What is taken out beyond those changes no vote, and what comes in from
behind is counted. Class means turn by a greedy choice, which need not be the fewest.

Shapes: T rows in the order of their similarity, B labels that could win, J rows taken out at most.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from itae.knowledge.ballot import by_name, count
from itae.knowledge.class_means import add_up, cosines
from itae.knowledge.neighbours import nearest
from itae.knowledge.snapshot import SEVERAL, Snapshot
from itae.knowledge.vote import ClassMean, Voter

MOST = 1024
"""Rows taken out at most."""

_FIRST = 32  # how many are tried at first
_ALIKE = 1e-9  # of all votes: nearer than this the vote itself tells who wins
_NONE, _OTHER, _OWN = 0, 1, 2  # whose row is nearest so far: neither's, that of the label that could win, the winner's
_CLASSES = 5  # the nearest others, that may win where class means vote
_CLASS_ROWS = 4096  # of two classes that may be taken out
_NOTHING = 1e-9  # the square of a sum of no rows
_NEAR = 1e-3  # a cosine: before the winner's is down to there, no vote is held


@dataclass(frozen=True)
class Turn:
    """What turns an answer.

    Parameters
    ----------
    positions
        The rows to take out, nearest first.
    label
        The answer without them.
    fewest
        Whether it is proved that fewer rows don't turn it.
    """

    positions: tuple[int, ...]
    label: str
    fewest: bool


def turn(snapshot: Snapshot, query_E: np.ndarray, voter: Voter | ClassMean, rows: np.ndarray) -> Turn | None:
    """Return the fewest rows whose removal turns the answer to a query.

    Parameters
    ----------
    snapshot
        The base.
    query_E
        Its vector.
    voter
        With all its settings.
    rows
        Those that may vote on it, positions, ascending.

    Returns
    -------
    Turn or None
        None where there is no other label, or where more than `MOST` rows would have to go.
    """
    won = int(voter.ballot(snapshot, query_E[None], rows).winners[0])
    if won < 0:
        return None
    found = _by_rows(snapshot, query_E, voter, rows, won) if isinstance(voter, Voter) else None
    if isinstance(voter, ClassMean):
        found = _by_class_means(snapshot, query_E, voter, rows, won)
    if found is None:
        return None
    now = int(voter.ballot(snapshot, query_E[None], np.setdiff1d(rows, found, assume_unique=True)).winners[0])
    assert now not in (won, -1), "what turns an answer turns it"
    return Turn(tuple(found.tolist()), snapshot.label_names[now], isinstance(voter, Voter) or len(found) == 1)


def _by_rows(snapshot: Snapshot, query_E: np.ndarray, voter: Voter, rows: np.ndarray, won: int) -> np.ndarray | None:
    assert voter.k is not None
    most = _FIRST
    while True:
        (positions,), (similar,) = nearest(snapshot, query_E[None], voter.k + most, rows)
        if len(positions) == len(rows):
            most = min(MOST, len(rows) - 1)
        taken = _Removal(snapshot, voter, positions, similar, won, most).fewest()
        if taken is not None or most >= MOST or len(positions) == len(rows):
            return taken
        most = min(MOST, 4 * most)


class _Removal:
    """The best rows to take out of one list, for each number of them."""

    def __init__(
        self, snapshot: Snapshot, voter: Voter, positions: np.ndarray, similar: np.ndarray, won: int, most: int
    ) -> None:
        self.snapshot, self.voter, self.positions, self.similar, self.won = snapshot, voter, positions, similar, won
        assert voter.k is not None
        self.k, self.most = min(voter.k, len(positions)), most
        # The weight of row t where it comes to stand at rank k, [T, K]
        self.weights_TK = np.stack([voter.weights(similar, rank) for rank in range(self.k)], axis=1)
        self.others, self.votes_TB, self.own_T = self._votes()

    def _votes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the other labels, the part of each row's voice that each has, and that of the label that has won."""
        labels = [self._labels(i) for i in self.positions.tolist()]
        others = sorted({code for some in labels for code in some} - {self.won})
        votes_TB = np.zeros((len(labels), len(others)))
        for b, code in enumerate(others):
            votes_TB[:, b] = [(code in some) / len(some) for some in labels]
        return np.array(others), votes_TB, np.array([(self.won in some) / len(some) for some in labels])

    def _labels(self, i: int) -> tuple[int, ...]:
        code = int(self.snapshot.labels_M[i])
        return (code,) if code >= 0 else self.snapshot.several[i]

    def fewest(self) -> np.ndarray | None:
        """Return the positions to take out, or None where up to `most` of them don't turn it."""
        if not len(self.others) or self.most < 1:
            return None
        margins_3BJ = self._margins(np.arange(len(self.others)))
        near = _ALIKE * self.weights_TK[: self.k].diagonal().sum()
        for j in range(1, self.most + 1):
            hopeful = np.argwhere(margins_3BJ[:, :, j] >= -near)
            for state, b in sorted(hopeful.tolist(), key=lambda at: -margins_3BJ[at[0], at[1], j]):  # noqa: B023, RUF100
                taken = self._taken(b, state, j)
                if self._turns(taken):
                    return self.positions[taken]
        return None

    def _turns(self, taken: np.ndarray) -> bool:
        keep = np.setdiff1d(np.arange(len(self.positions)), taken)[: self.k]
        positions, similar = self.positions[keep][None], self.similar[keep][None]
        return int(count(self.snapshot, positions, similar, self.voter.shares(similar)).winners[0]) not in (
            self.won,
            -1,
        )

    def _margins(self, some: np.ndarray) -> np.ndarray:
        """Return by how much a label can lead the winner at most once j rows are out, [3, B, J + 1].

        The first axis is whose row is nearest then, which decides a tie.
        """
        out = np.full((3, len(some), self.most + 1), -np.inf)
        for t, best_3BJ, _ in self._steps(some):
            j = t - self.k
            if 0 <= j <= self.most:
                out[:, :, j] = best_3BJ[:, :, j]
            if t == len(self.positions):
                out[:, :, max(0, j) :] = best_3BJ[:, :, max(0, j) :]
        return out

    def _steps(self, some: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield, after each row, the best leads by whose row is nearest and how many are out, and how they came about.

        The latter is 3 where the row was taken out, else what the first axis was before it was kept.
        """
        best_3BJ = np.full((3, len(some), self.most + 1), -np.inf)
        best_3BJ[_NONE, :, 0] = 0
        yield 0, best_3BJ, np.zeros(0)
        first = by_name(self.snapshot)
        for t in range(len(self.positions)):
            rank_J = t - np.arange(self.most + 1)
            fits_J = (rank_J >= 0) & (rank_J < self.k)
            weight_J = np.where(fits_J, self.weights_TK[t, np.clip(rank_J, 0, self.k - 1)], -np.inf)
            vote_B, own = self.votes_TB[t, some], self.own_T[t]
            lead_BJ = np.where(fits_J, np.where(fits_J, weight_J, 0) * (vote_B - own)[:, None], -np.inf)
            next_3BJ = np.full_like(best_3BJ, -np.inf)
            next_3BJ[:, :, 1:] = best_3BJ[:, :, :-1]
            how_3BJ = np.full(best_3BJ.shape, 3, np.int8)
            # Of a row with both labels the first by name counts as nearer.
            other_B = (vote_B > 0) & ((own == 0) | (first[self.others[some]] < first[self.won]))
            for before in (_NONE, _OTHER, _OWN):
                kept_BJ = best_3BJ[before] + lead_BJ
                now_B = np.full(len(some), before)
                if before == _NONE:
                    now_B = np.where(other_B, _OTHER, np.where(own > 0, _OWN, _NONE))
                for now in np.unique(now_B):
                    better_BJ = (now_B == now)[:, None] & (kept_BJ >= next_3BJ[now]) & np.isfinite(kept_BJ)
                    next_3BJ[now][better_BJ] = kept_BJ[better_BJ]
                    how_3BJ[now][better_BJ] = before
            best_3BJ = next_3BJ
            yield t + 1, best_3BJ, how_3BJ

    def _taken(self, b: int, state: int, j: int) -> np.ndarray:
        """Return which rows of the list are out in the best way for label `b` to have `j` of them out."""
        end = min(self.k + j, len(self.positions))
        how = [how_3BJ[:, 0] for t, _, how_3BJ in self._steps(np.array([b])) if 0 < t <= end]
        taken = []
        for t in range(end - 1, -1, -1):
            came = how[t][state, j]
            if came == 3:
                taken.append(t)
                j -= 1
            else:
                state = int(came)
        return np.array(taken[::-1], np.int64)


def _by_class_means(
    snapshot: Snapshot, query_E: np.ndarray, voter: ClassMean, rows: np.ndarray, won: int
) -> np.ndarray | None:
    """Return rows without which another class wins, the fewest of those found for the nearest few of the others."""
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
            if len(taken) >= (MOST + 1 if best is None else len(best)):
                break
            if lead > -_NEAR and lost(taken):
                best = taken
                break
    for i in (best or [])[-2::-1]:  # without some of those it may have turned, too
        fewer = [one for one in best or [] if one != i]
        best = fewer if lost(fewer) else best
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
