"""Neighbours and their vote, held against loops; an image is never its own neighbour, not even among copies."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference import nearest_others

import itae.measure.knn
from itae.base.errors import UserError
from itae.measure.knn import neighbours, same_bytes
from itae.measure.scores import knn_correct, small_classes
from itae.tasks.clustering import Clustering
from itae.tasks.clustering.cluster_and_score import cluster_and_score


def slow_vote(labels, rows, similar, temperature):
    """Return which points are named rightly, by a sum for each class."""
    right = []
    for i, (row, sims) in enumerate(zip(rows, similar, strict=True)):
        votes = {}
        for j, s in zip(row, sims, strict=True):
            if j < 0:
                continue
            votes[labels[j]] = votes.get(labels[j], 0.0) + math.exp(s / temperature)
        most = max(votes.values(), default=0.0)
        named = [name for name, vote in votes.items() if vote >= most * (1 - 1e-9)]
        right.append(bool(named) and min(named) == labels[i])
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
    np.testing.assert_allclose(similar, nearest_others(vectors.astype(np.float64), k, np.arange(n)), atol=1e-5)
    np.testing.assert_array_equal(knn_correct(labels, rows, similar, 0.5), slow_vote(labels, rows, similar, 0.5))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 25), st.integers(1, 40), st.sampled_from([1, 3, 256]))
def test_rows_of_one_group_are_no_neighbours(monkeypatch, seed, n, k, different, twins):
    """Of few and of many copies, which are looked for in different ways, and where hardly any other is left."""
    monkeypatch.setattr(itae.measure.knn, "_TWINS", twins)
    monkeypatch.setattr(itae.measure.knn, "BLOCK", 7)
    draw = np.random.default_rng(seed)
    groups = np.unique(draw.integers(0, different, n) // draw.integers(1, 4), return_inverse=True)[1]
    vectors = draw.normal(size=(n, 4)).astype(np.float32)[groups]  # copies have the same vectors
    labels = draw.integers(0, 3, n)
    rows, similar = neighbours(vectors, k, "cpu", groups)
    want = nearest_others(vectors.astype(np.float64), k, groups)
    assert rows.shape == similar.shape == (n, max(map(len, want)))
    for i, one in enumerate(want):
        found = rows[i, : len(one)]
        assert not set(groups[found]) & {groups[i]}
        assert len(set(found)) == len(one)
        assert (rows[i, len(one) :] == -1).all()
        np.testing.assert_allclose(similar[i, : len(one)], one, atol=1e-5)
        assert (similar[i, len(one) :] == -np.inf).all()
    if rows.size:
        np.testing.assert_array_equal(knn_correct(labels, rows, similar, 0.5), slow_vote(labels, rows, similar, 0.5))


def test_groups_are_those_of_the_same_bytes():
    digests = np.random.default_rng(0).integers(0, 255, (4, 32)).astype(np.uint8)
    assert same_bytes(digests) is None
    assert same_bytes(None) is None
    assert len(set(same_bytes(digests[[0, 1, 0, 2]]).tolist())) == 3
    assert np.equal(*same_bytes(digests[[0, 1, 0, 2]])[[0, 2]])


def test_a_picture_that_is_there_many_times_does_not_vote_for_itself():
    """Noise with a label for each picture: its copies would name it rightly, every time."""
    draw = np.random.default_rng(0)
    vectors, labels, groups = draw.normal(size=(60, 8)).astype(np.float32), np.arange(60) % 3, np.arange(60)
    vectors, labels, groups = (np.tile(one.T, 4).T for one in (vectors, labels, groups))
    task = partial(cluster_and_score, knn=3)
    assert task(vectors, labels, 3, clusterer(), 0, "cpu").metrics["knn"]["mean"] == 1
    found = task(vectors, labels, 3, clusterer(), 0, "cpu", groups).metrics["knn"]
    assert found["mean"] == pytest.approx(1 / 3, abs=0.15)
    assert found["chance"] == pytest.approx(1 / 3, abs=0.05)


def test_small_classes_are_told_with_what_shuffled_labels_reach():
    vectors, labels = np.random.default_rng(0).normal(size=(16, 8)).astype(np.float32), np.arange(16) % 2
    knn = cluster_and_score(vectors, labels, 2, clusterer(2), 0, "cpu", temperature=100).metrics["knn"]
    assert (knn["k"], knn["mean"], knn["chance"]) == (15, 0, 0), "seven of one's own against eight"
    note = small_classes(labels, ["dog", "cat"], knn)
    assert "15 other images vote" in note
    assert "2 of 2 classes" in note
    assert "'dog' 8, 'cat' 8" in note
    assert "shuffled labels it is 0.0000" in note
    assert small_classes(labels, ["dog", "cat"], knn | {"k": 7}) is None
    twins = np.arange(len(labels))
    twins[labels == 1] = len(labels)  # copies of one cat: none of them votes for another
    assert "'cat' 1" in str(small_classes(labels, ["dog", "cat"], knn | {"k": 7}, twins))
    many = small_classes(np.array([0] * 30 + [1, 1, 2, 2, 3, 3, 3, 4]), list("abcde"), knn)
    assert "4 of 5 classes" in many
    assert "('e' 1, 'b' 2, 'c' 2, ...)" in many


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
    from itae.measure.cluster.kmeans import KMeans

    return KMeans(k=k, seeds=2, restarts=1)


def test_the_task_has_it_with_labels_and_not_without():
    vectors = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    labels = np.arange(30) % 3
    found = cluster_and_score(vectors, labels, 3, clusterer(), 0, "cpu", knn=5)
    knn = found.metrics["knn"]
    assert (knn["k"], knn["temperature"], knn["protocol"]) == (5, 0.07, "leave-one-out")
    assert knn["mean"] == found.knn_correct.mean()
    assert found.per_seed.shape == (2, 30)
    for task, some in ((cluster_and_score, None), (partial(cluster_and_score, knn=0), labels)):
        without = task(vectors, some, 3, clusterer(), 0, "cpu")
        assert "knn" not in without.metrics
        assert without.knn_correct is None


@pytest.mark.parametrize("options", [{"knn": -1}, {"knn": 2.5}, {"temperature": 0}, {"temperature": float("nan")}])
def test_wrong_settings_are_told(options):
    with pytest.raises(UserError, match=rf"task\.{next(iter(options))}"):
        Clustering(**options)
