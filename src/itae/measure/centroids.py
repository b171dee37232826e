"""How far each image lies from the middle of its cluster, whatever found the clusters.

Shapes: N images, E embedding width, K clusters that have an image.
"""

from __future__ import annotations

import numpy as np

from itae.measure.cluster.points import blocks


def centroids(vectors_NE: np.ndarray, clusters_N: np.ndarray, spherical: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return the clusters that have an image, ascending, int [K], and the means of their vectors, float64 [K, E].

    Noise (-1) is no cluster. If `spherical`, the vectors are brought to unit length, and so are their means.
    """
    present_K, own_N = np.unique(clusters_N, return_inverse=True)
    sums_KE = np.zeros((len(present_K), vectors_NE.shape[1]))
    for some in blocks(len(vectors_NE)):
        np.add.at(sums_KE, own_N[some], as_clustered(vectors_NE[some], spherical))
    means_KE = sums_KE / np.bincount(own_N)[:, None]
    if present_K[0] < 0:
        present_K, means_KE = present_K[1:], means_KE[1:]
    if spherical:
        means_KE = as_clustered(means_KE, spherical)
    return present_K, means_KE


def distances(vectors_NE: np.ndarray, clusters_N: np.ndarray, spherical: bool = False) -> np.ndarray:
    """Return each image's euclidean distance to the centroid of its own cluster, float64 [N]; NaN for noise.

    If `spherical`, that of the vectors of unit length to the centroid of unit length: the square root of twice 1 -
    cosine.
    """
    present_K, means_KE = centroids(vectors_NE, clusters_N, spherical)
    found_N = np.full(len(clusters_N), np.nan)
    for some in blocks(len(clusters_N)):
        inside = clusters_N[some] >= 0
        own = np.searchsorted(present_K, clusters_N[some][inside])
        away = as_clustered(vectors_NE[some][inside], spherical) - means_KE[own]
        found_N[some][inside] = np.linalg.norm(away, axis=1)
    return found_N


def as_clustered(vectors_NE: np.ndarray, spherical: bool) -> np.ndarray:
    """Return some vectors in float64, and of unit length if `spherical`; one of no length stays."""
    wide_NE = vectors_NE.astype(np.float64)
    if not spherical:
        return wide_NE
    length_N1 = np.linalg.norm(wide_NE, axis=1, keepdims=True)
    unit_NE: np.ndarray = wide_NE / np.where(length_N1 > 0, length_N1, 1)
    return unit_NE
