"""What a memory and class means tell after each step, without asking anew what was asked before.

A row's similarity to a query is a number of the two alone, so the nearest of all seen rows are the nearest of what was
held and of what is new, and the first of all rows that are seen. All steps of all orders cost one search for
neighbours, or little more.

Shapes: M rows of a memory, Q queries, K neighbours, C classes, O orders, S steps, E embedding width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from itae.knowledge.answers.class_means import cosines
from itae.knowledge.answers.vote import ClassMean, Voter
from itae.knowledge.near.neighbours import MISSING, nearest
from itae.knowledge.records.snapshot import NONE
from itae.tasks.asked import Asked
from itae.tasks.incremental.arrivals import Arrivals

_NEIGHBOURS = 2**24  # held at a time: 256 MB
_AHEAD = 8  # times as many neighbours of all rows as vote: enough from an eighth of the rows on

Found = tuple[np.ndarray, np.ndarray]
"""Positions and similarities, as `itae.knowledge.near.neighbours.nearest` gives them."""


@dataclass(frozen=True)
class Told:
    """What each query was told after each step of each order: codes of labels, `NONE` for no answer, [O, S, Q].

    Parameters
    ----------
    seen
        Among all classes that have been seen.
    own
        Among the classes of the query's own task, which is given; None where rows arrive whatever their class.
    """

    seen: np.ndarray
    own: np.ndarray | None

    @classmethod
    def nothing(cls, asked: Asked, arrivals: Arrivals) -> Told:
        """Return answers to be filled in, in as few bytes as codes need: a sweep keeps those of all its jobs."""
        shape = (len(arrivals.step_OM), arrivals.steps, len(asked.truth_Q))
        kind = np.min_scalar_type(-1 - len(asked.memory.label_names))
        own = None if arrivals.step_OC is None else np.full(shape, NONE, kind)
        return cls(np.full(shape, NONE, kind), own)


def by_memory(asked: Asked, voter: Voter | ClassMean, arrivals: Arrivals, device: str = "auto") -> Told:
    """Return what the neighbours' vote tells, or, of class means, `by_class_means`.

    It is, to the last answer, what `voter.ballot` of a new snapshot of the seen rows tells.

    Parameters
    ----------
    asked, arrivals
        The memory, the queries, and when rows arrive.
    voter
        Every setting of it known.
    device
        As of `itae.knowledge.near.neighbours.nearest`.
    """
    if isinstance(voter, ClassMean):
        return by_class_means(asked, arrivals)
    assert voter.k is not None
    told, every = Told.nothing(asked, arrivals), np.arange(len(asked.truth_Q))
    grow = _by_shares if arrivals.step_OC is None else _by_classes
    most = min(max(_AHEAD, len(asked.memory.label_names)) * voter.k, len(asked.memory))
    for some in np.array_split(every, max(1, -(-len(every) * most // _NEIGHBOURS))):
        grow(asked, voter, arrivals, told, some, device)
    return told


def by_class_means(asked: Asked, arrivals: Arrivals) -> Told:
    """Return the class of the nearest mean of what has been seen; see `itae.knowledge.answers.vote.ClassMean`."""
    told = Told.nothing(asked, arrivals)
    excluded = asked.out_for(np.arange(len(asked.truth_Q)))
    whole = arrivals.step_OC is not None  # a class arrives at once, so its mean never moves
    means_QC = cosines(asked.memory, asked.queries_QE, excluded=excluded) if whole else np.zeros((0, 0))
    for order, step_M in enumerate(arrivals.step_OM):
        for step in range(arrivals.steps):
            if not whole:
                seen = np.flatnonzero((step_M >= 0) & (step_M <= step))
                means_QC = cosines(asked.memory, asked.queries_QE, seen, excluded)
            tell(told, arrivals, order, step, means_QC)
    return told


def tell(
    told: Told, arrivals: Arrivals, order: int, step: int, scores_QC: np.ndarray, queries: np.ndarray | None = None
) -> None:
    """Fill in the classes of the highest scores after a step, of equal ones the first.

    Parameters
    ----------
    told, arrivals
        What is filled in, and when classes are seen.
    order, step
        Of which the scores are.
    scores_QC
        -inf for a class that can't be told.
    queries
        Whose they are; by default all.
    """
    queries = np.arange(told.seen.shape[2]) if queries is None else queries
    if told.own is not None and arrivals.step_OC is not None:
        step_C, task_Q = arrivals.step_OC[order], arrivals.task_OQ[order, queries]
        scores_QC = np.where(step_C <= step, scores_QC, -np.inf)
        told.own[order, step, queries] = _highest(np.where(step_C == task_Q[:, None], scores_QC, -np.inf))
    told.seen[order, step, queries] = _highest(scores_QC)


def _by_classes(asked: Asked, voter: Voter, arrivals: Arrivals, told: Told, some: np.ndarray, device: str) -> None:
    """Fill in what some queries are told where classes arrive: the neighbours of each class are those of all orders."""
    assert voter.k is not None
    assert told.own is not None
    assert arrivals.step_OC is not None
    rows_C = [np.flatnonzero(asked.memory.labels_M == code) for code in range(len(asked.memory.label_names))]
    found_C = [_nearest(asked, voter.k, some, rows, device) for rows in rows_C]
    for order, step_C in enumerate(arrivals.step_OC):
        task_Q = arrivals.task_OQ[order, some]
        held: list[Found] = []
        for step in range(arrivals.steps):
            new = [found_C[code] for code in np.flatnonzero(step_C == step)]
            held = [_first(asked, voter.k, [*held, *new])]
            told.seen[order, step, some] = voter.count(asked.memory, *held[0]).winners
            mine = np.flatnonzero(task_Q == step)  # rows of other tasks, and so all that come later, have no say in it
            alone = _first(asked, voter.k, [(positions[mine], similar[mine]) for positions, similar in new])
            told.own[order, step:, some[mine]] = voter.count(asked.memory, *alone).winners[:, None]


def _by_shares(asked: Asked, voter: Voter, arrivals: Arrivals, told: Told, some: np.ndarray, device: str) -> None:
    """Fill in what some queries are told where rows arrive in shares.

    Of the nearest of all rows those that have been seen are the nearest seen ones, as long as there are enough of them.
    """
    assert voter.k is not None
    k, rows = voter.k, asked.memory.voters
    positions_QL, similar_QL = _nearest(asked, min(_AHEAD * k, len(rows)), some, rows, device)
    for order, step_M in enumerate(arrivals.step_OM):
        for step in range(arrivals.steps):
            here_QL = (positions_QL == MISSING) | (step_M[positions_QL] <= step)  # behind what is missing is no row
            first_QK = np.argsort(~here_QL, axis=1, kind="stable")[:, :k]
            first = [np.take_along_axis(each, first_QK, 1) for each in (positions_QL, similar_QL)]
            told.seen[order, step, some] = voter.count(asked.memory, *first).winners
            few = np.flatnonzero(here_QL.sum(axis=1) < k)
            if len(few):
                seen = rows[step_M[rows] <= step]
                found = _nearest(asked, k, some[few], seen, device)
                told.seen[order, step, some[few]] = voter.count(asked.memory, *found).winners


def _first(asked: Asked, k: int, parts: list[Found]) -> Found:
    """Return the `k` nearest of what was found in several parts of the rows."""
    positions, similar = (np.hstack(each) for each in zip(*parts, strict=True))
    order = np.lexsort((asked.memory.rank_of_id[positions], -similar), axis=1)[:, :k]
    return np.take_along_axis(positions, order, 1), np.take_along_axis(similar, order, 1)


def _nearest(asked: Asked, k: int, some: np.ndarray, rows: np.ndarray, device: str) -> Found:
    return nearest(asked.memory, asked.queries_QE[some], k, rows, asked.out_for(some), device)


def _highest(scores_QC: np.ndarray) -> np.ndarray:
    best_Q = scores_QC.argmax(axis=1)
    return np.where(np.isfinite(scores_QC[np.arange(len(best_Q)), best_Q]), best_Q, NONE)
