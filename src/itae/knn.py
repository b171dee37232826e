"""The nearest other images of each image, exactly, by cosine: the second readout beside clustering.

A clustering asks whether classes are blobs; neighbours ask whether an image lies among its own, whatever the shape.
Labels are never seen here: `itae.metrics.knn_correct` lets the neighbours vote.

Shapes: N images, E embedding width, K neighbours.
"""

from __future__ import annotations

import numpy as np

from itae.cluster import BLOCK
from itae.faiss_backend import flat_index, load_faiss, pick_gpu, threads
from itae.runtime import progress

_GPU_MOST = 2048  # what FAISS finds on a GPU for one query


def neighbours(vectors_NE: np.ndarray, k: int, device: str = "auto") -> tuple[np.ndarray, np.ndarray]:
    """Return the `k` nearest other rows of each row, nearest first.

    A row is left out of its own list by its number, wherever it stands there: of equal rows it need not come first,
    and with more than `k` of them it need not come at all.

    Parameters
    ----------
    vectors_NE
        [N, E], finite; a read-only memory map is fine. Lengths mean nothing. A row of zeros has no direction: its
        cosine with every row is taken as 0.
    k
        How many, at least 0; where there are not so many other rows, all of them.
    device
        See `itae.cluster.KMeans.fit`.

    Returns
    -------
    rows_NK, similarities_NK
        int64 and float32 [N, min(k, N - 1)]: the rows' numbers, and the cosines.

    Raises
    ------
    UserError
        When FAISS or the device is missing.
    """
    n, width = vectors_NE.shape
    k = min(k, n - 1)
    rows_NK, similarities_NK = np.empty((n, max(k, 0)), np.int64), np.empty((n, max(k, 0)), np.float32)
    if k < 1:
        return rows_NK, similarities_NK
    faiss = load_faiss()
    gpu = pick_gpu(faiss, device)
    index = flat_index(faiss, width, gpu if k < _GPU_MOST else None, cosine=True)
    # One block of unit vectors at a time, and the index's own copy.
    blocks = [slice(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK)]
    with threads(faiss), progress(n, "neighbours", "images") as advance:
        for block in blocks:
            index.add(_unit(vectors_NE[block]))
        for block in blocks:
            similarities, rows = index.search(_unit(vectors_NE[block]), k + 1)
            others = rows != np.arange(block.start, block.stop)[:, None]
            others[others.all(axis=1), -1] = False  # one too many: itself was not among so many equal ones
            rows_NK[block] = rows[others].reshape(-1, k)
            similarities_NK[block] = similarities[others].reshape(-1, k)
            advance(block.stop - block.start)
    return rows_NK, similarities_NK


def _unit(vectors_NE: np.ndarray) -> np.ndarray:
    """Return float32 rows of length 1; in float64 until then, in which no square is too large or too small."""
    wide_NE = vectors_NE.astype(np.float64)
    lengths_N1 = np.linalg.norm(wide_NE, axis=1, keepdims=True)
    return (wide_NE / np.where(lengths_N1 > 0, lengths_N1, 1)).astype(np.float32)
