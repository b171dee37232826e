"""Fewer dimensions before clustering: densities and covariances mean little in hundreds of them.

What is fitted is fitted on one side's embeddings alone: it is a part of the clustering, not of the embeddings.

Shapes: N points, E embedding width.
"""

from __future__ import annotations

import importlib.util
import warnings

import numpy as np

from itae.base.errors import UserError

REDUCTIONS = ("none", "pca50", "umap")
COMPONENTS = 50  # principal ones
LARGEST_SEED = 2**32 - 1
"""That UMAP takes."""
AXES, AROUND = 5, 15  # of UMAP: dimensions, and neighbours that each point is held against


def require_umap(word: str) -> None:
    """Raise a `UserError` if UMAP isn't installed; `word` is what asks for it."""
    if importlib.util.find_spec("umap") is None:
        raise UserError(f"{word} needs umap, which is not installed: pip install 'itae[umap]'")


def reduced(vectors_NE: np.ndarray, how: str, seed: int | None = None) -> np.ndarray:
    """Return the points in fewer dimensions.

    Parameters
    ----------
    vectors_NE
        float32 [N, E], finite.
    how
        ``none``: as they are. ``pca50``: the first 50 principal components, unscaled, by the eigenvectors of the
        covariance in float64, so that the same points always give the same; all that there are where the width or the
        number of points is less. ``umap``: UMAP to 5 dimensions, or the width if that is less, by 15 neighbours and
        Euclidean distance, with ``min_dist`` 0, as is advised before clustering (McInnes et al., 2018,
        arXiv:1802.03426); points that are all equal, which it can't lay out, stay.
    seed
        Of UMAP.

    Returns
    -------
    numpy.ndarray
        [N, reduced width].
    """
    if how == "none" or (how == "pca50" and vectors_NE.shape[1] <= COMPONENTS):
        return vectors_NE
    return _principal(vectors_NE) if how == "pca50" else _umap(vectors_NE, seed)


def _principal(vectors_NE: np.ndarray) -> np.ndarray:
    n, width = vectors_NE.shape
    step = 8192
    mean_E = np.mean(vectors_NE, axis=0, dtype=np.float64)
    products_EE = np.zeros((width, width))
    for start in range(0, n, step):
        block = vectors_NE[start : start + step] - mean_E
        products_EE += block.T @ block
    axes_ED = signed(np.linalg.eigh(products_EE)[1][:, ::-1][:, : min(COMPONENTS, n)])
    parts = [(vectors_NE[start : start + step] - mean_E) @ axes_ED for start in range(0, n, step)]
    return np.concatenate(parts).astype(np.float32)


def signed(axes_ED: np.ndarray) -> np.ndarray:
    """Return eigenvectors, whose signs are free, with a positive largest entry each: nothing hangs on the library."""
    largest_D = axes_ED[np.abs(axes_ED).argmax(axis=0), np.arange(axes_ED.shape[1])]
    turned_ED: np.ndarray = axes_ED * np.sign(largest_D)
    return turned_ED


def _umap(vectors_NE: np.ndarray, seed: int | None) -> np.ndarray:
    import umap

    if not np.ptp(vectors_NE, axis=0).any():
        return vectors_NE
    around, axes = min(AROUND, len(vectors_NE) - 1), min(AXES, vectors_NE.shape[1])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*n_jobs value")  # that a seed means one thread
        warnings.filterwarnings("ignore", message="Graph is not fully connected")
        reducer = umap.UMAP(n_neighbors=around, n_components=axes, min_dist=0.0, random_state=seed, init="pca")
        return np.asarray(reducer.fit_transform(vectors_NE), np.float32)
