"""Effective rank and class separation: against slow ones, and where they are known."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

from itae.measure import spaces
from itae.measure.cluster import points
from itae.measure.cluster.clustered import Clustered
from itae.measure.intervals import delta_intervals
from itae.measure.spaces import effective_rank, separation


def drawn(seed, n, width):
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


@settings(max_examples=40)
@given(st.integers(2, 30), st.integers(1, 12), st.integers(0, 2**31))
def test_the_effective_rank_is_that_of_the_slow_one(n, width, seed):
    vectors = drawn(seed, n, width) * np.linspace(0.1, 2, width, dtype=np.float32) + 3
    assert effective_rank(vectors) == pytest.approx(reference.effective_rank(vectors.astype(float)), rel=1e-5)


@settings(max_examples=20)
@given(st.integers(1, 7), st.floats(0.01, 100), st.integers(0, 2**31))
def test_equal_directions_are_counted_whatever_their_length_place_and_turn(rank, scale, seed):
    rng = np.random.default_rng(seed)
    both = np.concatenate([np.eye(rank), -np.eye(rank)])
    frame = np.linalg.qr(rng.normal(size=(8, 8)))[0][:rank]
    vectors = (scale * (both @ frame + rng.normal(size=8))).astype(np.float32)
    assert effective_rank(vectors) == pytest.approx(rank, rel=1e-3)


def test_rows_that_are_all_equal_have_no_effective_rank():
    assert effective_rank(np.full((50, 4), 0.1, np.float32)) is None
    assert effective_rank(np.array([[1.0, np.nan], [0, 1]], np.float32)) is None


def test_of_many_images_the_same_rows_are_looked_at(monkeypatch):
    monkeypatch.setattr(spaces, "SAMPLE", 100)
    vectors = drawn(0, 300, 5)
    rows = spaces.looked_at(300)
    assert len(set(rows.tolist())) == 100
    assert effective_rank(vectors) == pytest.approx(reference.effective_rank(vectors[rows].astype(float)), rel=1e-5)
    assert effective_rank(vectors) != pytest.approx(reference.effective_rank(vectors.astype(float)), rel=1e-5)


@settings(max_examples=30)
@given(st.integers(4, 25), st.integers(1, 6), st.integers(1, 4), st.integers(0, 2**31))
def test_the_separation_is_that_of_pairs(n, width, classes, seed):
    vectors, labels = drawn(seed, n, width) + 0.5, np.random.default_rng(seed).integers(classes, size=n)
    found = separation(vectors, labels)
    if found is None:  # of one direction all unit rows may be equal
        return
    assert found.mean() == pytest.approx(reference.separation(vectors.astype(float), labels), abs=1e-6)
    stretched = vectors * np.random.default_rng(1).uniform(0.5, 2, (n, 1)).astype(np.float32)
    assert separation(stretched, labels).mean() == pytest.approx(found.mean(), abs=1e-5), "of directions alone"


def test_separation_where_it_is_known():
    labels = np.repeat([7, 2, 9], 10)
    means = np.eye(3, dtype=np.float32)[np.repeat([0, 1, 2], 10)]
    assert separation(means, labels).mean() == pytest.approx(1), "each class is one point"
    mirrored = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]], np.float32)
    assert separation(mirrored, np.array([0, 0, 1, 1])).mean() == pytest.approx(0), "all classes have one mean"
    assert separation(np.ones((5, 3), np.float32), np.array([0, 1, 0, 1, 1])) is None
    rng = np.random.default_rng(0)
    vectors = drawn(1, 60, 8)
    by_chance = [separation(vectors, rng.permutation(np.repeat([0, 1, 2, 3], 15))).mean() for _ in range(400)]
    assert np.mean(by_chance) == pytest.approx(3 / 59, rel=0.05), "(C - 1) / (N - 1)"


def test_rows_are_taken_block_by_block(monkeypatch):
    vectors, labels = drawn(2, 50, 4), np.arange(50) % 3
    whole = separation(vectors, labels), effective_rank(vectors)
    monkeypatch.setattr(points, "BLOCK", 7)
    np.testing.assert_allclose(separation(vectors, labels), whole[0], atol=1e-12)
    assert effective_rank(vectors) == pytest.approx(whole[1])


def test_the_interval_is_as_wide_as_separation_varies_over_draws():
    """Of 300 draws of the images the standard deviation is that of an image's values: the linear part is all of it."""
    rng = np.random.default_rng(0)

    def once():
        labels = rng.integers(3, size=400)
        return separation((np.eye(6)[labels] + 0.6 * rng.normal(size=(400, 6))).astype(np.float32), labels)

    each = [once() for _ in range(300)]
    told = np.mean([values.std(ddof=1) / 20 for values in each])
    assert told == pytest.approx(np.std([values.mean() for values in each]), rel=0.12)


def test_the_interval_of_the_change_is_paired():
    labels = np.arange(200) % 4
    near = np.eye(4)[labels] + 0.5 * np.random.default_rng(1).normal(size=(200, 4))
    sides = [separation(some.astype(np.float32), labels) for some in (near, near + 0.3 * np.eye(4)[labels])]
    own = np.zeros((1, 200), int)
    before, after = (Clustered({}, own[0], own, None, None, values) for values in sides)
    low, high = delta_intervals(labels, before, after)["separation"]
    change = sides[1].mean() - sides[0].mean()
    assert low < change < high
    assert high - low < 0.5 * 4 * sides[0].std() / np.sqrt(200), "narrower than of either side alone"
