"""A memory that grows, against a new one of the rows seen so far, asked anew after each step."""

from __future__ import annotations

from dataclasses import replace

import bases
import numpy as np
import pytest
from by_hand import base
from hypothesis import given, settings
from hypothesis import strategies as st

import itae.tasks.incremental.growing
from itae.knowledge.answers.vote import ClassMean, Distance, Plurality, Rank, Softmax
from itae.knowledge.near.neighbours import Excluded, nearest
from itae.knowledge.records.snapshot import NONE
from itae.measure.forgetting import image_values
from itae.tasks.asked import Asked
from itae.tasks.incremental.arrivals import NEVER, Arrivals, by_class, by_share
from itae.tasks.incremental.growing import by_class_means, by_memory

VOTERS = (Plurality(), Softmax(), Rank(), Distance())


def some_asked(draw, n, classes=4, own=True):
    """Return a memory whose rows lie on a coarse grid: many are equal, many equally near; some have no label."""
    vectors = draw.integers(-1, 2, (n, 3)) + np.array([0, 0, 1.5])
    labels = [None if i < 0 else f"c{i}" for i in draw.integers(-1, classes, n)]
    labels[: min(n, 2)] = ["c0", "c1"][: min(n, 2)]
    memory = base(vectors, labels, draw.permutation([f"{i:03d}" for i in range(n)]), draw.integers(0, n, n))
    if own:
        rows = memory.voters
        excluded = Excluded(memory.groups_M, memory.groups_M[rows])
        return Asked(memory, rows.tolist(), memory.vectors_ME[rows], excluded, memory.labels_M[rows].astype(int), True)
    queries = base(draw.integers(-1, 2, (9, 3)) + np.array([0, 0, 1.5]), ["q"] * 9).vectors_ME
    excluded = Excluded(memory.groups_M, draw.integers(-n, n, 9))
    return Asked(memory, range(9), queries, excluded, draw.integers(0, len(memory.label_names), 9), False)


def some_arrivals(draw, asked, protocol, steps, orders=2):
    labels, seed = asked.memory.labels_M, int(draw.integers(100))
    if protocol == "sample":
        return by_share(labels, len(asked.truth_Q), min(steps, (labels >= 0).sum()), orders, seed)
    classes = draw.permutation(len(asked.memory.label_names)).tolist()
    return by_class(labels, asked.truth_Q, classes, min(steps, len(classes)), orders, seed)


def of_rows(memory, rows):
    """Return a new snapshot of some rows of another."""
    return replace(
        memory, vectors_ME=memory.vectors_ME[rows], ids=[memory.ids[i] for i in rows], alive_M=np.ones(len(rows), bool),
        labels_M=memory.labels_M[rows], groups_M=memory.groups_M[rows], digests_M32=memory.digests_M32[rows],
        table=memory.table.take(rows), memo={},
    )  # fmt: skip


def slow_answers(asked, voter, rows, queries):
    """Return the ballots' winners of a base that has these rows and no others."""
    if not len(rows):
        return np.full(len(queries), NONE)
    codes_M, codes_Q = asked.excluded
    out = Excluded(codes_M[rows], codes_Q[queries])
    return voter.ballot(of_rows(asked.memory, rows), asked.queries_QE[queries], excluded=out).winners


def slow_told(asked, voter, arrivals):
    """Return what a new base tells after each step of each order, among all its classes and among a task's."""
    every = np.arange(len(asked.truth_Q))
    shape = (len(arrivals.step_OM), arrivals.steps, len(every))
    seen, own = np.full(shape, NONE), np.full(shape, NONE)
    for o, step_M in enumerate(arrivals.step_OM):
        for step in range(arrivals.steps):
            rows = np.flatnonzero((step_M != NEVER) & (step_M <= step))
            seen[o, step] = slow_answers(asked, voter, rows, every)
            for task in range(step + 1):
                mine = np.flatnonzero(arrivals.task_OQ[o] == task)
                own[o, step, mine] = slow_answers(asked, voter, np.flatnonzero(step_M == task), mine)
    return seen, own


@settings(max_examples=80)
@given(
    st.integers(0, 10**6), st.integers(2, 30), st.integers(1, 6), st.sampled_from(["class", "sample"]), st.booleans(),
    st.sampled_from([*(replace(voter, k=k) for voter in VOTERS for k in (1, 3, 40)), ClassMean()]),
)  # fmt: skip
def test_a_memory_tells_what_a_new_base_of_the_seen_rows_tells(seed, n, steps, protocol, own, voter):
    draw = np.random.default_rng(seed)
    asked = some_asked(draw, n, own=own)
    arrivals = some_arrivals(draw, asked, protocol, steps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(itae.tasks.incremental.growing, "_NEIGHBOURS", 40)  # a few queries at a time
        patch.setattr(itae.tasks.incremental.growing, "_AHEAD", 2)  # often too few
        told = by_memory(asked, voter, arrivals)
    seen, of_own = slow_told(asked, voter, arrivals)
    assert told.seen.tolist() == seen.tolist()
    if protocol == "class":
        assert told.own.tolist() == of_own.tolist()
    else:
        assert told.own is None


@pytest.fixture(scope="module")
def digits():
    """Return every third digit by its pixels, each asked as if it were not there."""
    from sklearn.datasets import load_digits

    pixels, truth = (each[::3] for each in load_digits(return_X_y=True))
    memory = base(pixels, [str(label) for label in truth])
    excluded = Excluded(memory.groups_M, memory.groups_M)
    return Asked(memory, memory.ids, memory.vectors_ME, excluded, memory.labels_M.astype(np.int64), True)


def right(told, asked):
    return told == asked.truth_Q


def test_the_end_is_the_same_in_every_order_and_of_rows_as_of_classes(digits):
    plain = Softmax(5).ballot(digits.memory, digits.queries_QE, excluded=digits.excluded).winners
    classes = by_class(digits.memory.labels_M, digits.truth_Q, range(10), 5, 4, seed=1)
    shares = by_share(digits.memory.labels_M, len(digits.truth_Q), 7, 4, seed=1)
    for arrivals in (classes, shares):
        last = by_memory(digits, Softmax(5), arrivals).seen[:, -1]
        assert (last == plain).all(), "all rows of a memory tell one thing, in whatever order they came"
    first, second = (by_memory(digits, Softmax(5), classes).seen[o, 1] for o in (1, 2))
    assert (first != second).any(), "on the way it is another memory"


def test_one_task_is_the_vote_of_all_neighbours(digits):
    plain = Rank(5).ballot(digits.memory, digits.queries_QE, excluded=digits.excluded).winners
    told = by_memory(digits, Rank(5), by_class(digits.memory.labels_M, digits.truth_Q, range(10), 1, 1, 0))
    assert told.seen.tolist() == told.own.tolist() == [[plain.tolist()]]


def test_a_memory_that_is_told_the_task_forgets_nothing_and_otherwise_it_does(digits):
    arrivals = by_class(digits.memory.labels_M, digits.truth_Q, range(10), 5, 5, 0)
    told = by_memory(digits, Plurality(10), arrivals)
    own = image_values(right(told.own, digits), arrivals.task_OQ, 5)
    assert not own["forgetting"].any()
    assert not own["backward_transfer"].any()
    assert image_values(right(told.seen, digits), arrivals.task_OQ, 5)["forgetting"].mean() > 0


def test_answers_without_a_new_neighbour_stay(digits):
    arrivals = by_class(digits.memory.labels_M, digits.truth_Q, range(10), 5, 2, 0)
    told, k = by_memory(digits, Distance(3), arrivals).seen, 3
    moved = 0
    for o, step_M in enumerate(arrivals.step_OM):
        for step in range(1, 5):
            rows = np.flatnonzero(step_M <= step)
            found, _ = nearest(digits.memory, digits.queries_QE, k, rows, digits.excluded)
            still = (step_M[found] < step).all(axis=1)
            assert (told[o, step, still] == told[o, step - 1, still]).all()
            moved += (told[o, step] != told[o, step - 1]).sum()
    assert moved > 0


@pytest.mark.parametrize("voter", [Plurality(3), Softmax(2), ClassMean()])
def test_rows_that_are_added_twice_are_known_once(voter):
    kb, rows = bases.base("memory", None), bases.made([f"c{i % 3}/{i}" for i in range(20)])
    told = []
    for _ in range(2):
        kb.commit(kb.add(rows))
        one = kb.snapshot()
        asked = Asked(
            one, one.ids, one.vectors_ME, Excluded(one.groups_M, one.groups_M), one.labels_M.astype(int), True
        )
        told.append(by_memory(asked, voter, by_class(one.labels_M, asked.truth_Q, range(3), 3, 2, 0)))
    assert told[0].seen.tolist() == told[1].seen.tolist()
    assert told[0].own.tolist() == told[1].own.tolist()


def test_class_means_are_those_of_what_was_seen():
    """Two rows of a class, one of each share; between the two steps the nearest mean of a query changes."""
    memory = base([[1, 0], [0, 1], [-1, 4], [1, 0.1]], ["a", "b", "a", "b"])
    query = base([[1, 0.4]], ["a"]).vectors_ME
    asked = Asked(memory, ["q"], query, Excluded(memory.groups_M, np.array([-1])), np.array([0]), False)
    arrivals = Arrivals(np.array([[0, 0, 1, 1]]), np.zeros((1, 1), np.int64), None, 2)
    told = by_class_means(asked, arrivals).seen
    assert [memory.label_names[code] for code in told[0, :, 0]] == ["a", "b"]
