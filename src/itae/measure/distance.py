"""How far an edit moved each embedding."""

from __future__ import annotations

import numpy as np

_ROUNDING = 1e-12  # what a cosine distance of float32 vectors is off by


def cosine_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return 1 - cosine between the rows of two arrays [n, E], float64 [n]; 0 where they differ by rounding alone."""
    from sklearn.metrics.pairwise import paired_cosine_distances
    from sklearn.utils import gen_batches

    far = np.empty(len(a))
    for some in gen_batches(len(a), 4096):  # in one go it would take several copies of all embeddings
        x, y = a[some].astype(np.float64), b[some].astype(np.float64)
        far[some] = np.where((x == y).all(axis=1), 0.0, paired_cosine_distances(x, y))
    return np.where(far < _ROUNDING, 0.0, far)


def moved(far: np.ndarray) -> dict[str, float]:
    """Return how far an edit moved the embeddings, from each one's cosine distance [n]: mean, median, p95 and most."""
    quantile = {name: float(np.quantile(far, p)) for name, p in (("p50", 0.5), ("p95", 0.95), ("max", 1.0))}
    return {"mean": float(far.mean())} | quantile
