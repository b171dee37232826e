"""Who wins by many voters and many k, from one search for neighbours, without a ballot for each.

The rows of a smaller k are the first of a larger one's, and what they weigh in ratio to each other is the same. So
labels are numbered once, and votes of a voter are added up from one k to the next. A sum that goes on where another
ended is rounded elsewhere than a ballot's: where the first two labels are too close for that, the ballot decides.
Class means need no neighbours, and are asked beside.

Shapes: O voters, Q queries, K neighbours, E embedding width, V voices (a neighbour and one of its labels), F pairs of a
query and a label, A queries that have a voice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from itae.knowledge.answers.ballot import voices
from itae.knowledge.answers.vote import ClassMean, Voter
from itae.knowledge.near.neighbours import Excluded
from itae.knowledge.records.snapshot import NONE, Snapshot

_VOICES, _PAIRS = 2**18, 2**22  # neighbours, and pairs of a query and any label, at a time: 50 MB
_CLOSE = 2e-12  # of all votes; a ballot takes labels within 1e-12 for equal
_ROUNDING = 4 * np.finfo(np.float64).eps  # of two sums and their totals, for each row in them


def winners(
    snapshot: Snapshot,
    options: Sequence[Voter | ClassMean],
    queries_QE: np.ndarray,
    positions_QK: np.ndarray,
    similarities_QK: np.ndarray,
    rows: np.ndarray | None = None,
    excluded: Excluded | None = None,
) -> np.ndarray:
    """Return the label of each query by each voter, as its ballot has it: int64 [O, Q], `NONE` where nothing voted.

    Parameters
    ----------
    snapshot
        The base.
    options
        The voters, every setting of them known, in any order. Those that differ in k alone cost little more than the
        one of the largest k.
    queries_QE
        Rows of the base, or any others, of any length but 0.
    positions_QK, similarities_QK
        Their neighbours, as `itae.knowledge.near.neighbours.nearest` gives them for the largest k.
    rows, excluded
        As that was given them: which rows vote, by default all that have a label, and which are out for which query.
    """
    won_OQ = np.full((len(options), len(positions_QK)), NONE)
    by_rows = {o: option for o, option in enumerate(options) if isinstance(option, Voter)}
    won_OQ[[*by_rows]] = _by_rows(snapshot, [*by_rows.values()], positions_QK, similarities_QK)
    for o, option in enumerate(options):
        if isinstance(option, ClassMean):
            won_OQ[o] = option.winners(snapshot, queries_QE, rows, excluded)
    return won_OQ


def _by_rows(
    snapshot: Snapshot, options: Sequence[Voter], positions_QK: np.ndarray, similarities_QK: np.ndarray
) -> np.ndarray:
    won_OQ = np.full((len(options), len(positions_QK)), NONE)
    most = min(max((option.k or 0 for option in options), default=0), positions_QK.shape[1])
    if not most:
        return won_OQ
    step = max(1, min(_VOICES // most, _PAIRS // max(1, len(snapshot.label_names))))
    for start in range(0, len(positions_QK), step):
        some = slice(start, start + step)
        won_OQ[:, some] = _added_up(snapshot, options, positions_QK[some, :most], similarities_QK[some, :most])
    return won_OQ


def _added_up(
    snapshot: Snapshot, options: Sequence[Voter], positions_QK: np.ndarray, similarities_QK: np.ndarray
) -> list[np.ndarray]:
    ks = sorted({option.k for option in options if option.k is not None})
    pairs, steps = _numbered(snapshot, positions_QK, ks)
    won: dict[Voter, np.ndarray] = {}
    for kind in dict.fromkeys(replace(option, k=None) for option in options):
        weights_QK = kind.weights_of(similarities_QK)
        totals_QK, votes_F = np.cumsum(weights_QK, axis=1), np.zeros(len(pairs.codes_F))
        for k, step in zip(ks, steps, strict=True):
            step.add(votes_F, weights_QK)
            option = replace(kind, k=k)
            if option in options:
                totals_Q = totals_QK[:, min(k, totals_QK.shape[1]) - 1]
                won[option], close = pairs.best(votes_F, totals_Q, _CLOSE + k * _ROUNDING)
                if len(close):
                    ballot = option.count(snapshot, positions_QK[close], similarities_QK[close])
                    won[option][close] = ballot.winners
    return [won[option] for option in options]


@dataclass(frozen=True)
class _Step:
    """The voices of the rows between a k and the one before: of which pair, of which row, and of how many labels."""

    pair_V: np.ndarray
    row_V: np.ndarray
    parts_V: np.ndarray

    def add(self, votes_F: np.ndarray, weights_QK: np.ndarray) -> None:
        """Add their votes."""
        np.add.at(votes_F, self.pair_V, weights_QK.reshape(-1)[self.row_V] / self.parts_V)


@dataclass(frozen=True)
class _Pairs:
    """Queries and labels that their neighbours have, query by query: where each query's begin, and the labels."""

    asked_A: np.ndarray
    begins_A: np.ndarray
    codes_F: np.ndarray

    def best(self, votes_F: np.ndarray, totals_Q: np.ndarray, margin: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the label of most votes of each query, and the queries where another is as close as `margin`."""
        won_Q = np.full(len(totals_Q), NONE)
        if not len(self.asked_A):
            return won_Q, self.asked_A
        most_A, margin_A = np.maximum.reduceat(votes_F, self.begins_A), margin * totals_Q[self.asked_A]
        counts_A = np.diff(self.begins_A, append=len(votes_F))
        first_F = votes_F >= np.repeat(most_A - margin_A, counts_A)
        sure_A = (np.add.reduceat(first_F, self.begins_A, dtype=np.int64) == 1) & (most_A > margin_A)
        won_Q[self.asked_A[sure_A]] = self.codes_F[first_F & np.repeat(sure_A, counts_A)]
        return won_Q, self.asked_A[~sure_A]


def _numbered(snapshot: Snapshot, positions_QK: np.ndarray, ks: list[int]) -> tuple[_Pairs, list[_Step]]:
    """Return the pairs of queries and labels, and the steps to each k."""
    query_V, rank_V, codes_V, parts_V = voices(snapshot, positions_QK)
    voice_V, names = np.arange(len(codes_V)), len(snapshot.label_names)
    keys_V, of = query_V * names + codes_V, np.empty(len(positions_QK) * names, np.int64)
    of[keys_V] = voice_V  # one voice of each pair stands for it, whichever is written last
    one_V = of[keys_V] == voice_V
    pair_V, row_V = (np.cumsum(one_V) - 1)[of[keys_V]], query_V * positions_QK.shape[1] + rank_V
    asked_A, begins_A = np.unique(query_V[one_V], return_index=True)
    steps = []
    for low, high in pairwise([0, *ks]):
        some = np.flatnonzero((rank_V >= low) & (rank_V < high))
        steps.append(_Step(pair_V[some], row_V[some], parts_V[some]))
    return _Pairs(asked_A, begins_A, codes_V[one_V]), steps
