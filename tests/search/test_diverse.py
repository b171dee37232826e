"""A diverse page: unlike what was shown and unlike each other, in any order of rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from snapshots import snapshot_of

from itae.search.alike import Alike
from itae.search.diverse import diverse
from itae.search.judged import Marks, Query


def loops(vectors, ids, q, marked, count, weight, pool):
    """Return what maximal marginal relevance chooses, in plain loops."""

    def cosine(i, j):
        a, b = vectors[i].astype(float), vectors[j].astype(float)
        return round(float(a @ b / np.sqrt((a @ a) * (b @ b))), 6)

    left = sorted((i for i in range(len(vectors)) if i not in (q, *marked)), key=lambda i: (-cosine(i, q), ids[i]))
    left, seen, chosen = left[:pool], list(marked), []
    while left and len(chosen) < count:

        def value(i):
            return round(weight * cosine(i, q) - (1 - weight) * max([-1.0, *(cosine(i, j) for j in seen)]), 9)

        best = max(left, key=lambda i: (value(i), -left.index(i)))
        left.remove(best)
        seen.append(best)
        chosen.append(best)
    return chosen


def drawn(seed, n=40):
    vectors = np.random.default_rng(seed).standard_normal((n, 3)).astype(np.float32)
    vectors[5:8] = vectors[8:11]  # some are equal
    return vectors


@pytest.mark.parametrize("small", [0, 4096])
@given(
    seed=st.integers(0, 10**6), count=st.integers(1, 12), judged=st.integers(0, 6), pool=st.sampled_from([12, 20, 99])
)
@settings(max_examples=15, deadline=None)
def test_it_is_what_plain_loops_choose_in_any_order_of_rows(small, seed, count, judged, pool):
    vectors = drawn(seed)
    ids = [f"{i:03d}" for i in range(len(vectors))]
    marked = np.random.default_rng(seed).permutation(np.arange(1, 40))[:judged].tolist()
    snapshot = snapshot_of(vectors, ids)
    query = Query(snapshot.vectors_ME[0], rows=np.array([0]))
    found = diverse(Alike(snapshot, small), query, Marks((), marked), count, pool=pool).tolist()
    assert found == loops(snapshot.vectors_ME, ids, 0, marked, count, 0.3, pool)
    order = np.random.default_rng(seed + 1).permutation(40).tolist()
    other = snapshot_of(vectors[order], [ids[i] for i in order])
    at = {old: new for new, old in enumerate(order)}
    query = Query(snapshot.vectors_ME[0], rows=np.array([at[0]]))
    again = diverse(Alike(other, small), query, Marks([at[i] for i in marked[:2]], [at[i] for i in marked[2:]]), count,
                    pool=pool)  # fmt: skip
    assert [other.ids[i] for i in again] == [ids[i] for i in found]


def test_two_twins_are_not_both_on_a_page_while_there_is_another():
    angles = np.deg2rad([0, 10, 20, 20, 45, 45, -40])
    snapshot = snapshot_of(np.stack([np.cos(angles), np.sin(angles)], 1))
    query = Query(snapshot.vectors_ME[0], rows=np.array([0]))
    page = diverse(Alike(snapshot), query, Marks((), [1]), 3).tolist()
    assert page == [6, 4, 2], "as far as can be from what was seen, then the other side, then between"
    assert len(diverse(Alike(snapshot), query, Marks((), [1]), 50)) == 5, "there are not more"


def test_what_was_seen_is_not_held_against_all_rows():
    """Of thousands that were seen, each by so many rows would be more than there is memory."""
    snapshot = snapshot_of(drawn(3))
    alike = Alike(snapshot, small=0)
    diverse(alike, Query(snapshot.vectors_ME[0], rows=np.array([0])), Marks([1], list(range(2, 20))), 5)
    assert len(alike._kept) == 1
