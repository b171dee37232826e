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

from itae.knowledge.answers.ballot import by_name, count
from itae.knowledge.answers.turn_class_means import turn_class_means
from itae.knowledge.answers.vote import ClassMean, Voter
from itae.knowledge.near.neighbours import nearest
from itae.knowledge.records.snapshot import Snapshot

MOST = 1024
"""Rows taken out at most."""

_FIRST = 32  # how many are tried at first
_ALIKE = 1e-9  # of all votes: nearer than this the vote itself tells who wins
_NONE, _OTHER, _OWN = 0, 1, 2  # whose row is nearest so far: neither's, that of the label that could win, the winner's


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
        found = turn_class_means(snapshot, query_E, voter, rows, won, MOST)
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
