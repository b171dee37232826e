"""The clusterers that can be chosen, and what one of one's own is made of, wherever they are written.

This is the module that ``itae.cluster`` stands for.
"""

from __future__ import annotations

from itae.measure.cluster.agglomerative import Agglomerative
from itae.measure.cluster.clustered import Objective, Partition
from itae.measure.cluster.gmm import Gmm
from itae.measure.cluster.hdbscan import Hdbscan
from itae.measure.cluster.kmeans import KMeans
from itae.measure.cluster.numbered import Numbered, Seeded
from itae.measure.cluster.spectral import Spectral
from itae.measure.cluster.temi import Temi
from itae.measure.cluster.turtle import Turtle

__all__ = [
    "Agglomerative", "Gmm", "Hdbscan", "KMeans", "Numbered", "Objective", "Partition", "Seeded", "Spectral", "Temi",
    "Turtle",
]  # fmt: skip
