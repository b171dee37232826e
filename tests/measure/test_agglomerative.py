"""Agglomerative clustering against a slow twin, scipy and known answers."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import reference
import shapes
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.metrics import adjusted_rand_score

from itae.base.errors import UserError
from itae.measure.cluster.agglomerative import LINKAGES, Agglomerative
from itae.measure.cluster.clustered import largest_first
from itae.measure.cluster.graph import neighbour_graph
from itae.measure.cluster.kmeans import KMeans
from itae.measure.scores import scores

pytest.importorskip("faiss")


def same(one, other):
    return adjusted_rand_score(one, other) == 1


def test_four_points_merge_at_1_2_and_4():
    """0, 1, 3, 7 by single linkage."""
    points = np.array([[0], [1], [3], [7]], np.float32)
    one = Agglomerative(linkage="single", neighbours=None)
    found = {k: one.fit(points, k) for k in (1, 2, 3, 4)}
    assert [found[k].info["last_merge"] for k in (4, 3, 2, 1)] == [0, 1, 2, 4]
    assert [found[k].info["next_merge"] for k in (4, 3, 2, 1)] == [1, 2, 4, None]
    assert [found[k].assignments.tolist() for k in (4, 3, 2, 1)] == [
        [0, 1, 2, 3], [0, 0, 1, 2], [0, 0, 0, 1], [0, 0, 0, 0]
    ]  # fmt: skip
    by_distance = [
        Agglomerative(distance=d, linkage="single", neighbours=None).fit(points, None) for d in (0.5, 2.5, 9)
    ]
    assert [each.clusters for each in by_distance] == [4, 2, 1]


@pytest.mark.parametrize("kind", LINKAGES)
def test_without_a_graph_it_is_scipy_s_and_the_slow_twin_s(kind):
    points = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32)
    tree = linkage(points.astype(float), kind)
    for k in (1, 2, 7, 60, 200):
        found = Agglomerative(linkage=kind, neighbours=None).fit(points, k)
        assert found.clusters == k
        assert same(found.assignments, fcluster(tree, k, "maxclust"))
    few = points[:30]
    slow, merges = reference.agglomerated(few, 4, kind)
    found = Agglomerative(linkage=kind, neighbours=None).fit(few, 4)
    assert same(found.assignments, slow)
    assert found.info["last_merge"] == pytest.approx(merges[-1], rel=1e-5)
    cut = (merges[-1] + found.info["next_merge"]) / 2
    assert same(Agglomerative(distance=cut, linkage=kind, neighbours=None).fit(few, None).assignments, slow)


@pytest.mark.parametrize("kind", LINKAGES)
@pytest.mark.filterwarnings("error")
def test_a_graph_of_all_neighbours_is_none(kind):
    points = np.random.default_rng(1).normal(size=(60, 5)).astype(np.float32)
    dense, graph = (Agglomerative(linkage=kind, neighbours=m).fit(points, 6) for m in (None, 59))
    assert same(dense.assignments, graph.assignments)


def test_only_what_is_linked_is_merged():
    points = np.random.default_rng(3).normal(size=(60, 3)).astype(np.float32)
    links = neighbour_graph(points, 4).links.toarray()
    slow, merges = reference.agglomerated(points, 6, "ward", links)
    found = Agglomerative(neighbours=4).fit(points, 6)
    assert same(found.assignments, slow)
    assert found.info["last_merge"] == pytest.approx(merges[-1], rel=1e-5)
    assert not same(Agglomerative(neighbours=None).fit(points, 6).assignments, slow), "without links it is another one"


@pytest.mark.parametrize("neighbours", [None, 6])
@pytest.mark.parametrize("kind", LINKAGES)
def test_permuted_points_are_permuted_clusters(kind, neighbours):
    points = np.random.default_rng(2).normal(size=(150, 4)).astype(np.float32)
    order = np.random.default_rng(3).permutation(150)
    one = Agglomerative(linkage=kind, neighbours=neighbours)
    assert same(one.fit(points, 5).assignments[order], one.fit(points[order], 5).assignments)


def test_a_ring_in_a_ring_is_found_along_neighbours_and_not_by_k_means():
    points, labels = shapes.rings()
    assert scores(labels, Agglomerative(linkage="single").fit(points, 2).assignments)["acc"] == 1
    assert scores(labels, KMeans().fit(points, 2, 0).assignments)["acc"] < 0.6


def test_a_graph_in_pieces_is_said_and_joined(caplog):
    points, labels = shapes.blobs()
    with caplog.at_level(logging.WARNING):
        found = Agglomerative(neighbours=5).fit(points, 3)
    assert scores(labels, found.assignments)["acc"] == 1
    assert found.info["components"] >= 3
    assert "they are joined by the nearest images" in caplog.text
    assert Agglomerative(neighbours=5).fit(points, 2).clusters == 2, "fewer clusters than pieces"


def test_means_in_a_graph_are_warned_of(caplog):
    points = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    with caplog.at_level(logging.WARNING):
        Agglomerative().fit(points, 3)
    assert "linkage" not in caplog.text
    with caplog.at_level(logging.WARNING):
        Agglomerative(linkage="average").fit(points, 3)
    assert "clusterer.linkage=average along a graph" in caplog.text


def test_as_far_apart_as_the_distance_is_merged():
    points = np.array([[0], [1], [3], [7]], np.float32)
    for distance, count in ((0.5, 4), (1, 3), (1.5, 3), (2, 2), (4, 1)):
        found = Agglomerative(distance=distance, linkage="single", neighbours=None).fit(points, None)
        assert found.clusters == count, distance
    twins = Agglomerative(distance=0, neighbours=None).fit(np.repeat(points, 2, 0), None)
    assert twins.clusters == 4


def test_directions_don_t_depend_on_lengths():
    points, labels = shapes.blobs()
    lengths = np.random.default_rng(1).uniform(0.1, 100, (len(points), 1)).astype(np.float32)
    one = Agglomerative(scale="unit")
    assert one.spherical
    assert same(one.fit(points * lengths, 3).assignments, labels)
    assert not same(Agglomerative().fit(points * lengths, 3).assignments, labels)


def test_the_largest_is_first_and_noise_stays():
    np.testing.assert_array_equal(largest_first(np.array([5, -1, 2, 2, 7, 7, 7])), [2, -1, 1, 1, 0, 0, 0])
    np.testing.assert_array_equal(largest_first(np.array([3, 1, 3, 1])), [0, 1, 0, 1])
    np.testing.assert_array_equal(largest_first(np.full(3, -1)), [-1, -1, -1])
    sizes = np.bincount(Agglomerative().fit(shapes.rings()[0], 9).assignments)
    assert (np.diff(sizes) <= 0).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", LINKAGES)
@pytest.mark.parametrize("neighbours", [None, 4])
def test_equal_points_and_as_many_clusters_as_points(kind, neighbours):
    one = Agglomerative(linkage=kind, neighbours=neighbours)
    assert one.fit(np.ones((20, 3), np.float32), 4).clusters == 4
    points = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    assert one.fit(points, 9).assignments.tolist() == list(range(9))
    assert one.fit(points, 1).assignments.tolist() == [0] * 9


def test_no_seeds_and_k_only_without_a_distance():
    assert Agglomerative().seed_list(3) is None
    assert Agglomerative().check(100, 10) == 10
    assert Agglomerative(k=4).check(100, None) == 4
    assert Agglomerative(distance=0.0).check(100, 10) is None
    assert Agglomerative(distance=0.0).to_choose(100, None) is None, "of images without labels, too"
    assert Agglomerative().to_choose(100, None)[0] == 2


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"k": 0}, "clusterer.k=0"),
        ({"distance": -1.0}, "clusterer.distance=-1.0"),
        ({"distance": 2.0, "k": 3}, "clusterer.distance=2.0 finds the number of clusters and clusterer.k=3 gives it"),
        ({"distance": 2.0, "candidates": [3, 4]}, "clusterer.candidates is what it would be chosen among"),
        ({"linkage": "wards"}, "Did you mean 'ward'?"),
        ({"neighbours": 0}, "clusterer.neighbours=0 must be a whole number of at least 1, or null"),
        ({"scale": "one"}, "clusterer.scale='one' is not one of none, unit"),
    ],
)
def test_settings_out_of_their_range(settings, said):
    with pytest.raises(UserError) as error:
        Agglomerative(**settings)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("settings", "n", "said"),
    [
        ({}, 30, "clusterer.neighbours=30 is more than each of 30 images has"),
        ({"neighbours": None}, 50_000, "takes 10 GB; it is for 20000 images at most: set clusterer.neighbours=30"),
        ({"neighbours": None, "k": 1}, 1, "merges two images or more, and there is 1"),
        ({"k": 90}, 60, "clusterer.k=90 is more clusters than there are images (60)"),
    ],
)
def test_what_can_t_be_is_told_before_any_work(settings, n, said):
    with pytest.raises(UserError) as error:
        Agglomerative(**settings).check(n, 5)
    assert said in str(error.value)


def test_bad_embeddings_are_named():
    points = shapes.blobs()[0]
    points[3] = np.nan
    with pytest.raises(UserError, match=r"1 of 180 embeddings are NaN"):
        Agglomerative().fit(points, 3)
    points[3] = 0
    with pytest.raises(UserError, match=r"of zero length, which has no direction for clusterer.scale=unit"):
        Agglomerative(scale="unit").fit(points, 3)


def test_too_little_memory_is_told(monkeypatch):
    def full(*_):
        raise MemoryError

    monkeypatch.setattr("itae.measure.cluster.agglomerative.neighbour_graph", full)
    with pytest.raises(UserError, match=r"too little memory to merge 180 vectors; lower clusterer.neighbours"):
        Agglomerative().fit(shapes.blobs()[0], 3)
