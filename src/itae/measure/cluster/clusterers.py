"""The clusterers that can be chosen, wherever they are written: this is the module that ``itae.cluster`` stands for."""

from __future__ import annotations

from itae.measure.cluster.agglomerative import Agglomerative
from itae.measure.cluster.gmm import Gmm
from itae.measure.cluster.hdbscan import Hdbscan
from itae.measure.cluster.kmeans import KMeans
from itae.measure.cluster.spectral import Spectral
from itae.measure.cluster.temi import Temi
from itae.measure.cluster.turtle import Turtle

__all__ = ["Agglomerative", "Gmm", "Hdbscan", "KMeans", "Spectral", "Temi", "Turtle"]
