"""The nearest other images of each image, exactly, by cosine: the second readout beside clustering.

A clustering asks whether classes are blobs; neighbours ask whether an image lies among its own, whatever the shape.
Labels are never seen here: `itae.measure.scores.knn_correct` lets the neighbours vote. Images of the same bytes are one
picture, which would vote for itself: they are no neighbours.

Shapes: N images, E embedding width, K neighbours, B rows of a block, M found for each of them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from itae.base.device import memory_told
from itae.base.progress import progress
from itae.measure.cluster.points import BLOCK
from itae.measure.faiss_backend import GPU_MOST, flat_index, load_faiss, pick_gpu, threads

_TWINS = 256  # in one group; looked for among the neighbours up to here, left out of the index beyond


def neighbours(
    vectors_NE: np.ndarray, k: int, device: str = "auto", groups_N: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the `k` nearest other rows of each row, nearest first.

    A row is left out of its own list by its number, wherever it stands there: of equal rows it need not come first,
    and with more than `k` of them it need not come at all. So are all rows of its group.

    Parameters
    ----------
    vectors_NE
        [N, E], finite; a read-only memory map is fine. Lengths mean nothing. A row of zeros has no direction: its
        cosine with every row is taken as 0.
    k
        How many, at least 0; where there are not so many other rows, all of them.
    device
        See `itae.measure.cluster.kmeans.KMeans.fit`.
    groups_N
        Whole numbers >= 0, equal for rows that are not to be neighbours; by default each row is by itself.

    Returns
    -------
    rows_NK, similarities_NK
        int64 and float32: the rows' numbers, and the cosines. K is at most `k`, and as many as the row with most others
        has; a row that has fewer ends in -1, of cosine -inf.

    Raises
    ------
    UserError
        When FAISS is missing; when memory is too little.
    """
    n, width = vectors_NE.shape
    groups_N = np.arange(n) if groups_N is None else groups_N
    sizes_N = np.bincount(groups_N)[groups_N]
    k = min(k, n - int(sizes_N.min()))
    rows_NK, similarities_NK = np.full((n, max(k, 0)), -1), np.full((n, max(k, 0)), -np.inf, np.float32)
    if k < 1:
        return rows_NK, similarities_NK
    faiss = load_faiss()
    gpu = pick_gpu(faiss, device)

    def fill(kept: np.ndarray, asked: np.ndarray) -> None:
        """Look for the neighbours of some rows among others; one block of unit vectors at a time, and the index's."""
        index = flat_index(faiss, width, gpu if k + _TWINS < GPU_MOST else None, cosine=True)
        for block in _blocks(kept):
            index.add(_unit(vectors_NE[block]))
        for block in _blocks(asked):
            # As many too many as a group has in the index: itself alone, its twins too, or none of them.
            more = int(sizes_N[block].max()) if len(kept) == n else 0
            similarities, rows = index.search(_unit(vectors_NE[block]), min(k + more, len(kept)))
            rows_NK[block], similarities_NK[block] = _others(kept[rows], similarities, groups_N, groups_N[block], k)
            advance(len(block))

    lower = "set task.knn=0" if gpu is None else "set runtime.device=cpu, the embeddings are kept"
    told = memory_told(f"for the neighbours of {n} vectors; {lower}")
    with told, threads(faiss), progress(n, "neighbours", "images") as advance:
        every, many_N = np.arange(n), sizes_N > _TWINS
        if not many_N.all():
            fill(every, every[~many_N])
        for group in np.unique(groups_N[many_N]):
            fill(every[groups_N != group], every[groups_N == group])
    return rows_NK, similarities_NK


def same_bytes(digests_N32: np.ndarray | None) -> np.ndarray | None:
    """Return a number for each image, equal for those of one sha256, uint8 [N, 32]; None where all differ."""
    if digests_N32 is None:
        return None
    distinct, groups_N = np.unique(digests_N32, axis=0, return_inverse=True)
    return None if len(distinct) == len(groups_N) else groups_N.reshape(-1)


def _blocks(rows: np.ndarray) -> Iterator[np.ndarray]:
    return (rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK))


def _others(
    rows_BM: np.ndarray, similarities_BM: np.ndarray, groups_N: np.ndarray, group_B: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the first `k` of each list that are of another group, and where there are not so many, -1 and -inf."""
    twins_BM = groups_N[rows_BM] == group_B[:, None]
    first_BK = np.argsort(twins_BM, axis=1, kind="stable")[:, :k]
    rows_BK, similarities_BK, twins_BK = (
        np.take_along_axis(array_BM, first_BK, 1) for array_BM in (rows_BM, similarities_BM, twins_BM)
    )
    missing = ((0, 0), (0, k - rows_BK.shape[1]))
    return (
        np.pad(np.where(twins_BK, -1, rows_BK), missing, constant_values=-1),
        np.pad(np.where(twins_BK, -np.inf, similarities_BK), missing, constant_values=-np.inf),
    )


def _unit(vectors_NE: np.ndarray) -> np.ndarray:
    """Return float32 rows of length 1; in float64 until then, in which no square is too large or too small."""
    wide_NE = vectors_NE.astype(np.float64)
    lengths_N1 = np.linalg.norm(wide_NE, axis=1, keepdims=True)
    return (wide_NE / np.where(lengths_N1 > 0, lengths_N1, 1)).astype(np.float32)
