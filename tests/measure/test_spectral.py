"""Spectral clustering against scikit-learn's, a dense twin and known answers."""

from __future__ import annotations

import numpy as np
import pytest
import shapes
from scipy.sparse import csr_array
from sklearn.cluster import SpectralClustering
from sklearn.metrics import adjusted_rand_score

from itae.base.errors import UserError
from itae.measure.cluster import spectral
from itae.measure.cluster.graph import Graph, neighbour_graph
from itae.measure.cluster.kmeans import KMeans
from itae.measure.cluster.spectral import Spectral, smoothest
from itae.measure.scores import scores

pytest.importorskip("faiss")


def overlapping(n=240, k=4, seed=0):
    random = np.random.default_rng(seed)
    labels = np.arange(n) % k
    return (2 * np.eye(k, 6)[labels] + 0.6 * random.normal(size=(n, 6))).astype(np.float32), labels


def test_eigenvectors_are_of_the_random_walk():
    """A path of three: eigenvalues 1, 0 and -1, and vectors 1 1 1, 1 0 -1."""
    path = Graph(csr_array(np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32)), 1)
    found = smoothest(path, 2)
    np.testing.assert_allclose(np.abs(found[:, 0]), [1, 1, 1], atol=1e-6)
    np.testing.assert_allclose(found[:, 1] / found[0, 1], [1, 0, -1], atol=1e-6)


@pytest.mark.parametrize("small", [0, 5000], ids=["by iteration", "all at once"])
def test_they_satisfy_their_equation_and_are_the_largest(monkeypatch, small):
    monkeypatch.setattr(spectral, "_SMALL", small)
    graph = neighbour_graph(overlapping()[0], 10)
    found = smoothest(graph, 6).astype(float)
    links = graph.links.toarray().astype(float)
    walk = links / links.sum(1, keepdims=True)
    values = np.linalg.norm(walk @ found, axis=0) / np.linalg.norm(found, axis=0)
    np.testing.assert_allclose(walk @ found, found * values, atol=1e-3)
    np.testing.assert_allclose(values, np.sort(np.linalg.eigvals(walk).real)[::-1][:6], atol=1e-5)


def test_clusters_are_those_of_scikit_learn():
    points, _ = overlapping()
    graph = neighbour_graph(points, 10)
    theirs = SpectralClustering(4, affinity="precomputed", random_state=0, n_init=20).fit(graph.links.toarray()).labels_
    ours = Spectral(neighbours=10).fit(points, 4, 0)
    assert adjusted_rand_score(theirs, ours.assignments) > 0.97
    assert ours.objective.name == "spectral_inertia"


@pytest.mark.parametrize("small", [0, 5000], ids=["by iteration", "all at once"])
def test_rings_are_found_and_k_means_cuts_them(monkeypatch, small):
    monkeypatch.setattr(spectral, "_SMALL", small)
    points, labels = shapes.rings()
    found = Spectral(neighbours=10).fit(points, 2, 0)
    assert scores(labels, found.assignments)["acc"] == 1
    assert found.info["components"] == 2
    assert scores(labels, KMeans().fit(points, 2, 0).assignments)["acc"] < 0.6


def test_pieces_are_clusters_and_said(caplog):
    points, labels = shapes.blobs(k=5)
    found = Spectral(neighbours=8).fit(points, 5, 0)
    assert scores(labels, found.assignments)["acc"] == 1
    assert f"The graph of 8 neighbours has {found.info['components']} components" in caplog.text


def test_eigenvectors_are_found_once_for_all_seeds_and_anew_for_other_points(monkeypatch):
    counted = []
    whole = spectral.smoothest
    monkeypatch.setattr(spectral, "smoothest", lambda *words: (counted.append(1), whole(*words))[1])
    points, _ = overlapping()
    one = Spectral(seeds=3)
    parts = [one.fit(points, 4, seed) for seed in one.seed_list(0)]
    assert len(counted) == 1
    assert len({part.objective.value for part in parts}) <= 3
    one.fit(points + 1, 4, 0)
    one.fit(points + 1, 3, 0)
    assert len(counted) == 3
    points[0] += 9  # in place
    one.fit(points, 4, 0)
    assert len(counted) == 4
    assert one == Spectral(seeds=3), "what is kept is no setting"


def test_it_is_k_means_among_the_eigenvectors_with_as_many_restarts():
    points = np.random.default_rng(0).normal(size=(240, 6)).astype(np.float32)
    rows, inertias = smoothest(neighbour_graph(points, 10), 12), []
    for restarts in (1, 6):
        found = Spectral(neighbours=10, restarts=restarts).fit(points, 12, 5, "cpu")
        own = KMeans(restarts=restarts).fit(rows, 12, 5, "cpu")
        np.testing.assert_array_equal(found.assignments, own.assignments)
        assert (found.objective.name, found.objective.better) == ("spectral_inertia", "lower")
        assert found.objective.value == own.objective.value
        inertias.append(found.objective.value)
    assert inertias[1] < inertias[0]


def test_same_seed_same_clusters():
    points, _ = overlapping()
    one, other = (Spectral().fit(points, 4, 7) for _ in range(2))
    np.testing.assert_array_equal(one.assignments, other.assignments)
    assert len(Spectral().seed_list(1)) == 10
    assert Spectral(seeds=[4, 2]).seed_list(1) == [4, 2]


def test_directions_don_t_depend_on_lengths():
    points, labels = shapes.blobs()
    lengths = np.random.default_rng(1).uniform(0.1, 100, (len(points), 1)).astype(np.float32)
    found = Spectral(scale="unit").fit(points * lengths, 3, 0)
    assert scores(labels, found.assignments)["acc"] == 1


@pytest.mark.filterwarnings("error")
def test_equal_points_one_cluster_and_as_many_as_points():
    assert Spectral(neighbours=4).fit(np.ones((30, 3), np.float32), 3, 0).clusters <= 3
    points = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    assert Spectral(neighbours=8).fit(points, 1, 0).clusters == 1
    assert Spectral(neighbours=3).fit(points, 9, 0).clusters == 9


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"k": 0}, "clusterer.k=0"),
        ({"neighbours": 0}, "clusterer.neighbours=0"),
        ({"scale": "l2"}, "clusterer.scale='l2'"),
        ({"restarts": 0}, "clusterer.restarts=0"),
        ({"seeds": []}, "clusterer.seeds=[]"),
    ],
)
def test_settings_out_of_their_range(settings, said):
    with pytest.raises(UserError) as error:
        Spectral(**settings)
    assert said in str(error.value)


def test_what_can_t_be_is_told_before_any_work():
    with pytest.raises(UserError, match=r"clusterer.neighbours=30 is more than each of 30 images has"):
        Spectral().check(30, 3)
    with pytest.raises(UserError, match=r"clusterer.k=99 is more clusters than there are images"):
        Spectral(k=99).check(60, 3)
    points, _ = shapes.blobs()
    points[3] = np.nan
    with pytest.raises(UserError, match=r"1 of 180 embeddings are NaN"):
        Spectral().fit(points, 3, 0)


def test_eigenvectors_that_aren_t_found_are_a_sentence(monkeypatch):
    from scipy.sparse.linalg import ArpackNoConvergence

    def never(*_, **__):
        raise ArpackNoConvergence("no", np.empty(0), np.empty(0))

    monkeypatch.setattr(spectral, "_SMALL", 0)
    monkeypatch.setattr("scipy.sparse.linalg.eigsh", never)
    with pytest.raises(UserError, match=r"raise clusterer.neighbours, which links more of them"):
        Spectral().fit(overlapping()[0], 4, 0)
