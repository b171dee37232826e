"""The clustering task: its numbers, and that no label reaches the clustering."""

import json
import logging

import numpy as np
import pytest

from itae.base.errors import UserError
from itae.measure.cluster.kmeans import KMeans
from itae.measure.scores import METRICS, scores
from itae.measure.silhouette import Space
from itae.tasks.clustering.cluster_and_score import cluster_and_score
from itae.tasks.clustering.task import _details

pytest.importorskip("faiss")


@pytest.fixture
def points():
    random = np.random.default_rng(0)
    labels = random.integers(4, size=200)
    return (random.normal(size=(4, 8))[labels] + 0.7 * random.normal(size=(200, 8))).astype(np.float32), labels


def test_numbers_are_those_of_the_clusterings(points):
    vectors, labels = points
    clusterer = KMeans(seeds=3, restarts=1, init="random")
    found = cluster_and_score(vectors, labels, 4, clusterer, seed=5, device="cpu")
    runs = [clusterer.fit(vectors, 4, seed, "cpu") for seed in clusterer.seed_list(5)]
    metrics = json.loads(json.dumps(found.metrics, allow_nan=False))
    assert metrics["seeds"] == clusterer.seed_list(5)
    assert (metrics["n"], metrics["k"], metrics["device"]) == (200, 4, "cpu")
    assert metrics["inertia"]["per_seed"] == [run.objective.value for run in runs]
    space = Space(vectors)
    assert metrics["silhouette"]["per_seed"] == [space.silhouette(run.assignments) for run in runs]
    for name in METRICS:
        each = [scores(labels, run.assignments)[name] for run in runs]
        assert metrics[name]["per_seed"] == each
        assert metrics[name]["mean"] == pytest.approx(np.mean(each))
        assert metrics[name]["std"] == pytest.approx(np.std(each, ddof=1))
    seed, lowest = min(zip(metrics["seeds"], runs, strict=True), key=lambda one: one[1].objective.value)
    assert metrics["lowest_inertia"]["seed"] == seed
    assert metrics["lowest_inertia"]["acc"] == scores(labels, lowest.assignments)["acc"]
    np.testing.assert_array_equal(found.assignments, lowest.assignments)


def test_without_labels_the_same_assignments_and_no_scores(points):
    vectors, labels = points
    clusterer = KMeans(seeds=3, restarts=2)
    blind = cluster_and_score(vectors, None, 4, clusterer, 5)
    seeing = cluster_and_score(vectors, labels, 4, clusterer, 5)
    np.testing.assert_array_equal(blind.assignments, seeing.assignments)
    assert not set(METRICS) & (blind.metrics.keys() | blind.metrics["lowest_inertia"].keys())
    for criterion in ("inertia", "silhouette"):
        assert blind.metrics[criterion] == seeing.metrics[criterion]
        assert blind.metrics["lowest_inertia"][criterion] == seeing.metrics["lowest_inertia"][criterion]


def test_the_lowest_inertia_is_told_apart_by_inertia_not_by_acc(points):
    """Labels that contradict the geometry change the scores and nothing else."""
    vectors, labels = points
    clusterer = KMeans(seeds=5, restarts=1, init="random", iterations=1)
    true, shuffled = (
        cluster_and_score(vectors, given, 4, clusterer, 5)
        for given in (labels, np.random.default_rng(1).permutation(labels))
    )
    np.testing.assert_array_equal(true.assignments, shuffled.assignments)
    assert true.metrics["lowest_inertia"]["seed"] == shuffled.metrics["lowest_inertia"]["seed"]
    assert true.metrics["acc"] != shuffled.metrics["acc"]


def test_no_k_and_no_classes(points):
    with pytest.raises(UserError, match=r"clusterer\.k is still to be chosen among \d+ candidates"):
        cluster_and_score(points[0], None, None, KMeans(), 0)


def test_equal_embeddings_are_warned_of(caplog):
    with caplog.at_level(logging.WARNING):
        found = cluster_and_score(np.ones((20, 3), np.float32), None, 4, KMeans(seeds=2, restarts=1), 0)
    assert found.metrics["empty_clusters"] == [3, 3]
    assert found.metrics["largest_share"] == [1, 1]
    assert found.metrics["silhouette"] == {"mean": None, "std": None, "per_seed": [None, None]}
    assert "3 of 4 clusters empty" in caplog.text


@pytest.mark.parametrize(("n", "told"), [(2000, []), (2001, ["of 2,000 of 2,001 images, the same each time"])])
def test_a_silhouette_of_a_sample_says_of_how_many_images(n, told):
    vectors = np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32)
    found = cluster_and_score(vectors, None, None, KMeans(k=3, seeds=1, restarts=1), 0)
    assert [text for name, text in _details(found, found, None) if name == "silhouette"] == told
