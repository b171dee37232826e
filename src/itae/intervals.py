"""How far a paired delta is open: the bootstrap over images and seeds.

Images are drawn with replacement, the same ones for both sides and for all seeds, and so are the seeds of k-means: what
is left is how the mean delta would move with other images of the same kind and other seeds (Efron & Tibshirani, 1993,
ch. 13). The percentiles are those of ``scipy.stats.bootstrap``, which draws anew at each call; here the jobs of a
process have their draws in common. Embeddings, neighbours and clusterings are not made again.

ACC and purity keep the matching of clusters and classes that all images gave, so they are shares of images. NMI and ARI
are of each draw's own contingency table, and a draw repeats images, which raises both. What is raised more is the side
with more cells, so it does not cancel in the delta: with a hundred clusters of a hundred images it is several times the
spread, and the percentiles alone would lie beside the delta that they are of. So they are moved by that bias, the
draws' mean minus the delta of all images. AMI has no interval: its correction for chance takes longer than the rest.

Letters: N images, S seeds, R draws, C cells of the contingency table that are not empty.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.metrics import hits

if TYPE_CHECKING:
    from itae.tasks import TaskResult

DRAWS = 1000
_HELD = 2**24  # numbers of one batch of draws


def delta_intervals(
    labels_N: np.ndarray, before: TaskResult, after: TaskResult, draws: int = DRAWS
) -> dict[str, tuple[float, float]]:
    """Return the 95 % intervals of the mean deltas of acc, purity, nmi, ari, and of knn where it is known.

    Parameters
    ----------
    labels_N
        Whole numbers >= 0.
    before, after
        With the assignments of the same seeds of both sides, [S, N].
    draws
        How many.
    """
    n = len(labels_N)
    if n < 2:
        return {}
    measure = _Measure(labels_N, before, after)
    drawn_MR = np.concatenate([measure(weights_NR) for weights_NR in _draws(n, draws)], axis=1)
    bias = drawn_MR.mean(axis=1) - measure.of_all()
    low, high = np.quantile(drawn_MR, (0.025, 0.975), axis=1) - bias
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(measure.names)}


def _draws(n: int, draws: int) -> Iterable[np.ndarray]:
    """Return how often each of `n` images is in each draw, float32 [N, R], as many draws at a time as fit."""
    return _kept(n, draws) if n * draws <= _HELD else _drawn(n, draws)


@functools.lru_cache(maxsize=1)
def _kept(n: int, draws: int) -> list[np.ndarray]:
    return list(_drawn(n, draws))


def _drawn(n: int, draws: int) -> Iterator[np.ndarray]:
    rng, step = np.random.default_rng(0), max(1, _HELD // n)
    for start in range(0, draws, step):
        yield counted(rng.integers(n, size=(min(step, draws - start), n)))


def counted(drawn_RN: np.ndarray) -> np.ndarray:
    """Return how often each image is in each draw, float32 [N, R], of the images drawn."""
    r, n = drawn_RN.shape
    places = drawn_RN + n * np.arange(r)[:, None]
    # In rows by image, or each of the products to come would make its own copy that is.
    return np.ascontiguousarray(np.bincount(places.ravel(), minlength=r * n).reshape(r, n).T, np.float32)


class _Measure:
    """The mean deltas of a draw of images, of as many seeds drawn anew for each."""

    def __init__(self, labels_N: np.ndarray, before: TaskResult, after: TaskResult) -> None:
        assert before.per_seed is not None
        assert after.per_seed is not None
        self.sides = (before.per_seed, after.per_seed)
        self.labels_N = np.unique(labels_N, return_inverse=True)[1]
        right = [[hits(labels_N, one) for one in side.astype(np.int64)] for side in self.sides]
        self.shares: dict[str, np.ndarray] = {
            name: np.array([a[name].astype(np.float32) - b[name] for b, a in zip(*right, strict=True)])
            for name in ("acc", "purity")
        }
        if before.knn_correct is not None and after.knn_correct is not None:
            self.shares["knn"] = (after.knn_correct.astype(np.float32) - before.knn_correct)[None]
        self.names = (*self.shares, "nmi", "ari")
        self._seeds = np.random.default_rng(1)

    def __call__(self, weights_NR: np.ndarray) -> np.ndarray:
        """Return [M, R] of how often each image is in each draw."""
        r, count = weights_NR.shape[1], len(self.sides[0])
        chosen = self._seeds.integers(count, size=(r, count))
        often = np.bincount((chosen + count * np.arange(r)[:, None]).ravel(), minlength=r * count)
        return self._means(weights_NR, often.reshape(r, count).T / count)

    def of_all(self) -> np.ndarray:
        """Return [M], the mean deltas of all images and seeds, each once."""
        count, n = self.sides[0].shape
        return self._means(np.ones((n, 1), np.float32), np.full((count, 1), 1 / count))[:, 0]

    def _means(self, weights_NR: np.ndarray, seeds_SR: np.ndarray) -> np.ndarray:
        n = len(weights_NR)
        rows = []
        for name, delta_SN in self.shares.items():
            value_SR = (delta_SN @ weights_NR).astype(np.float64) / n
            rows.append((value_SR * seeds_SR).sum(axis=0) if name != "knn" else value_SR[0])
        before, after = ([*self._tables(side, weights_NR)] for side in self.sides)
        for score in (_nmi, _ari):
            value_SR = np.array([score(*a) - score(*b) for b, a in zip(before, after, strict=True)])
            rows.append((value_SR * seeds_SR).sum(axis=0))
        return np.array(rows)

    def _tables(self, side_SN: np.ndarray, weights_NR: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield each seed's contingency table in every draw: its cells, class sizes and cluster sizes, [., R]."""
        classes_KR = _summed(self.labels_N, weights_NR)
        known: dict[bytes, tuple[np.ndarray, ...]] = {}  # seeds often end in one clustering
        for clusters_N in side_SN:
            name = clusters_N.tobytes()
            if name not in known:
                cell_N = clusters_N.astype(np.int64) * (int(self.labels_N.max()) + 1) + self.labels_N
                cells, place_N = np.unique(cell_N, return_inverse=True)
                cells_CR = _summed(place_N, weights_NR)
                first = np.unique(cells // (int(self.labels_N.max()) + 1), return_index=True)[1]
                known[name] = cells_CR, classes_KR, np.add.reduceat(cells_CR, first, axis=0)
            yield known[name]


def _summed(place_N: np.ndarray, weights_NR: np.ndarray) -> np.ndarray:
    """Return the sum of the weights at each place, [places, R]."""
    from scipy.sparse import csr_array

    n = len(place_N)
    one_hot = csr_array((np.ones(n, np.float32), (place_N, np.arange(n))), shape=(int(place_N.max()) + 1, n))
    return np.asarray(one_hot @ weights_NR, np.float64)


def _nmi(cells: np.ndarray, classes: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Return NMI over the arithmetic mean of the entropies, as `itae.metrics.scores` has it, [R]."""
    n = classes.sum(axis=0)
    joint, one, other = (np.log(n) - (x * np.log(np.maximum(x, 1))).sum(axis=0) / n for x in (cells, classes, clusters))
    mean = (one + other) / 2
    alone = mean < 1e-12  # one class and one cluster
    return np.where(alone, 1.0, (one + other - joint) / np.where(alone, 1.0, mean))


def _ari(cells: np.ndarray, classes: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Return the adjusted Rand index (Hubert & Arabie, 1985), [R]."""
    n = classes.sum(axis=0)
    both, one, other = ((x * (x - 1)).sum(axis=0) / 2 for x in (cells, classes, clusters))
    expected, most = one * other / (n * (n - 1) / 2), (one + other) / 2
    alone = np.abs(most - expected) < 1e-12
    return np.where(alone, 1.0, (both - expected) / np.where(alone, 1.0, most - expected))


def with_intervals(
    delta: Mapping[str, Any], labels: np.ndarray, before: TaskResult, after: TaskResult
) -> dict[str, Any]:
    """Return the deltas, each with its ``interval``, [low, high] or None."""
    known: dict[str, tuple[float, float]] = {}
    if before.per_seed is not None and after.per_seed is not None:
        known = delta_intervals(labels, before, after)
    return {
        name: {**change, "interval": list(known[name]) if name in known else None} for name, change in delta.items()
    }
