"""The graph of nearest neighbours: exact, symmetric, and of one piece."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import shapes
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist

from itae.base.errors import UserError
from itae.measure.cluster import graph
from itae.measure.cluster.graph import check_neighbours, neighbour_graph

pytest.importorskip("faiss")


def slow_links(points, k):
    """Links by a sort of all distances, for points without ties."""
    far = cdist(points.astype(float), points.astype(float))
    np.fill_diagonal(far, -1)
    links = np.zeros(far.shape)
    for i, row in enumerate(far):
        links[i, np.argsort(row)[1 : k + 1]] = 1
    return np.maximum(links, links.T)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 50), st.integers(1, 49), st.integers(0, 2**31))
def test_links_are_those_of_all_distances(n, k, seed):
    points = np.random.default_rng(seed).normal(size=(n, 4)).astype(np.float32)
    k = min(k, n - 1)
    found, expected = neighbour_graph(points, k), slow_links(points, k)
    pieces = connected_components(expected)[0]
    assert found.components == pieces
    links = found.links.toarray()
    assert connected_components(links)[0] == 1
    np.testing.assert_array_equal(links, links.T)
    extra = links - expected
    assert extra.min() == 0, "a link is missing"
    assert extra.sum() == 2 * (pieces - 1), "one bridge a component more"


def test_far_from_the_origin_no_distance_is_lost():
    """As many numbers as FAISS multiplies matrices of."""
    far = np.random.default_rng(0).normal(size=(1400, 100)).astype(np.float32) + np.float32(512)
    found, expected = neighbour_graph(far, 3).links.toarray(), slow_links(far, 3)
    assert (found != expected).sum() <= 4, "but for near ties"


def test_blocks_change_nothing(monkeypatch):
    points = np.random.default_rng(0).normal(size=(300, 6)).astype(np.float32)
    whole = neighbour_graph(points, 5).links.toarray()
    monkeypatch.setattr(graph, "BLOCK", 7)
    np.testing.assert_array_equal(neighbour_graph(points, 5).links.toarray(), whole)


def test_components_are_joined_by_their_nearest_points(caplog):
    points = np.array([[0, 0], [1, 0], [2, 0], [9, 0], [10, 0], [11, 0], [30, 0], [31, 0]], np.float32)
    with caplog.at_level(logging.WARNING):
        found = neighbour_graph(points, 1)
    assert found.components == 3
    assert found.links[2, 3] == 1
    assert found.links[5, 6] == 1
    assert found.links.sum() == 2 * 7
    assert "1 neighbours has 3 components (the largest of 3 of 8 images)" in caplog.text


def test_components_with_one_mean_are_joined():
    """A square of 24 points around three in its middle."""
    side = [(x, y) for x in range(-3, 4) for y in range(-3, 4) if max(abs(x), abs(y)) == 3]
    found = neighbour_graph(np.array([*side, *[(0, 0)] * 3], np.float32), 2)
    assert found.components == 2
    assert connected_components(found.links)[0] == 1


def test_bridges_are_found_block_by_block(monkeypatch):
    points, labels = shapes.blobs(each=40)
    whole = neighbour_graph(points, 5).links.toarray()
    monkeypatch.setattr(graph, "BLOCK", 11)
    np.testing.assert_array_equal(neighbour_graph(points, 5).links.toarray(), whole)
    assert (whole[labels == 0][:, labels == 1]).sum() <= 1


def test_equal_points_are_one_piece_whatever_their_order():
    found = neighbour_graph(np.ones((50, 3), np.float32), 4)
    assert connected_components(found.links)[0] == 1
    assert found.links.diagonal().sum() == 0, "none is its own neighbour"
    twice = neighbour_graph(np.repeat(np.eye(3, dtype=np.float32), 10, axis=0), 4)
    assert twice.components == 3


def test_too_many_neighbours_are_a_sentence():
    check_neighbours(9, 10)
    with pytest.raises(UserError, match=r"clusterer.neighbours=10 is more than each of 10 images has; .* at most 9"):
        check_neighbours(10, 10)
