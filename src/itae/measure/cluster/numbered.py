"""What clusterers have in common that are told the number of clusters, and those that draw seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from itae.base.checks import whole
from itae.base.errors import UserError


@dataclass(frozen=True)
class Numbered:
    """A clusterer that is told the number of clusters.

    Parameters
    ----------
    k
        Number of clusters; default None, the number of classes of the data set (label information: say so).

    Raises
    ------
    UserError
        When a setting is out of its range.
    """

    k: int | None = None

    def __post_init__(self) -> None:
        """Check every value."""
        whole("clusterer.k", self.k, low=1, optional=True)

    def check(self, n: int, n_classes: int | None) -> int:
        """Return the number of clusters for `n` points of `n_classes` classes; cheap, so ask it first.

        Raises
        ------
        UserError
            When there is no k to take, or more clusters than points.
        """
        if self.k is None and not n_classes:
            raise UserError(
                "clusterer.k is not set and the images carry no labels to count classes from; "
                "set it, e.g. clusterer.k=10."
            )
        k, source = (self.k, "clusterer.k") if self.k is not None else (n_classes, "the number of classes")
        assert k is not None
        if k > n:
            raise UserError(
                f"{source}={k} is more clusters than there are images ({n}); "
                f"set clusterer.k to at most {n}, or take more images (dataset.limit)."
            )
        return k


def checked_seeds(seeds: int | Sequence[int]) -> int | tuple[int, ...]:
    """Return how many seeds, or the seeds themselves, as they are kept; a `UserError` names what can't be one."""
    if not isinstance(seeds, Sequence):
        whole("clusterer.seeds", seeds, low=1)
        return seeds
    if not seeds or len(set(seeds)) < len(seeds):
        raise UserError(f"clusterer.seeds={list(seeds)} must list one seed or more, each once.")
    for seed in seeds:
        whole("clusterer.seeds", seed, low=0)
    return tuple(seeds)


def listed_seeds(seeds: int | Sequence[int], base_seed: int) -> list[int]:
    """Return the seeds to cluster with: the listed ones, or as many as asked for, drawn from `base_seed`.

    They depend on nothing else, so baseline and edited embeddings share them; a longer list starts with a shorter one.
    """
    return list(seeds) if isinstance(seeds, Sequence) else drawn_seeds(base_seed, seeds)


def drawn_seeds(seed: int, count: int) -> list[int]:
    """Return the first words of ``numpy.random.SeedSequence(seed)``, cut to 31 bits."""
    return [int(word) >> 1 for word in np.random.SeedSequence(seed).generate_state(count)]
