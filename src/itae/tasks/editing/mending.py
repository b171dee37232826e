"""What a memory answers while its wrong labels are mended one after the other, from one search for neighbours.

A label says nothing of where a row lies. So a query's neighbours are looked for once, and a row that is mended changes
no vote but of the queries that have it among their neighbours: only these are counted again.

Shapes: M positions of a snapshot, N rows that vote, Q queries, E embedding width, K neighbours, P points of a curve.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from itae.knowledge.answers.sweep import winners
from itae.knowledge.answers.vote import ClassMean, Voter
from itae.knowledge.near.neighbours import MISSING, nearest
from itae.knowledge.records.snapshot import Snapshot, share
from itae.tasks.asked import Asked


@dataclass(frozen=True, eq=False)
class Mending:
    """A memory of true labels, and the nearest rows of each of its queries.

    Parameters
    ----------
    asked
        The memory and its queries.
    positions_QK, similarities_QK
        The nearest rows that vote, as `itae.knowledge.near.neighbours.nearest` has them.
    """

    asked: Asked
    positions_QK: np.ndarray
    similarities_QK: np.ndarray

    @classmethod
    def of(cls, asked: Asked, k: int, device: str = "auto") -> Mending:
        """Look for the `k` nearest rows of each query."""
        rows = asked.memory
        return cls(asked, *nearest(rows, asked.queries_QE, k, rows.voters, asked.excluded, device))

    @property
    def memory(self) -> Snapshot:
        """The rows, with their true labels."""
        return self.asked.memory

    def answers(self, labels_M: np.ndarray, voter: Any, some: np.ndarray | None = None) -> np.ndarray:
        """Return the label of each query, or of some, if the rows had these labels: int64, -1 where nothing voted.

        Parameters
        ----------
        labels_M
            As `Snapshot.labels_M` has them; the same rows vote as do with the true ones.
        voter
            Every setting of it known; `k` at most that of the search.
        some
            Places of queries; None for all.
        """
        memory, some = relabelled(self.memory, labels_M), np.arange(len(self.asked.ids)) if some is None else some
        queries_QE, out = self.asked.queries_QE[some], self.asked.out_for(some)
        if isinstance(voter, Voter | ClassMean):
            near = self.positions_QK[some], self.similarities_QK[some]
            return winners(memory, [voter], queries_QE, *near, excluded=out)[0]
        return voter.ballot(memory, queries_QE, excluded=out).winners

    def touched(self, rows: np.ndarray, voter: Any) -> np.ndarray:
        """Return the queries on which some of these rows vote."""
        if not isinstance(voter, Voter):
            return np.arange(len(self.asked.ids))
        near_QK, among_M = self.positions_QK[:, : voter.k], np.zeros(len(self.memory.labels_M), bool)
        among_M[rows] = True
        return np.flatnonzero((among_M[near_QK] & (near_QK != MISSING)).any(axis=1))

    def mended(self, labels_M: np.ndarray, order_N: np.ndarray, points: Sequence[int], voter: Any) -> np.ndarray:
        """Return the answers after so many rows were looked at and what is wrong in them was put right, [P, Q].

        Parameters
        ----------
        labels_M
            Some of them wrong.
        order_N
            Positions of rows, the first looked at first.
        points
            How many are looked at, ascending.
        voter
            As of `answers`.
        """
        labels_M, now_Q, begin = labels_M.copy(), self.answers(labels_M, voter), 0
        answers_PQ = np.empty((len(points), len(now_Q)), np.int32)
        for p, end in enumerate(points):
            some, begin = order_N[begin:end], end
            mend = some[labels_M[some] != self.memory.labels_M[some]]
            if len(mend):
                labels_M[mend] = self.memory.labels_M[mend]
                again = self.touched(mend, voter)
                now_Q[again] = self.answers(labels_M, voter, again)
            answers_PQ[p] = now_Q
        return answers_PQ


def relabelled(memory: Snapshot, labels_M: np.ndarray, sources: Sequence[str] | None = None) -> Snapshot:
    """Return a memory whose rows have other labels, and other sources if they are given; all else is shared."""
    table = memory.table
    if sources is not None:
        table = table.set_column(table.column_names.index("source"), "source", pa.array(sources, pa.string()))
    made = replace(memory, labels_M=labels_M.astype(np.int32), table=table, memo={})
    share(memory, made)
    return made


def ranked(memory: Snapshot, scores_N: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the positions of the rows that vote, of the highest score first; equal ones in an order that is drawn."""
    drawn_N = rng.random(len(scores_N))
    return memory.voters[np.lexsort((drawn_N, -scores_N))]


def planted_sources(
    memory: Snapshot, wrong_M: np.ndarray, count: int, right: float, rng: np.random.Generator
) -> list[str]:
    """Return a source for each row: all wrong ones come in with the first, and some right ones; the others share.

    Parameters
    ----------
    memory
        The rows.
    wrong_M
        Which have a wrong label, bool.
    count
        How many sources, at least 1.
    right
        How many right rows come in with each wrong one, on average; all of them where there are not so many.
    rng
        By it right rows are drawn, and put into sources as evenly as can be.
    """
    others = rng.permutation(memory.voters[~wrong_M[memory.voters]])
    with_wrong = round(right * wrong_M.sum())
    import_M = np.zeros(len(wrong_M), np.int64)
    if count > 1:
        rest = others[with_wrong:]
        import_M[rest] = 1 + np.arange(len(rest)) % (count - 1)
    return [f"import {i + 1}" for i in import_M.tolist()]
