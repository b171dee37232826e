"""The one function that ranks: quick and slow agree to the last bit, and no order of rows matters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import feedback
from snapshots import snapshot_of

from itae.base.errors import UserError
from itae.knowledge.near.neighbours import INDEX
from itae.search import alike as alike_module
from itae.search.alike import Alike
from itae.search.judged import Marks, Query
from itae.search.rank import rank
from itae.search.rules import (
    Kernel,
    Logistic,
    Margin,
    MeanDifference,
    Nearest,
    Rocchio,
    Rule,
    Svm,
    Tally,
    Unchanged,
)

RULES = (
    Unchanged(),
    Nearest(),
    Margin(),
    Rocchio(),
    MeanDifference(),
    Kernel(),
    Kernel(0.02),
    Logistic(),
    Svm(),
    Tally(),
)
NAMES = {Unchanged: "none", Nearest: "nearest", Margin: "margin", Rocchio: "rocchio", MeanDifference: "mean_difference"}


@dataclass(frozen=True)
class Farthest(Rule):
    """A rule of somebody's own, in a few lines, of which nothing is promised."""

    def scores(self, near):
        """Return how unlike rows are to the query."""
        return -near.query


def rows_drawn(seed, n=300, width=5, twins=40):
    """Return vectors of which some are equal, and some next to equal."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((n, width))
    vectors[:twins] = vectors[twins : 2 * twins]
    vectors[2 * twins : 3 * twins] = vectors[twins : 2 * twins] * (1 + 1e-7 * rng.standard_normal((twins, 1)))
    return vectors.astype(np.float32)


def marks_drawn(seed, n, yes, no):
    some = np.random.default_rng(seed).permutation(n)[: yes + no].tolist()
    return Marks(some[:yes], some[yes:])


def plain(found):
    return [part.tolist() for part in (found.positions_K, found.similarities_K, found.scores_K, found.nearest_K)]


@pytest.mark.parametrize("rule", [*RULES, Farthest()], ids=lambda rule: type(rule).__name__)
@given(
    seed=st.integers(0, 10**6),
    yes=st.integers(0, 5),
    no=st.integers(0, 5),
    is_text=st.booleans(),
    count=st.integers(1, 320),
)
@settings(max_examples=25, deadline=None)
def test_few_looked_at_closely_are_what_all_are(rule, seed, yes, no, is_text, count):
    snapshot = snapshot_of(rows_drawn(seed))
    marks = marks_drawn(seed, 300, yes, no)
    query = Query(snapshot.vectors_ME[7] if not is_text else np.ones(5, np.float32), is_text)
    slow, quick = Alike(snapshot), Alike(snapshot, small=0)
    assert slow.exact
    assert not quick.exact
    assert plain(rank(quick, query, marks, rule, count)) == plain(rank(slow, query, marks, rule, count))


@pytest.mark.parametrize("rule", RULES[:6], ids=lambda rule: type(rule).__name__)
def test_the_order_is_that_of_ten_lines(rule):
    snapshot = snapshot_of(rows_drawn(5, n=120, twins=20))
    marks = Marks([100, 3, 50], [7, 20])
    found = rank(Alike(snapshot), Query(snapshot.vectors_ME[10], rows=np.array([10])), marks, rule, 120)
    vectors = [[float(x) for x in row] for row in snapshot.vectors_ME]

    def cosine(a, b):
        return round(
            sum(x * y for x, y in zip(a, b, strict=True)) / (sum(x * x for x in a) * sum(y * y for y in b)) ** 0.5, 6
        )

    def score(i):
        similar = [[cosine(vectors[i], vectors[j]) for j in some] for some in ([10], marks.yes, marks.no)]
        return round(feedback(NAMES.get(type(rule), "kernel"), similar[0][0], *similar[1:]), 9)

    left = [i for i in range(120) if i not in (10, 100, 3, 50, 7, 20)]
    told = sorted(left, key=lambda i: (-score(i), -cosine(vectors[i], vectors[10]), snapshot.ids[i]))
    assert found.positions_K.tolist() == told
    np.testing.assert_allclose(found.scores_K, [score(i) for i in told], atol=2e-9)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
@pytest.mark.parametrize("small", [0, 4096])
@given(seed=st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_another_order_of_rows_changes_no_ranking(rule, small, seed):
    vectors = rows_drawn(seed)
    ids = [f"{i:06d}" for i in range(len(vectors))]
    order = np.random.default_rng(seed + 1).permutation(len(vectors)).tolist()
    marks = marks_drawn(seed, len(vectors), 3, 3)
    here, there = snapshot_of(vectors, ids), snapshot_of(vectors[order], [ids[i] for i in order])
    moved = Marks([order.index(i) for i in reversed(marks.yes)], [order.index(i) for i in marks.no])
    query = Query(here.vectors_ME[0])
    a, b = rank(Alike(here, small), query, marks, rule, 50), rank(Alike(there, small), query, moved, rule, 50)
    assert [here.ids[i] for i in a.positions_K] == [there.ids[i] for i in b.positions_K]
    assert a.scores_K.tolist() == b.scores_K.tolist()


@pytest.mark.parametrize("small", [0, 4096])
def test_what_was_judged_and_the_query_are_not_shown_or_come_first(small):
    snapshot = snapshot_of(rows_drawn(2))
    query, marks = Query(snapshot.vectors_ME[9], rows=np.array([9, 12])), Marks([3, 50], [7])
    found = rank(Alike(snapshot, small), query, marks, Kernel(), 300)
    assert sorted(found.positions_K.tolist()) == [i for i in range(300) if i not in (9, 12, 3, 50, 7)]
    kept = rank(Alike(snapshot, small), query, marks, Kernel(), 10, keep_judged=True)
    assert set(kept.positions_K[:5].tolist()) == {9, 12, 3, 50, 7}
    assert kept.scores_K[:5].tolist() == sorted(kept.scores_K[:5].tolist(), reverse=True)
    assert kept.positions_K[5:].tolist() == found.positions_K[:10].tolist()


@pytest.mark.parametrize("small", [0, 4096])
def test_only_rows_that_may_be_found_are(small):
    snapshot = snapshot_of(rows_drawn(4))
    rows = np.arange(5, 300, 7)
    found = rank(
        Alike(snapshot, small),
        Query(snapshot.vectors_ME[5], rows=np.array([5])),
        Marks([12], [0]),
        Rocchio(),
        300,
        rows,
    )
    assert sorted(found.positions_K.tolist()) == [i for i in rows.tolist() if i not in (5, 12)]
    none = rank(Alike(snapshot, small), Query(snapshot.vectors_ME[5]), Marks(), Rocchio(), 3, np.zeros(0, np.int64))
    assert not len(none.positions_K)


def test_each_result_tells_which_judged_image_it_is_nearest_to():
    angles = np.radians([0, 10, 50, 55, 90, 94])
    snapshot = snapshot_of(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    found = rank(Alike(snapshot), Query(snapshot.vectors_ME[0], rows=np.array([0])), Marks([2], [4]), Nearest(), 9)
    assert dict(zip(found.positions_K.tolist(), found.nearest_K.tolist(), strict=True)) == {1: -1, 3: 2, 5: 4}
    words = rank(Alike(snapshot), Query(snapshot.vectors_ME[0], is_text=True), Marks([2], [4]), Nearest(), 9)
    assert -1 not in words.nearest_K, "no image is like words, once images were judged"


def test_a_mark_more_costs_one_product(monkeypatch):
    snapshot = snapshot_of(rows_drawn(6))
    alike, asked = Alike(snapshot, small=0), []
    made = alike._made
    monkeypatch.setattr(alike, "_made", lambda vectors: asked.append(len(vectors)) or made(vectors))
    query = Query(snapshot.vectors_ME[200])
    for marks in (Marks(), Marks([210]), Marks([210], [220, 230]), Marks([210], [230])):
        rank(alike, query, marks, Kernel(), 5)
    assert asked == [1, 1, 2]


@pytest.mark.parametrize("kept", [2**28, 300 * 4 * 7, 300 * 4 * 2, 1])
def test_queries_that_are_expected_share_products_and_are_answered_the_same(monkeypatch, kept):
    snapshot = snapshot_of(rows_drawn(6))
    monkeypatch.setattr(alike_module, "_BYTES", kept)
    alike, asked = Alike(snapshot, small=0), []
    made = alike._made
    monkeypatch.setattr(alike, "_made", lambda vectors: asked.append(len(vectors)) or made(vectors))
    order = [*range(150, 300), 160, 150]
    alike.expect(snapshot.vectors_ME[order])
    for i in order:
        query = Query(snapshot.vectors_ME[i])
        alone = rank(Alike(snapshot, small=0), query, Marks(), Kernel(), 5)
        assert plain(rank(alike, query, Marks(), Kernel(), 5)) == plain(alone)
    if kept == 2**28:
        assert asked == [64, 64, 22]
    else:
        assert sum(asked) <= len(order)
        assert max(asked) == max(1, min(64, kept // 1200))


def test_similarities_that_nobody_asks_for_any_more_are_let_go(monkeypatch):
    snapshot = snapshot_of(rows_drawn(6))
    monkeypatch.setattr(alike_module, "_BYTES", 300 * 4 * 3)
    alike = Alike(snapshot, small=0)
    for i in range(200, 210):
        rank(alike, Query(snapshot.vectors_ME[i]), Marks(), Kernel(), 5)
    assert len(alike._kept) == 3
    rank(alike, Query(snapshot.vectors_ME[1]), Marks(range(100, 110)), Kernel(), 5)
    assert len(alike._kept) == 11, "those of one round are kept whatever they take"


def test_what_cant_be_asked_is_told():
    snapshot = snapshot_of(rows_drawn(1))
    with pytest.raises(UserError, match="n=0 must be at least 1"):
        rank(Alike(snapshot), Query(snapshot.vectors_ME[0]), Marks(), Kernel(), 0)
    with pytest.raises(UserError, match="give \\[n, 5\\]"):
        rank(Alike(snapshot), Query(np.ones(6, np.float32)), Marks(), Kernel(), 1)


@pytest.mark.parametrize("small", [0, 4096])
@pytest.mark.parametrize("rule", RULES[:6], ids=lambda rule: type(rule).__name__)
def test_words_are_told_by_themselves_and_count_as_what_stands_for_them_among_images(small, rule):
    snapshot = snapshot_of(rows_drawn(8))
    words, standing = np.array([1, 0, 0, 0, 0], np.float32), np.array([0, 1, 0, 0, 0], np.float32)
    query = Query(words, is_text=True, among_images_E=standing)
    first = rank(Alike(snapshot, small), query, Marks(), rule, 300)
    assert plain(first) == plain(rank(Alike(snapshot, small), Query(words, is_text=True), Marks(), rule, 300))
    found = rank(Alike(snapshot, small), query, Marks([100], [200]), rule, 300)
    similar = snapshot.vectors_ME.astype(float) @ np.stack([words, standing, *snapshot.vectors_ME[[100, 200]]]).T
    for i, similarity, score in zip(found.positions_K, found.similarities_K, found.scores_K, strict=True):
        by_words, stands, yes, no = np.round(similar[i], 6)
        name = NAMES.get(type(rule), "kernel")
        if name == "nearest":
            assert score == pytest.approx(by_words + 2 * (yes >= no), abs=1e-5)
        elif name != "none":
            assert score == pytest.approx(feedback(name, stands, [yes], [no], is_text=True), rel=1e-4, abs=1e-5)
        assert similarity == pytest.approx(by_words, abs=2e-6)


class Slow:
    """An index that finds all that is near, and is asked for no more than it is told."""

    note = "found by looking at all rows"

    def __init__(self, vectors):
        self.vectors = vectors

    def candidates(self, queries, count):
        return np.argsort(-(queries @ self.vectors.T), axis=1)[:, :count]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
@pytest.mark.parametrize("is_text", [False, True])
def test_an_index_is_asked_where_a_rule_leads_and_not_only_near_what_is_liked(rule, is_text):
    """Half of what is near is a no, so that some rules lead far away from all of it."""
    vectors = np.random.default_rng(0).standard_normal((4000, 24)).astype(np.float32)
    exact, by_index = snapshot_of(vectors), snapshot_of(vectors)
    by_index.memo[INDEX] = Slow(by_index.vectors_ME)
    shares = []
    for i in range(8):
        standing = exact.vectors_ME[i + 50] if is_text else None
        query = Query(exact.vectors_ME[i], is_text, among_images_E=standing)
        near = rank(Alike(exact), query, Marks(), Unchanged(), 10).positions_K.tolist()
        pages = [rank(Alike(one, small=0), query, Marks(near[::2], near[1::2]), rule, 10) for one in (exact, by_index)]
        shares.append(len(np.intersect1d(*(page.positions_K for page in pages))) / 10)
    assert np.mean(shares) >= 0.95, shares
