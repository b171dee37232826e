"""What is so of every clusterer, or of all of a kind."""

from __future__ import annotations

import pytest

from itae.measure.cluster.clusterers import Agglomerative, Gmm, Hdbscan, KMeans, Spectral, Temi, Turtle

SCALED = (Agglomerative, Gmm, Hdbscan, Spectral, Temi, Turtle)
SEEDED = (Gmm, Hdbscan, KMeans, Spectral, Temi, Turtle)


@pytest.mark.parametrize("kind", SCALED)
def test_what_clusters_directions_says_so_to_the_page(kind):
    assert kind(scale="unit").spherical
    assert not kind(scale="none").spherical
