"""What clusterers have in common that are told the number of clusters, and those that draw seeds.

The number may also be left to be chosen without labels (`itae.measure.cluster.choose_k`). Whoever clusters both sides
of a run chooses it, once, and gives it to both: a number for each would make their difference one of numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from itae.base.checks import whole
from itae.base.errors import UserError, did_you_mean

AUTO = "auto"
"""The k that is chosen without labels."""
_LADDER = (*range(2, 13), 14, 16, 18, 20, 22, 24, 27, 30, 35, 40, 45, 50, 60, 70, 80, 90, 100, 120, 150, 200)
_LARGEST_SEED = 2**63 - 1
_A_CLUSTER = 5  # images that a cluster has on average, at least, by the ladder


@dataclass(frozen=True)
class Numbered:
    """A clusterer that is told the number of clusters.

    Parameters
    ----------
    k
        Number of clusters. None (default): the number of classes of the data set (label information: say so), and
        ``auto`` where images have none. ``auto``: chosen among the candidates without labels, by
        `itae.measure.cluster.choose_k.choose_k`, on the untouched embeddings, for both sides.
    candidates
        Numbers of clusters to choose among, each once; None (default) for those of `ladder`.

    Raises
    ------
    UserError
        When a setting is out of its range.
    """

    k: int | str | None = None
    candidates: Sequence[int] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Check every value."""
        given = self.k is not None and self.k != AUTO
        if given and (isinstance(self.k, bool) or not isinstance(self.k, int) or self.k < 1):
            raise UserError(
                f"clusterer.k={self.k!r} must be a whole number of at least 1, auto (chosen without labels) or null "
                f"(the number of classes).{did_you_mean(self.k, [AUTO])}"
            )
        if self.candidates is None:
            return
        if given:
            raise UserError(
                f"clusterer.candidates={_told(self.candidates)} is what k is chosen among, and clusterer.k={self.k} "
                "says which it is; set clusterer.k=auto, or leave one of them out."
            )
        object.__setattr__(self, "candidates", _checked(self.candidates))

    def to_choose(self, n: int, n_classes: int | None) -> tuple[int, ...] | None:
        """Return the candidates for k where it is to be chosen for `n` points, or None where it is known.

        Raises
        ------
        UserError
            When there are fewer points than a candidate has clusters, or candidates that nobody chooses among.
        """
        if self.k is not None and self.k != AUTO:
            return None
        if self.k is None and n_classes:
            if self.candidates is not None:
                raise UserError(
                    f"clusterer.candidates={_told(self.candidates)} is for clusterer.k=auto, and these images have "
                    f"{n_classes} classes, which clusterer.k=null takes for k; set clusterer.k=auto, or leave them out."
                )
            return None
        if self.candidates is None:
            return ladder(n)
        if self.candidates[-1] > n:
            raise UserError(
                f"clusterer.candidates={_told(self.candidates)} has {self.candidates[-1]}, which is more clusters than "
                f"there are images ({n}); leave out what is above {n}, or take more images (dataset.limit)."
            )
        return tuple(self.candidates)

    def check(self, n: int, n_classes: int | None) -> int | None:
        """Return the number of clusters for `n` points of `n_classes` classes; cheap, so ask it first.

        None where it is still to be chosen among the candidates of `to_choose`.

        Raises
        ------
        UserError
            When there are more clusters than points, as k or among the candidates.
        """
        if self.to_choose(n, n_classes) is not None:
            return None
        k, source = (self.k, "clusterer.k") if self.k is not None else (n_classes, "the number of classes")
        return at_most(k, n, source)


@dataclass(frozen=True)
class Seeded(Numbered):
    """A clusterer that is told the number of clusters, and whose fits differ by their seed.

    Parameters
    ----------
    k, candidates
        See `Numbered`.
    seeds
        How many seeds are drawn from the run's base seed, or the seeds themselves. Default 10; 3 where fits take long.

    Raises
    ------
    UserError
        When a setting is out of its range.
    """

    seeds: int | Sequence[int] = field(default=10, kw_only=True)

    def __post_init__(self) -> None:
        """Check every value."""
        super().__post_init__()
        object.__setattr__(self, "seeds", checked_seeds(self.seeds))

    def seed_list(self, base_seed: int) -> list[int]:
        """Return the seeds to cluster with, see `listed_seeds`."""
        return listed_seeds(self.seeds, base_seed)


def at_most(k: object, n: int, source: str = "clusterer.k") -> int:
    """Return a number of clusters that `n` points can have; a `UserError`, naming its `source`, for any other."""
    whole(source, k, low=1)
    assert isinstance(k, int)
    if k > n:
        raise UserError(
            f"{source}={k} is more clusters than there are images ({n}); "
            f"set clusterer.k to at most {n}, or take more images (dataset.limit)."
        )
    return k


def ladder(n: int) -> tuple[int, ...]:
    """Return the candidates for k of `n` points where none are given.

    From 2 to 12 all, then ever wider apart, up to 200 and to a fifth of the points: a coarse answer about many
    clusters, where a fine one would take a clustering for each. One cluster is none of them: who asks for clusters has
    some in mind, and who doubts it lists a 1.
    """
    return tuple(k for k in _LADDER if k <= max(n // _A_CLUSTER, min(n, 2))) or (1,)


def _checked(candidates: Any) -> tuple[int, ...]:
    """Return candidates as they are kept, the smallest first; a `UserError` names what can't be some."""
    listed = isinstance(candidates, Sequence) and not isinstance(candidates, str)
    if not listed or not candidates or len({str(one) for one in candidates}) < len(candidates):
        raise UserError(
            f"clusterer.candidates={_told(candidates)} must list one number of clusters or more, each once, as "
            "[5,10,20], or be null."
        )
    for one in candidates:
        whole("A number in clusterer.candidates", one, low=1)
    return tuple(sorted(candidates))


def _told(candidates: Any) -> str:
    if isinstance(candidates, Sequence) and not isinstance(candidates, str):
        return f"[{','.join(map(str, candidates))}]"
    return repr(candidates)


def checked_seeds(seeds: Any, most: int = _LARGEST_SEED) -> int | tuple[int, ...]:
    """Return how many seeds, or the seeds themselves, as they are kept; a `UserError` names what can't be one.

    `most` is the largest that whatever draws from them takes; by default what torch does.
    """
    if isinstance(seeds, str) or not isinstance(seeds, Sequence):
        whole("clusterer.seeds", seeds, low=1)
        assert isinstance(seeds, int)
        return seeds
    for seed in seeds:
        whole("A seed in clusterer.seeds", seed, low=0, high=most)
    if not seeds or len(set(seeds)) < len(seeds):
        raise UserError(f"clusterer.seeds={list(seeds)} must list one seed or more, each once.")
    return tuple(seeds)


def listed_seeds(seeds: int | Sequence[int], base_seed: int) -> list[int]:
    """Return the seeds to cluster with: the listed ones, or as many as asked for, drawn from `base_seed`.

    They depend on nothing else, so baseline and edited embeddings share them; a longer list starts with a shorter one.
    """
    return list(seeds) if isinstance(seeds, Sequence) else drawn_seeds(base_seed, seeds)


def drawn_seeds(seed: int, count: int) -> list[int]:
    """Return the first words of ``numpy.random.SeedSequence(seed)``, cut to 31 bits."""
    return [int(word) >> 1 for word in np.random.SeedSequence(seed).generate_state(count)]
