"""What is so of every clusterer, or of all of a kind."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import shapes

from itae.base.errors import UserError
from itae.measure.cluster.clusterers import Agglomerative, Gmm, Hdbscan, KMeans, Spectral, Temi, Turtle

SCALED = (Agglomerative, Gmm, Hdbscan, Spectral, Temi, Turtle)
SEEDED = (Gmm, Hdbscan, KMeans, Spectral, Temi, Turtle)
with_umap = pytest.mark.skipif(importlib.util.find_spec("umap") is None, reason="could not import umap")
"""Not by importing it: that alone takes longer than a quick test may."""


@pytest.mark.parametrize("kind", SCALED)
def test_what_clusters_directions_says_so_to_the_page(kind):
    assert kind(scale="unit").spherical
    assert not kind(scale="none").spherical


@pytest.mark.parametrize("kind", SEEDED)
@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ([[1], [2]], r"A seed in clusterer.seeds=\[1\] must be a whole number"),
        ([2**63], f"A seed in clusterer.seeds={2**63} must be a whole number of at least 0 and at most"),
        ([1.0], "A seed in clusterer.seeds=1.0 must be"),
        ([3, 3], "must list one seed or more, each once"),
        ([], "must list one seed or more"),
        ("3", "clusterer.seeds='3' must be a whole number"),
        (0, "clusterer.seeds=0 must be a whole number"),
    ],
)
def test_what_is_no_seed_is_a_sentence(kind, seeds, said):
    with pytest.raises(UserError, match=said):
        kind(seeds=seeds)


@pytest.mark.parametrize(
    "clusterer",
    [Agglomerative(1, neighbours=1), Spectral(1, neighbours=1), Temi(1, neighbours=1), Hdbscan(2)],
    ids=lambda one: type(one).__name__,
)
def test_of_a_single_image_nobody_is_told_to_set_what_can_t_be_set(clusterer):
    with pytest.raises(UserError, match=r"\(1\); take more|of 1 images has; take more"):
        clusterer.check(1, None)


@with_umap
@pytest.mark.slow
def test_umap_takes_what_is_narrower_than_its_own_space_and_what_is_all_equal():
    """UMAP is compiled."""
    points, _ = shapes.blobs(each=10)
    for width in (1, 3, 8):
        found = Hdbscan(2, reduce="umap").fit(points[:, :width], seed=1)
        assert found.clusters > 1, width
        assert (Hdbscan(2, reduce="umap").fit(np.ones((12, width), np.float32), seed=1).assignments == -1).all(), width


@with_umap
def test_umap_of_few_images_is_refused_with_the_whole_word():
    with pytest.raises(UserError, match=r"needs 10 images, and there are 9; set clusterer.reduce=none"):
        Hdbscan(2, reduce="umap").check(9, None)


@with_umap
def test_a_seed_that_umap_can_t_take_is_told_before():
    with pytest.raises(UserError, match=r"A seed in clusterer.seeds=4294967296 must be .* at most 4,294,967,295"):
        Hdbscan(reduce="umap", seeds=[2**32])
