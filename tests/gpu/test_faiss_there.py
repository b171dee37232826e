"""FAISS on the device: k-means as good as scikit-learn's, and the exact neighbours."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from sklearn.cluster import KMeans as Sklearn

from itae.measure.cluster.kmeans import KMeans
from itae.measure.faiss_backend import load_faiss, pick_gpu
from itae.measure.knn import neighbours


@pytest.fixture
def there(device) -> str:
    """Return the device's name, or skip where this FAISS has no such GPU."""
    if device.type == "cuda" and pick_gpu(load_faiss(), "cuda") is None:
        pytest.skip("this faiss has no GPU: pip install faiss-gpu, as in itae[gpu]")
    return device.type


def mixture(n=2000, k=10, width=64, spread=1.0, seed=0):
    draw = np.random.default_rng(seed)
    centres = draw.normal(0, 1, (k, width))
    return (centres[draw.integers(0, k, n)] + draw.normal(0, spread, (n, width))).astype(np.float32)


@pytest.mark.parametrize("spread", [0.3, 1.5], ids=["apart", "mixed"])
@pytest.mark.parametrize("k", [1, 10, 40])
def test_inertia_is_within_a_percent_of_scikit_learns(k, spread, there):
    vectors = mixture(spread=spread)
    fitted = KMeans(restarts=30).fit(vectors, k, 0, there)
    assert fitted.device == ("cuda:0" if there == "cuda" else "cpu")
    theirs = Sklearn(k, n_init=10, max_iter=100, random_state=0).fit(vectors).inertia_
    assert fitted.objective.value <= 1.01 * theirs
    assert len(np.unique(fitted.assignments)) == k


@pytest.mark.parametrize("init", ["k-means++", "afk-mc2", "random"])
def test_every_start_ends_within_a_percent(init, there):
    vectors = mixture(spread=0.5)
    value = KMeans(restarts=10, init=init).fit(vectors, 10, 0, there).objective.value
    assert value <= 1.01 * KMeans(restarts=10).fit(vectors, 10, 1, "cpu").objective.value


def test_spherical_clusters_are_by_cosine(there):
    vectors = mixture(spread=0.3) * np.random.default_rng(1).uniform(0.1, 10, (2000, 1)).astype(np.float32)
    fitted = KMeans(restarts=5, spherical=True).fit(vectors, 10, 0, there)
    np.testing.assert_allclose(np.linalg.norm(fitted.centroids, axis=1), 1, atol=1e-4)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    own = (unit @ fitted.centroids.T)[np.arange(2000), fitted.assignments]
    assert fitted.objective.value == pytest.approx(float((1 - own).sum()), rel=1e-3)
    np.testing.assert_allclose(own, (unit @ fitted.centroids.T).max(axis=1), atol=1e-4)


def test_points_that_are_alike_or_as_many_as_clusters(there):
    vectors = np.repeat(np.eye(4, 8, dtype=np.float32) * 5, 3, axis=0)
    assert KMeans().fit(vectors, 4, 0, there).objective.value == pytest.approx(0, abs=1e-3)
    assert KMeans(restarts=2).fit(vectors[::3], 4, 0, there).objective.value == pytest.approx(0, abs=1e-3)


def test_the_same_seed_gives_the_same_inertia(there):
    a, b = (KMeans(restarts=3).fit(mixture(spread=0.5), 10, 7, there).objective.value for _ in range(2))
    assert a == pytest.approx(b, rel=1e-3)


@pytest.mark.parametrize("k", [1, 20])
def test_neighbours_are_the_nearest_by_cosine(k, there):
    vectors = mixture(300, spread=1.5)
    groups = np.arange(300)
    groups[::7] = 0  # pictures of the same bytes
    rows, similarities = neighbours(vectors, k, there, groups)
    assert (groups[rows] != groups[:, None]).all()
    for mine, theirs in zip(similarities, reference.nearest_others(vectors.astype(np.float64), k, groups), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-4)


def test_a_row_of_zeros_and_more_neighbours_than_others(there):
    vectors = np.concatenate([np.zeros((1, 16), np.float32), mixture(5, width=16)])
    rows, similarities = neighbours(vectors, 50, there)
    assert rows.shape == (6, 5)
    np.testing.assert_allclose(similarities[0], 0, atol=1e-6)
    assert sorted(rows[0]) == [1, 2, 3, 4, 5]
