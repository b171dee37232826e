"""Answers while labels are mended, against a base that is made anew each time; and what an edit does to a memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from by_hand import base, blobs
from hypothesis import given, settings
from hypothesis import strategies as st

from itae.knowledge.answers.vote import ClassMean, Distance, Plurality, Rank, Softmax, Voter
from itae.knowledge.near.neighbours import Excluded
from itae.knowledge.records.snapshot import after
from itae.tasks.asked import Asked
from itae.tasks.editing.corrupt import Boundary, Cluster, Pair, Uniform
from itae.tasks.editing.mending import Mending, relabelled

VOTERS = (Plurality(1), Plurality(7), Softmax(20), Rank(5), Distance(60), ClassMean())
NOTHING = np.zeros(0, np.int64)


def rng(seed=0):
    return np.random.default_rng(seed)


def leave_one_out(memory, k=60):
    rows = memory.voters
    excluded = Excluded(memory.groups_M, memory.groups_M[rows])
    truth = memory.labels_M[rows].astype(np.int64)
    asked = Asked(memory, [memory.ids[i] for i in rows], memory.vectors_ME[rows], excluded, truth, True)
    return Mending.of(asked, k)


def from_outside(memory, k=60):
    queries = blobs(30, 4, seed=1).vectors_ME
    excluded = Excluded(memory.groups_M, -1 - np.arange(30))
    return Mending.of(Asked(memory, [str(i) for i in range(30)], queries, excluded, np.zeros(30, np.int64), False), k)


def fresh(memory, labels):
    """Return a base of these labels as if there had been no other."""
    names = [None if code < 0 else memory.label_names[code] for code in labels.tolist()]
    return base(memory.vectors_ME, names, memory.ids, memory.groups_M, order=memory.label_names)


def slow(mending, labels, voter):
    """Return the answers of a fresh base, looked for and counted anew."""
    memory = fresh(mending.memory, labels)
    asked = mending.asked
    out = asked.out_for(np.arange(len(asked.ids)))
    won = voter.ballot(memory, asked.queries_QE, excluded=out).winners
    return won.tolist()


@pytest.mark.parametrize("voter", VOTERS, ids=repr)
@pytest.mark.parametrize("ask", [leave_one_out, from_outside])
@settings(max_examples=5)
@given(seed=st.integers(0, 10**6))
def test_answers_while_mending_are_those_of_a_fresh_base(voter, ask, seed):
    memory = blobs(80, 4, seed % 7, spread=0.8)
    memory = replace(memory, groups_M=rng(seed).integers(0, 50, 80))
    mending, order = ask(memory), rng(seed).permutation(80)
    labels = Uniform(0.4).labels(memory, rng(seed))
    points = sorted(rng(seed).integers(0, 81, 4).tolist())
    found = mending.mended(labels, order, points, voter)
    for point, answers in zip(points, found.tolist(), strict=True):
        here = labels.copy()
        here[order[:point]] = memory.labels_M[order[:point]]
        assert answers == slow(mending, here, voter)


@pytest.mark.parametrize("voter", VOTERS, ids=repr)
@pytest.mark.parametrize("kind", [Uniform, Pair, Cluster, Boundary])
def test_mending_all_is_the_clean_memory_to_the_last_answer(kind, voter):
    memory = blobs(80, 4, spread=0.8)
    mending, labels = leave_one_out(memory), kind(rate=0.4).labels(memory, rng())
    before, end = mending.mended(labels, rng().permutation(80), [0, 80], voter)
    clean = mending.answers(memory.labels_M, voter)
    assert before.tolist() == mending.answers(labels, voter).tolist() != clean.tolist()
    assert end.tolist() == clean.tolist() == slow(mending, memory.labels_M, voter)


def test_only_queries_that_a_mended_row_votes_on_are_counted_again(monkeypatch):
    memory = blobs(80, 4, spread=0.8)
    mending, labels = leave_one_out(memory), Uniform(0.4).labels(memory, rng())
    again, answers = [], Mending.answers

    def counting(self, labels_M, voter, some=None):
        again.append(len(self.asked.ids) if some is None else len(some))
        return answers(self, labels_M, voter, some)

    monkeypatch.setattr(Mending, "answers", counting)
    mending.mended(labels, np.arange(80), range(81), Plurality(3))
    assert again[0] == 80
    assert len(again) == 1 + 32, "a right row is looked at and nothing is counted"
    assert max(again[1:]) < 40


def test_a_row_without_a_label_never_gets_one():
    memory = base(blobs(40, 2).vectors_ME, (["a", "b", None, "a"] * 10))
    mending = leave_one_out(memory)
    labels = Uniform(0.5).labels(memory, rng())
    assert len(mending.asked.ids) == 30
    end = mending.mended(labels, memory.voters, [30], Plurality(3))[0]
    assert end.tolist() == mending.answers(memory.labels_M, Plurality(3)).tolist()
    assert (relabelled(memory, labels).labels_M[2::4] == -1).all()


# --- delete, correct, forget: through `after`, as an edit of a base makes a snapshot


def rows(memory, some):
    """Return some rows of a snapshot as they are added."""
    return memory.filed(np.asarray(some))


def numbered(memory):
    return replace(memory, numbers_M=np.arange(len(memory.alive_M)), next_number=len(memory.alive_M))


def told(memory, queries):
    """Return all that a memory answers: labels, neighbours, similarities, shares to the last bit."""
    ballots = [voter.ballot(memory, queries) for voter in VOTERS]
    return [
        (
            [memory.label_names[code] for code in one.winners.tolist()],
            [[memory.ids[i] for i in near] for near in one.positions_QK.tolist()],
            one.similarities_QK.tobytes(),
            one.shares_QK.tobytes(),
            [memory.label_names[code] for code in one.codes_F.tolist()],
            one.scores_F.tobytes(),
        )
        for one in ballots
    ]


def edited(before, removed=NOTHING, relabelled=None, added=None):
    return after(before, np.asarray(removed, np.int64), relabelled or {}, added, before.version + 1)


@settings(max_examples=10)
@given(seed=st.integers(0, 10**6))
def test_what_is_deleted_might_never_have_been_added(seed):
    whole, queries = numbered(blobs(60, 4, seed % 5)), blobs(20, 4, seed=9).vectors_ME
    some = np.sort(rng(seed).choice(60, 12, replace=False))
    never = edited(edited(whole, np.arange(60)), added=rows(whole, np.setdiff1d(np.arange(60), some)))
    assert told(edited(whole, some), queries) == told(never, queries)


@settings(max_examples=10)
@given(seed=st.integers(0, 10**6))
def test_what_is_corrected_might_have_been_added_right(seed):
    right, queries = numbered(blobs(60, 4, seed % 5)), blobs(20, 4, seed=9).vectors_ME
    wrong = relabelled(right, Uniform(0.3).labels(right, rng(seed)))
    mended = edited(wrong, relabelled={i: right.labels_of(i) for i in np.flatnonzero(wrong.labels_M != right.labels_M)})
    assert told(mended, queries) == told(right, queries)
    anew = edited(edited(wrong, np.arange(60)), added=rows(right, np.arange(60)))
    assert told(anew, queries) == told(right, queries)


@pytest.mark.parametrize("voter", VOTERS, ids=repr)
def test_a_class_that_is_removed_is_never_answered_and_others_move_only_where_it_voted(voter):
    memory, queries = blobs(80, 4, spread=0.8), blobs(60, 4, seed=1, spread=1.5).vectors_ME
    code = 2
    gone = np.flatnonzero(memory.labels_M == code)
    before, now = (voter.ballot(one, queries) for one in (memory, edited(memory, gone)))
    assert (before.winners == code).any()
    assert not (now.winners == code).any()
    # Of class means no rows vote: only those that had the class have another.
    stay = ~np.isin(before.positions_QK, gone).any(axis=1) & ((before.winners != code) | isinstance(voter, Voter))
    if getattr(voter, "k", 1) < 20:
        assert stay.any()
    np.testing.assert_array_equal(before.winners[stay], now.winners[stay])
