"""HDBSCAN against scikit-learn's own and known answers."""

from __future__ import annotations

import importlib.util
import logging

import numpy as np
import pytest
import shapes
from sklearn.cluster import HDBSCAN
from sklearn.metrics import adjusted_rand_score

from itae.base.errors import UserError
from itae.measure.cluster.hdbscan import Hdbscan
from itae.measure.cluster.kmeans import KMeans
from itae.measure.cluster.reduce import reduced
from itae.measure.scores import acc_clustered, scores

pytest.importorskip("faiss")


def blobs_in_noise(seed=0):
    """180 points in three blobs and 40 anywhere, labelled 3; scarcely any of those lies in a blob."""
    points, labels = shapes.blobs(width=4, seed=seed)
    anywhere = np.random.default_rng(seed + 1).uniform(-3, 7, (40, 4)).astype(np.float32)
    return np.concatenate([points, anywhere]), np.concatenate([labels, np.full(40, 3)])


def test_three_blobs_in_noise_are_three_clusters_and_noise():
    points, labels = blobs_in_noise()
    found = Hdbscan(reduce="none").fit(points)
    assert found.clusters == 3
    planted = labels == 3
    assert (found.assignments[planted] < 0).mean() >= 0.75, (
        "recall of noise; .8 was seen: some of it lies beside a blob"
    )
    assert (found.assignments[~planted] < 0).mean() < 0.1
    assert acc_clustered(labels, found.assignments) > 0.95
    assert scores(labels, found.assignments)["acc"] <= 180 / 220, "who is called noise is wrong"
    assert 0 < found.info["mean_probability"] <= 1


@pytest.mark.parametrize(("least", "around"), [(15, None), (5, None), (10, 3), (4, 12)])
@pytest.mark.parametrize("shift", [0, 500])
def test_labels_are_those_of_scikit_learn(least, around, shift):
    """Three blobs of different density in noise; scikit-learn's own way, through all distances in float64."""
    random = np.random.default_rng(1)
    parts = [random.normal(size=(80, 4)) * s + m for s, m in ((0.3, 0), (0.5, 4), (1, 9))]
    points = np.concatenate([*parts, random.uniform(-5, 14, (60, 4))]).astype(np.float32) + np.float32(shift)
    expected = HDBSCAN(least, min_samples=around, algorithm="brute", copy=True).fit(points.astype(float)).labels_
    found = Hdbscan(least, around, reduce="none").fit(points).assignments
    np.testing.assert_array_equal(found < 0, expected < 0)
    assert adjusted_rand_score(expected, found) == 1
    assert (np.diff(np.bincount(found[found >= 0])) <= 0).all()


def test_rings_are_found_and_k_means_cuts_them():
    points, labels = shapes.rings()
    found = Hdbscan(reduce="none").fit(points)
    assert (found.clusters, scores(labels, found.assignments)["acc"]) == (2, 1.0)
    assert scores(labels, KMeans().fit(points, 2, 0).assignments)["acc"] < 0.6


def test_more_than_half_of_all_for_a_cluster_leaves_none(caplog):
    points, _ = shapes.blobs()
    with caplog.at_level(logging.WARNING):
        found = Hdbscan(91).fit(points)
    assert (found.assignments == -1).all()
    assert (found.clusters, found.noise_share, found.largest_share) == (0, 1.0, 0.0)
    assert found.info == {"mean_probability": None}
    assert "found no cluster of 91 images or more among 180: all are noise; lower clusterer.min_cl" in caplog.text


@pytest.mark.parametrize("least", [2, 5])
def test_equal_points_are_no_clusters_and_pairs_of_them_are(least):
    assert (Hdbscan(least).fit(np.ones((20, 3), np.float32)).assignments == -1).all()
    points = np.repeat(np.random.default_rng(0).normal(size=(6, 3)), 5, axis=0).astype(np.float32)
    assert Hdbscan(least).fit(points).clusters == 6


def test_the_same_points_give_the_same_and_permuted_ones_the_permuted():
    points, _ = blobs_in_noise()
    found = Hdbscan().fit(points).assignments
    np.testing.assert_array_equal(found, Hdbscan().fit(points).assignments)
    order = np.random.default_rng(3).permutation(len(points))
    assert adjusted_rand_score(found[order], Hdbscan().fit(points[order]).assignments) > 0.95, "but for ties"
    assert Hdbscan().seed_list(5) is None


def test_how_sure_is_told_of_what_is_in_a_cluster():
    points, _ = blobs_in_noise()
    least = 15
    found = Hdbscan(least, reduce="none").fit(points)
    model = HDBSCAN(least, min_samples=least, copy=True).fit(points)
    sure = model.probabilities_[model.labels_ >= 0].mean()
    assert found.noise_share > 0.1
    assert found.info["mean_probability"] == pytest.approx(sure, abs=0.02)
    assert sure > model.probabilities_.mean() + 0.1


def test_directions_don_t_depend_on_lengths():
    points, labels = shapes.blobs()
    lengths = np.random.default_rng(1).choice([0.25, 1, 4], (len(points), 1)).astype(np.float32)
    one, other = (Hdbscan(scale="unit").fit(rows).assignments for rows in (points, points * lengths))
    np.testing.assert_array_equal(one, other)
    assert scores(labels, one)["acc"] > 0.9


def test_principal_components_first():
    """Blobs in 400 dimensions of which 397 are noise."""
    points, labels = shapes.blobs(width=400, spread=0.3)
    assert Hdbscan().fit(points).clusters == 3
    assert scores(labels, Hdbscan().fit(points).assignments)["acc"] > 0.95


def test_the_sign_that_a_library_gives_a_component_means_nothing(monkeypatch):
    points, _ = shapes.blobs(width=60)
    found, eigh = reduced(points, "pca50"), np.linalg.eigh
    monkeypatch.setattr(np.linalg, "eigh", lambda matrix: (eigh(matrix)[0], -eigh(matrix)[1]))
    np.testing.assert_array_equal(reduced(points, "pca50"), found)
    assert found.shape == (180, 50)


@pytest.mark.slow
def test_umap_first_has_seeds_that_are_kept():
    """Compiling UMAP takes most of the time."""
    pytest.importorskip("umap")
    points, labels = shapes.blobs()
    one = Hdbscan(reduce="umap", seeds=[3, 4])
    assert one.seed_list(0) == [3, 4]
    assert len(Hdbscan(reduce="umap").seed_list(0)) == 3
    found = one.fit(points, None, 3)
    assert scores(labels, found.assignments)["acc"] > 0.9
    np.testing.assert_array_equal(found.assignments, one.fit(points, None, 3).assignments)
    assert Hdbscan(10, reduce="umap").fit(points[:10], None, 3).noise_share == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"min_cluster_size": 1}, "clusterer.min_cluster_size=1 must be a whole number of at least 2"),
        ({"min_samples": 0}, "clusterer.min_samples=0 must be a whole number of at least 1, or null"),
        ({"reduce": "pca"}, "Did you mean 'pca50'?"),
        ({"scale": "l2"}, "clusterer.scale='l2' is not one of none, unit"),
        ({"seeds": 0}, "clusterer.seeds=0"),
    ],
)
def test_settings_out_of_their_range(settings, said):
    with pytest.raises(UserError) as error:
        Hdbscan(**settings)
    assert said in str(error.value)


def test_umap_that_is_missing_is_told_before_any_work(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    Hdbscan()
    with pytest.raises(UserError, match=r"clusterer.reduce=umap needs umap, .*pip install 'itae\[umap\]'"):
        Hdbscan(reduce="umap")


def test_no_faiss_is_told_before_any_work(monkeypatch):
    def missing():
        raise UserError("Clustering needs faiss")

    monkeypatch.setattr("itae.measure.cluster.hdbscan.require_faiss", missing)
    with pytest.raises(UserError, match="Clustering needs faiss"):
        Hdbscan().check(100, None)


@pytest.mark.parametrize(
    ("settings", "n", "said"),
    [
        ({"min_cluster_size": 50}, 49, "clusterer.min_cluster_size=50 is more images than there are (49)"),
        ({"min_samples": 50}, 49, "clusterer.min_samples=50 is more images than there are (49)"),
    ],
)
def test_what_can_t_be_is_told_before_any_work(settings, n, said):
    with pytest.raises(UserError) as error:
        Hdbscan(**settings).check(n, None)
    assert said in str(error.value)
    assert Hdbscan(**settings).check(n + 1, None) is None


def test_bad_embeddings_are_named():
    points, _ = shapes.blobs()
    points[3] = np.inf
    with pytest.raises(UserError, match=r"1 of 180 embeddings are NaN, infinite"):
        Hdbscan().fit(points)
    points[3] = 0
    with pytest.raises(UserError, match=r"of zero length"):
        Hdbscan(scale="unit").fit(points)


def test_too_little_memory_is_told(monkeypatch):
    def full(*_):
        raise MemoryError

    monkeypatch.setattr("itae.measure.cluster.hdbscan.reachability_tree", full)
    with pytest.raises(UserError, match=r"too little memory for HDBSCAN of 180 vectors; set clusterer.reduce=pca50"):
        Hdbscan().fit(shapes.blobs()[0])
