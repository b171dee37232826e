"""Neighbours and their vote, held against loops; an image is never its own neighbour, not even among copies."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itae.errors import UserError
from itae.knn import neighbours
from itae.metrics import knn_correct
from itae.tasks.clustering import Clustering


def slow_neighbours(vectors, k):
    """Return the similarities of each row's `k` nearest others, nearest first, in fp64."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-300)
    n = len(unit)
    return np.array(
        [sorted((float(unit[i] @ unit[j]) for j in range(n) if j != i), reverse=True)[:k] for i in range(n)]
    )


def slow_vote(labels, rows, similar, temperature):
    """Return which points are named rightly, by a sum for each class."""
    right = []
    for i, (row, sims) in enumerate(zip(rows, similar, strict=True)):
        votes = {}
        for j, s in zip(row, sims, strict=True):
            votes[labels[j]] = votes.get(labels[j], 0.0) + math.exp(s / temperature)
        most = max(votes.values())
        right.append(min(name for name, vote in votes.items() if vote >= most * (1 - 1e-9)) == labels[i])
    return np.array(right)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 40), st.integers(1, 25), st.integers(1, 5), st.booleans())
def test_neighbours_and_vote_are_the_slow_ones(seed, n, k, classes, copies):
    draw = np.random.default_rng(seed)
    vectors = draw.normal(size=(n, 4)).astype(np.float32)
    if copies:
        vectors = vectors[draw.integers(0, max(1, n // 3), n)]
    labels = draw.integers(0, classes, n)
    rows, similar = neighbours(vectors, k, "cpu")
    assert rows.shape == (n, min(k, n - 1))
    assert all(i not in row and len(set(row)) == len(row) for i, row in enumerate(rows))
    np.testing.assert_allclose(similar, slow_neighbours(vectors.astype(np.float64), k), atol=1e-5)
    np.testing.assert_array_equal(knn_correct(labels, rows, similar, 0.5), slow_vote(labels, rows, similar, 0.5))


def test_length_means_nothing_and_a_row_of_zeros_is_no_trouble():
    vectors = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    scaled = vectors * np.geomspace(1e-12, 1e12, 50, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(neighbours(vectors, 5, "cpu")[0], neighbours(scaled, 5, "cpu")[0])
    vectors[3] = 0
    assert np.isfinite(neighbours(vectors, 5, "cpu")[1]).all()


def test_a_vote_depends_on_the_temperature_and_not_on_overflow():
    labels = np.array([0, 0, 1, 1, 1])
    rows, similar = np.array([[1, 2, 3]] * 5), np.array([[0.9, 0.6, 0.6]] * 5, np.float32)
    assert knn_correct(labels, rows, similar, 0.07)[0], "one near neighbour outvotes two"
    assert not knn_correct(labels, rows, similar, 5.0)[0], "two outvote one"
    assert knn_correct(labels, rows, similar, 0.001)[0], "exp(900) is no number"


def test_of_equal_votes_the_smallest_class_is_named():
    rows, similar = np.array([[2, 1]] * 3), np.array([[0.5, 0.5]] * 3, np.float32)
    assert knn_correct(np.array([4, 4, 9]), rows, similar, 0.07).tolist() == [True, True, False]


def clusterer(k=3):
    from itae.cluster import KMeans

    return KMeans(k=k, seeds=2, restarts=1)


def test_the_task_has_it_with_labels_and_not_without():
    vectors = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    labels = np.arange(30) % 3
    found = Clustering(knn=5)(vectors, labels, 3, clusterer(), 0, "cpu")
    knn = found.metrics["knn"]
    assert (knn["k"], knn["temperature"], knn["protocol"]) == (5, 0.07, "leave-one-out")
    assert knn["mean"] == found.knn_correct.mean()
    assert found.per_seed.shape == (2, 30)
    for task, some in ((Clustering(), None), (Clustering(knn=0), labels)):
        without = task(vectors, some, 3, clusterer(), 0, "cpu")
        assert "knn" not in without.metrics
        assert without.knn_correct is None


@pytest.mark.parametrize("options", [{"knn": -1}, {"knn": 2.5}, {"temperature": 0}, {"temperature": float("nan")}])
def test_wrong_settings_are_told(options):
    with pytest.raises(UserError, match=rf"task\.{next(iter(options))}"):
        Clustering(**options)
