"""The tree of mutual reachability, held against all pairs."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from itae.measure.cluster.reach import reachability_tree

pytest.importorskip("faiss")


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 40), st.integers(1, 5), st.integers(1, 12), st.integers(0, 2**31), st.booleans())
def test_the_tree_weighs_what_that_of_all_pairs_does(n, width, around, seed, whole):
    """Whole numbers have many equal distances, and points on one another."""
    random = np.random.default_rng(seed)
    points = random.integers(0, 4, (n, width)) if whole else random.normal(size=(n, width))
    points, around = points.astype(np.float32), min(around, n)
    tree = reachability_tree(points, around)
    assert tree.nnz == n - 1
    assert connected_components(tree, directed=False)[0] == 1
    expected = reference.reachability_weights(points, around)
    assume(expected[-1] > 0)  # of equal points see below
    np.testing.assert_allclose(np.sort(tree.data), expected, rtol=1e-5, atol=1e-5)


def test_far_from_the_origin_nothing_is_lost():
    points = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
    near, far = (np.sort(reachability_tree(points + shift, 5).data) for shift in (np.float32(0), np.float32(1024)))
    np.testing.assert_allclose(near, far, rtol=1e-3)


def test_equal_points_are_apart_by_more_than_nothing():
    """0 is no edge in a sparse graph."""
    tree = reachability_tree(np.ones((9, 3), np.float32), 3)
    assert tree.nnz == 8
    assert (tree.data > 0).all()
