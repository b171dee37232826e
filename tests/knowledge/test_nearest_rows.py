"""Neighbours in a base: exactly the slow ones, ties by id, whatever the company, the blocks and the library."""

from __future__ import annotations

import numpy as np
import pytest
from by_hand import base, slow_nearest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import itae.knowledge.near.neighbours as module
from itae.base.errors import UserError
from itae.knowledge.near.neighbours import MISSING, Excluded, nearest
from itae.knowledge.records.similarity import similarities, unit


def held_against_the_slow_one(snapshot, queries, k, rows, excluded):
    positions, similar = nearest(snapshot, queries, k, rows, excluded)
    allowed = snapshot.live if rows is None else rows
    width = 0
    for q, query in enumerate(unit(queries)):
        mine = [i for i in allowed.tolist() if excluded is None or excluded.codes_M[i] != excluded.codes_Q[q]]
        want = slow_nearest(snapshot, query, k, mine)
        width = max(width, len(want))
        assert list(zip(positions[q].tolist(), similar[q].tolist(), strict=True))[: len(want)] == want
        assert (positions[q, len(want) :] == MISSING).all()
        assert (similar[q, len(want) :] == -np.inf).all()
    assert positions.shape == similar.shape == (len(queries), width)
    return positions, similar


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 60),
    q=st.integers(1, 24),
    k=st.integers(1, 70),
    different=st.integers(1, 60),
    groups=st.integers(1, 12),
    constants=st.sampled_from([(16, 4, 256, 2**25), (1, 0, 256, 2**25), (1, 1, 2, 12), (3, 4, 0, 40)]),
    filtered=st.booleans(),
)
def test_neighbours_are_the_slow_ones(monkeypatch, seed, n, q, k, different, groups, constants, filtered):
    """Many equal rows, some dead, rows that are left out, groups of few and many, and every way of looking."""
    for name, value in zip(("_FEW", "_SPARE", "_TWINS", "_FLOATS"), constants, strict=True):
        monkeypatch.setattr(module, name, value)
    draw = np.random.default_rng(seed)
    kinds = draw.integers(-2, 3, (different, 4)) + 0.25  # on a grid: many similarities are equal to the last bit
    vectors = kinds[draw.integers(0, different, n)]
    snapshot = base(
        vectors,
        ["a"] * n,
        ids=draw.permutation([f"{i:03d}" for i in range(n)]),
        dead=np.flatnonzero(draw.random(n) < 0.2),
        groups=draw.integers(0, groups, n),
    )
    queries = vectors[draw.integers(0, n, q)] * draw.choice([1.0, 1e-30, 7.0])
    rows = snapshot.live[draw.random(len(snapshot)) < 0.6] if filtered else None
    excluded = Excluded(snapshot.groups_M, draw.integers(-1, groups + 1, q))
    for some in (None, excluded):
        positions, similar = held_against_the_slow_one(snapshot, queries, k, rows, some)
    for i in range(q):
        one = Excluded(excluded.codes_M, excluded.codes_Q[i : i + 1])
        alone, alike = nearest(snapshot, queries[i : i + 1], k, rows, one)
        there = alone.shape[1]
        np.testing.assert_array_equal(alone[0], positions[i, :there])
        assert alike[0].tobytes() == similar[i, :there].tobytes()


@pytest.mark.parametrize(("n", "q", "k", "width"), [(250, 18, 20, 384), (200, 3, 7, 768), (500, 17, 1, 33)])
def test_wide_vectors_with_near_ties(n, q, k, width):
    """Rows that differ by less than float32's product can tell, far beyond rank k."""
    draw = np.random.default_rng(width)
    centre = draw.normal(size=width)
    vectors = centre + draw.normal(size=(n, width)) * draw.choice([0, 1e-7, 1e-5, 0.3], (n, 1))
    snapshot = base(vectors, ["a"] * n, ids=draw.permutation([f"{i:03d}" for i in range(n)]))
    held_against_the_slow_one(snapshot, vectors[draw.integers(0, n, q)], k, None, None)


def test_a_gpu_finds_the_same(device):
    draw = np.random.default_rng(0)
    kinds = draw.normal(size=(300, 64))
    snapshot = base(kinds[draw.integers(0, 300, 2000)], ["a"] * 2000, groups=draw.integers(0, 900, 2000))
    groups = Excluded(snapshot.groups_M, snapshot.groups_M)
    for one, other in zip(
        nearest(snapshot, snapshot.vectors_ME, 20, excluded=groups, device=str(device)),
        nearest(snapshot, snapshot.vectors_ME, 20, excluded=groups, device="cpu"),
        strict=True,
    ):
        assert one.tobytes() == other.tobytes()


def test_equal_rows_come_by_id_across_rank_k():
    vectors = [[1, 0], [1, 0], [1, 0], [0, 1]]
    snapshot = base(vectors, list("abcd"), ids=["m", "z", "b", "a"])
    for queries in ([[1, 0.1]], [[1, 0.1]] * 20):
        positions, similar = nearest(snapshot, np.array(queries), 2)
        assert positions.tolist() == [[2, 0]] * len(queries)
        assert similar[0, 0] == similar[0, 1] == 0.995037
    assert nearest(snapshot, np.array([[1, 0.1]]), 9)[0].tolist() == [[2, 0, 1, 3]], "k over the rows: all of them"


def test_rows_apart_by_less_than_the_rounding_are_equally_near():
    snapshot = base([[1, 1e-4], [1, 0], [1, 2e-4]], list("abc"), ids=["c", "b", "a"])
    positions, similar = nearest(snapshot, np.array([[1.0, 0.0]]), 3)
    assert similar.tolist() == [[1, 1, 1]]
    assert positions.tolist() == [[2, 1, 0]]


def test_they_are_those_of_scikit_learn():
    from sklearn.neighbors import NearestNeighbors

    draw = np.random.default_rng(1)
    snapshot, queries = base(draw.normal(size=(700, 24)), ["a"] * 700), draw.normal(size=(90, 24))
    positions, similar = nearest(snapshot, queries, 15)
    theirs = NearestNeighbors(n_neighbors=15, algorithm="brute", metric="cosine").fit(snapshot.vectors_ME)
    distances, rows = theirs.kneighbors(unit(queries))
    np.testing.assert_array_equal(positions, rows)
    np.testing.assert_allclose(similar, 1 - distances, atol=1e-6)


@pytest.mark.parametrize("width", [1, 3, 8, 17, 384, 768])
def test_a_similarity_has_the_same_bits_in_any_company_and_either_way(width):
    draw = np.random.default_rng(width)
    vectors = unit(draw.normal(size=(3000, width)))
    whole = similarities(vectors, vectors[:40], np.tile(np.arange(3000), (40, 1)))
    for q in range(0, 40, 13):
        for i in (0, 1, 1500, 2999):
            alone = similarities(vectors[i : i + 1], vectors[q : q + 1], np.array([[0]]))
            back = similarities(vectors[q : q + 1], vectors[i : i + 1], np.array([[0]]))
            assert alone.tobytes() == back.tobytes() == whole[q, i].tobytes()


def test_nothing_is_found_where_nothing_may_be():
    snapshot = base([[1, 0], [0, 1]], ["a", "b"], dead=[0, 1])
    assert nearest(snapshot, np.ones((2, 2)), 3)[0].shape == (2, 0)
    lone = base([[1, 0]], ["a"])
    assert nearest(lone, np.ones((1, 2)), 3, excluded=Excluded(np.array([5]), np.array([5])))[0].shape == (1, 0)


@pytest.mark.parametrize(
    ("queries", "k", "told"),
    [
        ([[1, 2]], 0, "k=0 must be at least 1"),
        ([[1, 2], [0, 0]], 1, "query 1 is all zeros"),
        ([[1, float("nan")]], 1, "query 0 is not finite"),
        ([[1, float("inf")]], 1, "query 0 is not finite"),
        ([[1, 2, 3]], 1, r"shape \(1, 3\).*\[n, 2\]"),
    ],
)
def test_mistakes_are_told(queries, k, told):
    with pytest.raises(UserError, match=told):
        nearest(base([[1, 0], [0, 1]], ["a", "b"]), np.array(queries, float), k)


def test_lengths_of_queries_mean_nothing():
    draw = np.random.default_rng(0)
    snapshot, queries = base(draw.normal(size=(50, 8)), ["a"] * 50), draw.normal(size=(20, 8))
    scaled = queries * np.geomspace(1e-200, 1e200, 20)[:, None]
    for one, other in zip(nearest(snapshot, queries, 5), nearest(snapshot, scaled, 5), strict=True):
        np.testing.assert_array_equal(one, other)
    short = unit(queries) * np.float32(1 - 5e-7)
    assert unit(short).tobytes() == short.tobytes(), "within 1e-6 of length 1 it stays as it is"
