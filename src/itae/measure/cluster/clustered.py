"""What a clusterer is, what it finds of one set of embeddings, and what several of its clusterings come to.

A point may be left out of every cluster: its number is `NOISE` everywhere, in arrays and in files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from itae.base.checks import one_of
from itae.base.errors import UserError

NOISE = -1
"""The number of a point that is in no cluster, as in scikit-learn."""
OWN, BOTH = "own", "both"
"""Which spaces a clusterer takes: the embeddings of a side alone, or the untouched ones before them."""


class Clusterer(Protocol):
    """What has to be there to cluster with; ``conf/clusterer`` holds its settings.

    A class may also say, as plain attributes: ``noise = True`` if it leaves points out (those are `NOISE`);
    ``spaces = "both"`` to be given two arrays, see `itae.tasks.clustering.cluster_and_score.spaces`; ``spherical`` if
    its clusters are of directions, for the page.
    """

    def check(self, n: int, n_classes: int | None, /) -> int | None:
        """Return the number of clusters of `n` points, or None if the fit finds it; cheap, and the place to refuse."""

    def seed_list(self, base_seed: int, /) -> Sequence[int] | None:
        """Return the seeds to fit with, the same for equal base seeds; none at all if no fit differs from another."""

    def fit(self, vectors: Any, k: Any, seed: Any, device: str, /) -> Partition:
        """Cluster the rows of float32 [N, E], or of several such arrays; `k` and `seed` are None where there is none.

        Labels are never given to it.
        """


@dataclass(frozen=True)
class Objective:
    """What a clusterer makes as small, or as large, as it can; by it one of its clusterings is chosen.

    Parameters
    ----------
    name
        Of the metric that it is in ``result.json``: a word, as ``inertia``.
    value
        A finite number.
    better
        ``lower`` (default) or ``higher``.
    """

    name: str
    value: float
    better: str = "lower"

    def __post_init__(self) -> None:
        one_of(f"The direction of the objective {self.name!r}", self.better, ("lower", "higher"))
        if not math.isfinite(self.value):
            raise UserError(f"The clusterer's {self.name} is {self.value}; an objective must be a finite number.")

    @property
    def cost(self) -> float:
        """The value, or its negative, so that the least is the best."""
        return self.value if self.better == "lower" else -self.value

    @property
    def best(self) -> str:
        """What the best one is called in ``result.json``, as ``lowest_inertia``."""
        return f"{'lowest' if self.better == 'lower' else 'highest'}_{self.name}"


@dataclass(frozen=True, eq=False)
class Partition:
    """One clustering, as a clusterer's ``fit`` returns it.

    Parameters
    ----------
    assignments
        Whole numbers [N]: the cluster of each point, counted from 0, or `NOISE`.
    objective
        What was minimised or maximised, if anything was.
    centroids
        float32 [K, E], if there are such.
    device
        Where it was computed: ``cpu`` (default), ``cuda:0`` and so on.
    info
        Anything else that a reader may want, as plain values under names of their own: ``{"iterations": 12}``.

    Raises
    ------
    UserError
        When the assignments are no such numbers.
    """

    assignments: np.ndarray
    objective: Objective | None = None
    centroids: np.ndarray | None = None
    device: str = "cpu"
    info: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        found = np.asarray(self.assignments)
        object.__setattr__(self, "assignments", found)
        if found.ndim != 1 or not len(found) or found.dtype.kind not in "iu" or found.min() < NOISE:
            raise UserError(
                f"The clusterer returned assignments of shape {found.shape} and type {found.dtype}; they must be one "
                "whole number a point, 0 and up, or -1 for noise."
            )

    @cached_property
    def sizes(self) -> np.ndarray:
        """How many points are in each cluster that has any; noise is none."""
        return np.unique(self.assignments[self.assignments >= 0], return_counts=True)[1]

    @property
    def clusters(self) -> int:
        """How many clusters have a point."""
        return len(self.sizes)

    @property
    def largest_share(self) -> float:
        """The share of the points in the largest cluster, 0..1."""
        return float(self.sizes.max(initial=0) / len(self.assignments))

    @property
    def noise_share(self) -> float:
        """The share of the points in no cluster, 0..1."""
        return float((np.asarray(self.assignments) < 0).mean())


@dataclass(frozen=True)
class Clustered:
    """What was found of one set of embeddings.

    Attributes
    ----------
    metrics
        Plain values, ready for JSON.
    assignments
        int64 [n], one for each embedding, in the same order; `NOISE` for those in no cluster.
    per_seed
        Whole numbers [seeds, n], the assignments of every seed, or None. From them come the intervals of deltas.
    knn_correct
        bool [n], whether the neighbours name each image's class; None where that was not asked.
    objective
        That of the assignments, or None where the clusterer has none.
    separation
        float64 [n], what each image adds to the separation of classes (`itae.measure.spaces.separation`), or None.
    """

    metrics: dict[str, Any]
    assignments: np.ndarray
    per_seed: np.ndarray | None = None
    knn_correct: np.ndarray | None = None
    objective: Objective | None = None
    separation: np.ndarray | None = None


def largest_first(assignments_N: np.ndarray) -> np.ndarray:
    """Return the same clusters, int64 [N], the largest of them 0; of equal ones that of the first point comes first.

    Noise stays noise.
    """
    numbers, first, own_N, sizes = np.unique(assignments_N, return_index=True, return_inverse=True, return_counts=True)
    there = np.flatnonzero(numbers >= 0)
    rank = np.full(len(numbers), NOISE)
    rank[there[np.lexsort((first[there], -sizes[there]))]] = np.arange(len(there))
    return rank[own_N]
