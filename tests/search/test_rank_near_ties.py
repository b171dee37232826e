"""The quick order is the slow one where that is hardest: rows next to equal, equal to the last bit, thin and wide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import toy_feedback
from hypothesis import given, settings
from hypothesis import strategies as st
from snapshots import snapshot_of

from itae.base.errors import UserError
from itae.search import alike as alike_module
from itae.search import rank as rank_module
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
    Weighted,
)

RULES = (
    Unchanged(), Nearest(), Nearest("nearest"), Margin(), Rocchio(), Rocchio(0.0, 50.0), MeanDifference(), Kernel(),
    Kernel(0.02), Kernel(0.1, True), Logistic(), Svm(), Tally(), Tally(0.0, 3.0), Tally(1.0, 0.0),
)  # fmt: skip


@dataclass(frozen=True)
class Steep(Rule):
    """A rule of somebody's own whose scores are no numbers of float32."""

    monotone: ClassVar[bool] = True

    def scores(self, near):
        """Return what is liked, steeply, less what isn't."""
        return np.exp(300 * near.liked).sum(axis=0) - np.exp(300 * near.no).sum(axis=0)


def rows_next_to_equal(seed, kind, width, n=200):
    """Return vectors, of which products in float32 tell next to nothing apart.

    ``steps``: a fan of rows whose cosines to the first differ by some 1e-7, less than a similarity is rounded to.
    ``twins``: ten vectors, again and again. ``one``: one vector. ``signs``: corners of a cube, whose products are few
    numbers.
    """
    rng = np.random.default_rng(seed)
    some = rng.standard_normal((n, width))
    if kind == "steps":
        first = some[0] / np.linalg.norm(some[0])
        across = some - (some @ first)[:, None] * first
        across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
        angles = 0.6 + rng.integers(0, 40, n) * 1e-7
        some = np.cos(angles)[:, None] * first + np.sin(angles)[:, None] * across
        some = some if width > 1 else some + 3
    elif kind == "twins":
        some = some[rng.integers(0, 10, n)]
    elif kind == "one":
        some = np.repeat(some[:1], n, axis=0)
    else:
        some = np.sign(some)
    return some.astype(np.float32)


def plain(found):
    return [part.tolist() for part in (found.positions_K, found.similarities_K, found.scores_K, found.nearest_K)]


def both(vectors, query, marks, rule, count):
    """Return what is found quickly and slowly."""
    snapshot = snapshot_of(vectors)
    return (plain(rank(Alike(snapshot, small), query, marks, rule, count)) for small in (0, 4096))


cases = {
    "seed": st.integers(0, 10**6),
    "kind": st.sampled_from(["steps", "twins", "one", "signs"]),
    "width": st.sampled_from([1, 2, 3, 33, 384, 2000]),
    "yes": st.integers(0, 4),
    "no": st.integers(0, 4),
    "count": st.integers(1, 60),
    "asked": st.sampled_from(["row", "words", "brought"]),
}


@pytest.mark.parametrize("rule", [*RULES, Steep()], ids=repr)
@given(**cases)
@settings(max_examples=12, deadline=None)
def test_rows_next_to_equal_come_in_the_slow_order(rule, seed, kind, width, yes, no, count, asked):
    vectors = rows_next_to_equal(seed, kind, width)
    rng = np.random.default_rng(seed)
    some = rng.permutation(len(vectors))[: yes + no].tolist()
    query = Query(vectors[0], rows=np.array([0])) if asked == "row" else Query(
        rng.standard_normal(width).astype(np.float32), is_text=True,
        among_images_E=vectors[1] if asked == "brought" else None,
    )  # fmt: skip
    quick, slow = both(vectors, query, Marks(some[:yes], some[yes:]), rule, count)
    assert quick == slow


@pytest.mark.parametrize(
    "rule",
    [Tally(), MeanDifference(), Rocchio(), Kernel(), Weighted((0.5,) + (0.01,) * 150 + (-0.02,) * 150)],
    ids=lambda rule: type(rule).__name__,
)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(["steps", "signs"]))
@settings(max_examples=5, deadline=None)
def test_hundreds_of_marks_come_in_the_slow_order(rule, seed, kind):
    vectors = rows_next_to_equal(seed, kind, 48, n=600)
    some = np.random.default_rng(seed).permutation(np.arange(1, 600))[:300].tolist()
    quick, slow = both(vectors, Query(vectors[0]), Marks(some[:150], some[150:]), rule, 20)
    assert quick == slow


def test_scores_that_float32_has_no_numbers_for_are_ordered_all_the_same():
    """All rows are so near a no that its share is infinite in float32, and minus that is no bound."""
    angles = np.radians(np.concatenate([[180, 0], np.random.default_rng(0).uniform(5, 60, 198)]))
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    quick, slow = both(vectors, Query(vectors[0], rows=np.array([0])), Marks([], [1]), Steep(), 5)
    assert quick == slow
    assert sorted(slow[2], reverse=True) == slow[2]
    assert slow[2][0] < -1e60


LESS = Weighted((0.0, -1.0))  # how unlike a no a row is, and nothing else


def found_differ(rule):
    """Return whether quick and slow differ for some of many rows next to equal, by what is at row 0."""
    for seed in range(40):
        vectors = rows_next_to_equal(seed, "steps", 384)
        query, marks = (1, Marks([], [0])) if rule == LESS else (0, Marks())
        quick, slow = both(vectors, Query(vectors[query], rows=np.array([query])), marks, rule, 5)
        if quick != slow:
            return True
    return False


@pytest.mark.parametrize("rule", [Unchanged(), LESS], ids=["yes", "no"])
@pytest.mark.parametrize("spoiled", ["nothing", "margin", "sign"])
def test_these_rows_are_so_hard_that_without_a_margin_the_order_is_another(monkeypatch, rule, spoiled):
    """Else the tests above say nothing. A margin of the wrong sign is what a no gets that is shifted as a yes."""
    monkeypatch.setattr(rank_module, "_SPARE", 0)
    margin = {"nothing": alike_module.margin, "margin": lambda width: 0.0, "sign": lambda width: -1e-5}[spoiled]
    monkeypatch.setattr(alike_module, "margin", margin)
    assert found_differ(rule) == (spoiled != "nothing")


@pytest.mark.parametrize("small", [0, 4096])
@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (toy_feedback.Half(), "feedback=half gave scores of shape \\(.*\\) and type float64; they must be"),
        (toy_feedback.Words(), "feedback=words gave scores of shape .* and type <U4; they must be"),
        (toy_feedback.Lost(), "feedback=lost gave a score that is not finite"),
        (toy_feedback.Nothing(), "feedback=nothing has no scores; write its scores"),
        (Rocchio(1e308), "feedback=rocchio gave a score that is not finite"),
        (Weighted((1.0,)), "feedback.weights has 1 numbers, and 4 were judged with the query"),
    ],
    ids=lambda rule: type(rule).__name__,
)
def test_what_is_no_score_is_told(small, rule, told):
    snapshot = snapshot_of(rows_next_to_equal(0, "twins", 8))
    with np.errstate(all="ignore"), pytest.raises(UserError, match=told):
        rank(Alike(snapshot, small), Query(snapshot.vectors_ME[0]), Marks([1, 2], [3]), rule, 5)
