"""What every collector shares: vectors and sums of a shard of images, and which images are looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from itae.base.device import to_host
from itae.base.memory import own_memory

if TYPE_CHECKING:
    from torch import Tensor

Later = tuple[Mapping[str, "Tensor"], Callable[[dict[str, np.ndarray]], None]]
"""Tensors by name that are to come to the host, and what is called with them there."""
QUANTILES = (0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0)


EXAMPLES = 12
"""Images of which it is kept which patches were flagged, to be drawn."""
_RUN = 8  # images that are looked at in a row


def looked_at(n: int) -> np.ndarray:
    """Return the positions of the images that are looked at: a sixteenth of `n` in runs of 8, or more to have 64."""
    share = min(16, max(1, n // 64))
    i = np.arange(n)
    return i[i % (_RUN * share) < _RUN]


def arrivals(laters: Sequence[Later]) -> Callable[[], None]:
    """Begin to copy what is to come to the host, all in one go; return what waits for it and hands it over."""
    arrays = to_host([tensor for tensors, _ in laters for tensor in tensors.values()])

    def hand_over() -> None:
        arrived = iter(arrays())
        for tensors, take in laters:
            take(dict(zip(tensors, arrived, strict=False)))

    return hand_over


def counts_of(places: Tensor, bins: int) -> Tensor:
    """Return how many of `places`, whole numbers below `bins` [n], are each of them, int64 [bins].

    Not by ``bincount``, which waits for a GPU.
    """
    return places.new_zeros(bins).scatter_add_(0, places, places.new_ones(()).expand(len(places)))


class Collector:
    """Gather vectors over a shard of images, and what is seen on the way to them.

    What is seen stays where it was computed until a batch is through: then `sent` says what is to come to the host, so
    that all of a batch comes in one copy. What nobody sent for, whoever reads it waits for.

    Parameters
    ----------
    images
        How many will come.
    """

    def __init__(self, images: int) -> None:
        self.images = images
        self._vectors = np.empty((0, 0), np.float32)
        self._added = 0
        self._sums: dict[str, np.ndarray] = {}
        self._some: dict[str, np.ndarray] = {}
        self._later: list[Later] = []

    def later(self, tensors: Mapping[str, Tensor], take: Callable[[dict[str, np.ndarray]], None]) -> None:
        """Have `take` called with the tensors as arrays, once the batch's have come to the host."""
        self._later.append((tensors, take))

    def sent(self, vectors: Tensor) -> list[Later]:
        """End a batch, of these vectors, fp32 [b, E]; return all of it that is to come to the host."""
        self.later({"vectors": vectors}, lambda found: self.add(found["vectors"]))
        sent, self._later = self._later, []
        return sent

    def _here(self) -> None:
        if self._later:
            sent, self._later = self._later, []
            arrivals(sent)()

    def add(self, vectors: np.ndarray) -> None:
        """Take the vectors of one batch, float32 [b, E]."""
        if not self._added:
            self._vectors = own_memory((self.images, vectors.shape[1]), np.float32)
        self._vectors[self._added : self._added + len(vectors)] = vectors
        self._added += len(vectors)

    def rows(self) -> dict[str, np.ndarray]:
        """Return what has a row an image: `vectors` [b, E]."""
        self._here()
        assert self._added == self.images, "fewer images came than were announced"
        return {"vectors": self._vectors}

    def sums(self) -> dict[str, np.ndarray]:
        """Return what adds up over shards, counts in four bytes each: a shard has far fewer patches than that."""
        self._here()
        return {
            name: array.astype(np.uint32) if array.ndim > 1 and array.dtype == np.int64 else array
            for name, array in self._sums.items()
        }

    def some(self) -> dict[str, np.ndarray]:
        """Return what has a row for some of the images only."""
        self._here()
        return self._some

    @property
    def nbytes(self) -> int:
        """How many bytes a shard holds beside the vectors and what is of some images only."""
        return sum(array.nbytes for array in self.sums().values())


def example_rows(n: int) -> list[int]:
    """Return the positions of the images of which masks are kept, spread evenly over those that are looked at."""
    rows = looked_at(n)
    return sorted({int(rows[round(place)]) for place in np.linspace(0, len(rows) - 1, min(len(rows), EXAMPLES))})


def bimodality(counts: np.ndarray, edges: np.ndarray) -> float | None:
    """Return Sarle's bimodality coefficient, (skewness^2 + 1) / kurtosis, of a histogram.

    It lies in (0, 1]: 1 for two points, 5/9 for a uniform distribution, 1/3 for a normal one; above 5/9 speaks
    for two modes, but a heavy skew does so too (SAS/STAT User's Guide, 1990; Pfister et al., 2013,
    doi:10.3389/fpsyg.2013.00700; here without the terms for small samples). The kurtosis is the fourth
    standardised moment, 3 for a normal distribution.

    Parameters
    ----------
    counts, edges
        Counts [bins] and the edges [bins + 1] of their bins; a bin stands for its geometric middle.

    Returns
    -------
    float or None
        None where all values share a bin, or there are none.
    """
    seen = counts > 0
    if seen.sum() < 2:
        return None
    weights, values = counts[seen] / counts.sum(), np.sqrt(edges[:-1] * edges[1:])[seen]
    off = values - weights @ values
    variance, third, fourth = (float(weights @ off**power) for power in (2, 3, 4))
    return (third**2 / variance**3 + 1) * variance**2 / fourth


def quantiles(counts: np.ndarray, edges: np.ndarray) -> dict[str, float]:
    """Return `QUANTILES` of a histogram by name, ``p50`` the median; a bin stands for its geometric middle."""
    middles = np.sqrt(edges[:-1] * edges[1:])
    reached = np.cumsum(counts) / max(1, counts.sum())
    places = [min(int(np.searchsorted(reached, p, side="left" if p else "right")), len(middles) - 1) for p in QUANTILES]
    return {f"p{round(100 * p):02d}": float(middles[place]) for p, place in zip(QUANTILES, places, strict=True)}
