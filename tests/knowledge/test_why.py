"""The fewest rows that turn an answer, held against every set of rows there is; and what an explanation tells."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from by_hand import base
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import itae.knowledge.answers.turn as module
from itae.base.errors import UserError
from itae.knowledge.answers.turn import turn
from itae.knowledge.answers.vote import ClassMean, Distance, Plurality, Rank, Softmax
from itae.knowledge.answers.why import why
from itae.knowledge.records.snapshot import empty

WORDS = ["a", "a", "b", "c", ("a", "b"), ("b", "c", "d")]


def fewest_of_all(snapshot, query, voter, rows):
    """Return how few rows turn the answer, by trying all sets of them; None if none does."""

    def won(some):
        return int(voter.ballot(snapshot, query[None], np.array(some, np.int64)).winners[0])

    first = won(rows)
    for size in range(1, len(rows)):
        for gone in itertools.combinations(rows.tolist(), size):
            if won([i for i in rows.tolist() if i not in gone]) not in (first, -1):
                return size
    return None


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, 10**6),
    st.integers(1, 8),
    st.sampled_from([Plurality, Softmax, Rank, Distance]),
    st.integers(1, 6),
    st.sampled_from([1, 32]),
)
def test_no_fewer_rows_turn_it(monkeypatch, seed, n, kind, k, first):
    monkeypatch.setattr(module, "_FIRST", first)
    draw = np.random.default_rng(seed)
    angles = np.radians(draw.choice([5, 10, 20, 21, 22, 40, 60], n))
    labels = [WORDS[i] for i in draw.integers(0, len(WORDS), n)]
    snapshot = base(
        np.stack([np.cos(angles), np.sin(angles)], axis=1), labels, order=draw.permutation(list("abcd")).tolist()
    )
    query, voter = np.array([1.0, 0.0]), kind(k)
    found, want = turn(snapshot, query, voter, snapshot.voters), fewest_of_all(snapshot, query, voter, snapshot.voters)
    assert (found and len(found.positions)) == want
    if found:
        assert found.fewest
        left = np.setdiff1d(snapshot.voters, found.positions)
        now = snapshot.label_names[voter.ballot(snapshot, query[None], left).winners[0]]
        assert now == found.label != snapshot.label_names[voter.ballot(snapshot, query[None]).winners[0]]


def test_of_ranks_a_third_label_may_be_the_one_to_go():
    """Without the first row, c's, the b behind it move up; no a has as much to lose."""
    labels = ["c", "a", "b", "b", "b", "a", "a"]
    angles = np.radians(np.arange(1, 8))
    snapshot = base(np.stack([np.cos(angles), np.sin(angles)], axis=1), labels)
    query = np.array([1.0, 0.0])
    for k in range(1, 8):
        found, want = (f(snapshot, query, Rank(k), snapshot.voters) for f in (turn, fewest_of_all))
        assert len(found.positions) == want


@pytest.mark.parametrize("seed", range(12))
def test_class_means_turn_by_rows_of_which_none_is_too_many(seed):
    draw = np.random.default_rng(seed)
    labels = ["a"] * 6 + ["b"] * 3 + [("a", "b")]
    snapshot = base(draw.normal(size=(10, 3)) + np.array([2, 0, 0]), labels)
    query = snapshot.vectors_ME[0]
    found = turn(snapshot, query, ClassMean(), snapshot.voters)
    want = fewest_of_all(snapshot, query, ClassMean(), snapshot.voters)
    assert found is not None
    assert want <= len(found.positions) <= want + 1
    assert found.fewest is (len(found.positions) == 1)
    for one in found.positions:
        left = np.setdiff1d(snapshot.voters, [i for i in found.positions if i != one])
        first = ClassMean().ballot(snapshot, query[None]).winners[0]
        assert ClassMean().ballot(snapshot, query[None], left).winners[0] == first, "all of them are needed"


def test_what_class_means_turn_without_comes_back():
    """The first row that is taken out here is not needed once the others are."""
    draw = np.random.default_rng(64)
    snapshot = base(draw.normal(size=(24, 2)), ["a"] * 14 + ["b"] * 6 + ["c"] * 4)
    query = snapshot.vectors_ME[0]
    found = turn(snapshot, query, ClassMean(), snapshot.voters)
    won = ClassMean().ballot(snapshot, query[None]).winners[0]
    assert len(found.positions) < 7, "what the greedy choice takes"
    for one in found.positions:
        left = np.setdiff1d(snapshot.voters, [i for i in found.positions if i != one])
        assert ClassMean().ballot(snapshot, query[None], left).winners[0] == won


def test_there_is_no_other_label():
    snapshot = base(np.eye(3), ["a", "a", None])
    for voter in (Plurality(2), ClassMean()):
        assert turn(snapshot, np.ones(3), voter, snapshot.voters) is None
        assert "no other label" in why(snapshot, np.ones(3), voter=voter).notes[-1]


def test_other_labels_are_seen_however_far_behind(monkeypatch):
    monkeypatch.setattr(module, "MOST", 5)
    vectors = np.random.default_rng(0).normal(size=(12_000, 8))
    vectors[-1] = -vectors[0]
    snapshot = base(vectors, ["a"] * 11_999 + [("a", "b")])
    assert "up to" in why(snapshot, vectors[0], voter=Plurality(1)).notes[-1]


def test_many_rows_have_to_go(monkeypatch):
    """Three hundred of one class lie before the first of another."""
    angles = np.radians(np.linspace(0, 40, 301))
    snapshot = base(np.stack([np.cos(angles), np.sin(angles)], axis=1), ["a"] * 300 + ["b"])
    assert len(turn(snapshot, np.array([1.0, 0.0]), Plurality(1), snapshot.voters).positions) == 300
    assert len(turn(snapshot, np.array([1.0, 0.0]), Rank(5), snapshot.voters).positions) == 300
    monkeypatch.setattr(module, "MOST", 40)
    assert turn(snapshot, np.array([1.0, 0.0]), Plurality(1), snapshot.voters) is None
    assert "up to" in why(snapshot, np.array([1.0, 0.0]), voter=Plurality(1)).notes[-1]


def test_a_low_temperature_turns_too():
    """Voices of 1e-20 beside 1: the vote itself tells."""
    angles = np.radians([0, 1, 2, 50, 51, 70])
    snapshot = base(np.stack([np.cos(angles), np.sin(angles)], axis=1), list("aaabba"))
    found = turn(snapshot, np.array([1.0, 0.0]), Softmax(6, 0.005), snapshot.voters)
    assert (
        len(found.positions) == fewest_of_all(snapshot, np.array([1.0, 0.0]), Softmax(6, 0.005), snapshot.voters) == 3
    )


def test_an_explanation_tells_whose_rows_they_are():
    same = bytes(range(32))
    snapshot = base(
        [[1, 0], [1, 0.1], [1, 0.2], [1, 0.3], [0, 1]],
        ["known", "a", "b", "b", "c"],
        sources=["x", "x", "y", "x", "z"],
        places=["/p/0.png", "/p/1.png", "/p/2.png", "/p/3.png", None],
        digests=[same, *(bytes([i]) * 32 for i in range(4))],
    )
    told = why(snapshot, np.array([1.0, 0.0]), same, Plurality(3))
    assert told.answer.known == [{"id": "row0000", "label": "known"}]
    assert [(row["id"], row["source"], row["place"]) for row in told.neighbours] == [
        ("row0001", "x", "/p/1.png"), ("row0002", "y", "/p/2.png"), ("row0003", "x", "/p/3.png"),
    ]  # fmt: skip
    assert [(one["source"], one["rows"]) for one in told.sources] == [("x", 2), ("y", 1)]
    assert math.fsum(one["share"] for one in told.sources) == pytest.approx(1)
    assert told.answer.label == "b"
    assert told.turn == {"label": "a", "fewest": True, "rows": [
        {"id": "row0002", "label": "b", "source": "y", "place": "/p/2.png", "group": None, "time": None},
    ]}  # fmt: skip
    assert told.plain()["label"] == "b"
    assert told.plain()["turn"] == told.turn


def test_an_empty_base_is_told_before_the_width_of_its_vectors():
    with pytest.raises(UserError, match="This base is empty and knows nothing"):
        why(empty({"model": "drawn"}, ""), np.ones(4, np.float32))
