"""Mixtures of Gaussians against a slow twin, scikit-learn and known answers."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import reference
import shapes
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from itae.base.errors import UserError
from itae.measure.cluster.gmm import COVARIANCES, Gmm
from itae.measure.cluster.kmeans import KMeans
from itae.measure.cluster.numbered import drawn_seeds
from itae.measure.scores import scores

pytest.importorskip("faiss")


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_blobs_are_found_by_all(covariance):
    points, labels = shapes.blobs()
    found = Gmm(covariance=covariance).fit(points, 3, 0)
    assert scores(labels, found.assignments)["acc"] == 1
    assert found.info["converged"]


@pytest.mark.parametrize("covariance", ["full", "tied", "diag"])
def test_strips_side_by_side_are_found_and_k_means_cuts_across(covariance):
    """A variance along each axis is enough where the axes lie along the strips."""
    points, labels = shapes.strips()
    if covariance == "diag":
        points = points @ np.array([[0.6, 0.8], [-0.8, 0.6]], np.float32)
    found = Gmm(covariance=covariance, restarts=20).fit(points, 2, 0)
    assert scores(labels, found.assignments)["acc"] > 0.98
    assert scores(labels, KMeans().fit(points, 2, 0).assignments)["acc"] < 0.6


def test_likelihood_and_likeliest_are_those_of_the_formula():
    """The mixture is scikit-learn's own here, of the points as they are."""
    points = np.random.default_rng(0).normal(size=(120, 3)).astype(np.float32) * [1, 5, 2] + 40
    points = points.astype(np.float32)
    found = Gmm(covariance="full", reduce="none", restarts=1, tolerance=1e-9, iterations=500).fit(points, 3, 5)
    variance = float((points.astype(float) - points.mean(0, dtype=float)).var())
    theirs = GaussianMixture(3, reg_covar=1e-3 * variance, random_state=drawn_seeds(5, 1)[0], tol=1e-9, max_iter=500)
    theirs.fit(points.astype(float))
    likelihood, likeliest = reference.log_likelihood(points, theirs.means_, theirs.covariances_, theirs.weights_)
    assert found.objective.value == pytest.approx(likelihood, rel=1e-4)
    assert adjusted_rand_score(likeliest, found.assignments) == 1


def test_the_likeliest_restart_is_kept():
    points = np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32)
    found = Gmm(restarts=12).fit(points, 8, 5)
    assert found.objective.value > Gmm(restarts=1).fit(points, 8, 5).objective.value
    assert found.objective.better == "higher"
    wide = points.astype(float) - points.astype(float).mean(0)
    spread = wide.std()
    starts = ["kmeans", "k-means++"] * 6
    each = [Gmm()._once(wide / spread, 8, *one).lower_bound_ for one in zip(drawn_seeds(5, 12), starts, strict=True)]
    assert found.objective.value == pytest.approx(max(each) - 5 * np.log(spread), abs=1e-6)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_larger_embeddings_elsewhere_are_clustered_the_same(covariance):
    """What an edit may change is norms; `reg` is a share of the variance."""
    points = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)
    one, other = (Gmm(covariance=covariance).fit(x, 4, 3) for x in (points, 64 * points + np.float32(256)))
    assert adjusted_rand_score(one.assignments, other.assignments) == 1
    assert other.objective.value == pytest.approx(one.objective.value - 6 * np.log(64), abs=1e-3)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_equal_points_leave_components_empty(covariance):
    points = np.repeat(np.eye(3, dtype=np.float32), 20, axis=0)
    found = Gmm(covariance=covariance).fit(points, 6, 0)
    assert 1 <= found.clusters <= 6
    assert Gmm(covariance=covariance).fit(np.ones((20, 3), np.float32), 4, 0).clusters <= 4
    few = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
    assert Gmm(covariance=covariance).fit(few, 7, 0).clusters <= 7
    assert Gmm(covariance=covariance).fit(few, 1, 0).clusters == 1


def test_whole_covariances_of_more_dimensions_than_points():
    points, labels = shapes.blobs(each=30, width=120)
    for how in ("pca50", "none"):
        found = Gmm(covariance="full", reduce=how).fit(points, 3, 0)
        assert scores(labels, found.assignments)["acc"] == 1


def test_same_seed_same_clusters():
    points = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)
    one, other = (Gmm().fit(points, 5, 3) for _ in range(2))
    np.testing.assert_array_equal(one.assignments, other.assignments)
    assert len(Gmm().seed_list(0)) == 10
    assert Gmm(seeds=[3, 1]).seed_list(0) == [3, 1]


def test_too_few_iterations_are_said_once(caplog):
    points = np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32)
    with caplog.at_level(logging.WARNING):
        found = Gmm(iterations=1).fit(points, 8, 5)
    assert not found.info["converged"]
    assert caplog.text.count("still moved after 1 iterations; raise clusterer.iterations") == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"k": 0}, "clusterer.k=0"),
        ({"covariance": "diagonal"}, "Did you mean 'diag'?"),
        ({"reduce": "umap"}, "clusterer.reduce='umap' is not one of none, pca50"),
        ({"reg": 0}, "clusterer.reg=0 must be a number of mean variances above 0"),
        ({"scale": "l2"}, "clusterer.scale='l2'"),
        ({"restarts": 0}, "clusterer.restarts=0"),
        ({"iterations": 0}, "clusterer.iterations=0"),
        ({"tolerance": -1}, "clusterer.tolerance=-1"),
        ({"seeds": [1, 1]}, "each once"),
    ],
)
def test_settings_out_of_their_range(settings, said):
    with pytest.raises(UserError) as error:
        Gmm(**settings)
    assert said in str(error.value)


def test_what_can_t_be_is_a_sentence():
    with pytest.raises(UserError, match=r"needs two images or more, and there is 1"):
        Gmm(k=1).check(1, None)
    with pytest.raises(UserError, match=r"more clusters than there are images"):
        Gmm(k=9).check(8, None)
    points, _ = shapes.blobs()
    points[3] = np.nan
    with pytest.raises(UserError, match=r"1 of 180 embeddings are NaN"):
        Gmm().fit(points, 3, 0)


def test_a_gaussian_without_covariance_is_a_sentence(monkeypatch):
    def fails(*_):
        raise ValueError("some components have ill-defined empirical covariance (for instance)")

    monkeypatch.setattr(GaussianMixture, "fit", fails)
    with pytest.raises(UserError, match=r"has no covariance with clusterer.reg=0.001; raise it"):
        Gmm().fit(shapes.blobs()[0], 3, 0)
