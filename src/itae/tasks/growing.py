"""What a memory and class means tell after each step, without asking anew what was asked before.

A row's similarity to a query is a number of the two alone, so the nearest of all seen rows are the nearest of what was
held and of what is new. All steps of an order cost one search for neighbours; where classes arrive whole, all orders
do.

Shapes: M rows of a memory, Q queries, K neighbours, C classes, O orders, S steps, E embedding width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from itae.knowledge.answers.class_means import cosines
from itae.knowledge.answers.vote import ClassMean, Voter
from itae.knowledge.near.neighbours import nearest
from itae.knowledge.records.snapshot import NONE
from itae.tasks.arrivals import Arrivals
from itae.tasks.asked import Asked

_NEIGHBOURS = 2**24  # held at a time, of all classes: 256 MB

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
    told, every = Told.nothing(asked, arrivals), np.arange(len(asked.truth_Q))
    if arrivals.step_OC is None:
        for order in range(len(arrivals.step_OM)):
            rows_S = (arrivals.rows(order, step) for step in range(arrivals.steps))
            steps = ([_nearest(asked, voter, every, rows, device)] for rows in rows_S)
            for step, won_Q in enumerate(_answers(asked, voter, steps)):
                told.seen[order, step] = won_Q
        return told
    rows_C = [np.flatnonzero(asked.memory.labels_M == code) for code in range(arrivals.step_OC.shape[1])]
    most = sum(min(voter.k or 0, len(rows)) for rows in rows_C)
    for some in np.array_split(every, max(1, -(-len(every) * most // _NEIGHBOURS))):
        found_C = [_nearest(asked, voter, some, rows, device) for rows in rows_C]
        for order in range(len(arrivals.step_OC)):
            _of_classes(asked, voter, found_C, arrivals, _Part(told, order, some))
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


@dataclass(frozen=True)
class _Part:
    """Some queries of one order, of all answers."""

    told: Told
    order: int
    some: np.ndarray


def _of_classes(asked: Asked, voter: Voter, found_C: list[Found], arrivals: Arrivals, part: _Part) -> None:
    """Fill in what some queries are told in an order, given the neighbours of each class."""
    assert arrivals.step_OC is not None
    assert part.told.own is not None
    step_C, task_Q = arrivals.step_OC[part.order], arrivals.task_OQ[part.order, part.some]
    new = [[found_C[code] for code in np.flatnonzero(step_C == step)] for step in range(arrivals.steps)]
    for step, won_Q in enumerate(_answers(asked, voter, new)):
        part.told.seen[part.order, step, part.some] = won_Q
        mine = np.flatnonzero(task_Q == step)
        alone = [[(positions[mine], similar[mine]) for positions, similar in new[step]]]
        for won in _answers(asked, voter, alone):  # rows of other tasks, and so all that come later, have no say in it
            part.told.own[part.order, step:, part.some[mine]] = won[:, None]


def _answers(asked: Asked, voter: Voter, steps: Iterable[list[Found]]) -> Iterator[np.ndarray]:
    """Yield the label of each query after each step, given what neighbours each step adds."""
    held: list[Found] = []
    for new in steps:
        positions, similar = (np.hstack(parts) for parts in zip(*held, *new, strict=True))
        order = np.lexsort((asked.rank_of_id[positions], -similar), axis=1)[:, : voter.k]
        held = [(np.take_along_axis(positions, order, 1), np.take_along_axis(similar, order, 1))]
        yield voter.count(asked.memory, *held[0]).winners


def _nearest(asked: Asked, voter: Voter, some: np.ndarray, rows: np.ndarray, device: str) -> Found:
    assert voter.k is not None
    return nearest(asked.memory, asked.queries_QE[some], voter.k, rows, asked.out_for(some), device)


def _highest(scores_QC: np.ndarray) -> np.ndarray:
    best_Q = scores_QC.argmax(axis=1)
    return np.where(np.isfinite(scores_QC[np.arange(len(best_Q)), best_Q]), best_Q, NONE)
