"""The clusterers that can be chosen, wherever they are written: this is the module that ``itae.cluster`` stands for."""

from __future__ import annotations

from itae.measure.cluster.kmeans import KMeans

__all__ = ["KMeans"]
