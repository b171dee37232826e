"""Voters: how much each of the nearest rows has to say. The classes of the group ``voter``.

A setting that is null is chosen inside the base, by `itae.knowledge.answers.choose`, among what `options` of the voter
gives.

Shapes: Q queries, K neighbours, E embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from itae.base.checks import above_0, whole
from itae.knowledge.answers.ballot import Ballot, best_classes, by_name, count, count_classes
from itae.knowledge.answers.class_means import cosines, cosines_in_turn
from itae.knowledge.near.neighbours import Excluded, nearest
from itae.knowledge.records.similarity import unit
from itae.knowledge.records.snapshot import NONE, Snapshot

KS = (1, 5, 10, 20, 50, 100, 200)
TEMPERATURES = (0.02, 0.07, 0.2)
"""What is tried where ``voter.k`` or ``voter.temperature`` is null, the smaller first."""

_NOT_0 = 1e-6  # added to a distance


@dataclass(frozen=True)
class Voter:
    """What all voters share.

    Parameters
    ----------
    k
        How many of the nearest labelled rows vote, at least 1; None is chosen inside the base.
    """

    k: int | None = None

    def __post_init__(self) -> None:
        """Check the settings."""
        whole("voter.k", self.k, low=1, optional=True)

    def options(self) -> Sequence[Voter]:
        """Return what there is to choose among: itself, with each value in the place of what is null."""
        voters: list[Any] = [self]
        for name, values in (("k", KS), ("temperature", TEMPERATURES)):
            if getattr(self, name, name) is None:
                voters = [replace(voter, **{name: value}) for voter in voters for value in values]
        return voters

    def weights(self, similarities: np.ndarray, ranks: np.ndarray | int) -> np.ndarray:
        """Return the weight of rows by their similarity and rank, from 0; those of a query lie along the last axis.

        What holds is their ratios: each is divided by the sum of its query's. That of two rows must not depend on rows
        behind them, so that the votes of k rows are those of fewer and some more.
        """
        raise NotImplementedError

    def weights_of(self, similarities_QK: np.ndarray) -> np.ndarray:
        """Return the weight of each neighbour, nearest first; a missing one, of similarity -inf, has none."""
        if not similarities_QK.size:
            return np.zeros(similarities_QK.shape)
        there_QK = np.isfinite(similarities_QK)
        similar_QK = np.ascontiguousarray(np.where(there_QK, similarities_QK, -1.0))
        return np.where(there_QK, self.weights(similar_QK, np.arange(similar_QK.shape[1])), 0.0)

    def shares(self, similarities_QK: np.ndarray) -> np.ndarray:
        """Return the share that each neighbour has of its query's vote; a missing one has none."""
        weights_QK = self.weights_of(similarities_QK)
        # One after the other, so that a missing one at the end, which a query alone doesn't have, changes no bit.
        total_Q1 = np.cumsum(weights_QK, axis=1)[:, -1:]
        return weights_QK / np.where(total_Q1 > 0, total_Q1, 1)

    def count(self, snapshot: Snapshot, positions_QK: np.ndarray, similarities_QK: np.ndarray) -> Ballot:
        """Return the vote of the first k of neighbours that are known already."""
        assert self.k is not None
        positions_QK, similarities_QK = positions_QK[:, : self.k], similarities_QK[:, : self.k]
        return count(snapshot, positions_QK, similarities_QK, self.shares(similarities_QK))

    def ballot(
        self,
        snapshot: Snapshot,
        queries_QE: np.ndarray,
        rows: np.ndarray | None = None,
        excluded: Excluded | None = None,
        device: str = "auto",
    ) -> Ballot:
        """Return how the nearest rows of each query vote; parameters as in `itae.knowledge.near.neighbours.nearest`.

        `rows` are those that vote: by default all that have a label.
        """
        assert self.k is not None
        rows = snapshot.voters if rows is None else rows
        return self.count(snapshot, *nearest(snapshot, queries_QE, self.k, rows, excluded, device))


@dataclass(frozen=True)
class Plurality(Voter):
    """One voice each: 1/k."""

    def weights(self, similarities: np.ndarray, ranks: np.ndarray | int) -> np.ndarray:
        """Return ones."""
        return np.ones(np.broadcast_shapes(similarities.shape, np.shape(ranks)))


@dataclass(frozen=True)
class Softmax(Voter):
    """Voices by similarity, exp(similarity / temperature) (Wu et al., 2018, arXiv:1805.01978).

    Parameters
    ----------
    temperature
        Above 0: the larger, the more alike all voices are. None is chosen inside the base.
    """

    temperature: float | None = 0.07

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        if self.temperature is not None:
            above_0("voter.temperature", self.temperature, "cosine")

    def weights(self, similarities: np.ndarray, ranks: np.ndarray | int) -> np.ndarray:
        """Return the exponentials, over that of the most similar row: exp(1 / T) may overflow."""
        assert self.temperature is not None
        return np.exp((similarities - similarities.max(axis=-1, keepdims=True)) / self.temperature)


@dataclass(frozen=True)
class Rank(Voter):
    """Voices by rank, 1 / (rank + 2), the nearest row's rank being 0 (arXiv:2408.08172)."""

    def weights(self, similarities: np.ndarray, ranks: np.ndarray | int) -> np.ndarray:
        """Return the inverse ranks."""
        return np.broadcast_to(1 / (ranks + 2.0), np.broadcast_shapes(similarities.shape, np.shape(ranks)))


@dataclass(frozen=True)
class Distance(Voter):
    """Voices by distance, 1 / (1 - similarity + 1e-6)."""

    def weights(self, similarities: np.ndarray, ranks: np.ndarray | int) -> np.ndarray:
        """Return the inverse distances."""
        return 1 / (1 - similarities + _NOT_0)


@dataclass(frozen=True)
class ClassMean:
    """The class whose mean is nearest: softmax of the cosines to the means of all classes. No row votes by itself.

    A mean is of rows of length 1 and doesn't depend on their order to the last bit; see
    `itae.knowledge.answers.class_means`. Of equal classes the first by name wins.

    Parameters
    ----------
    temperature
        Above 0; it changes the shares, never the label.
    """

    temperature: float = 0.07

    def __post_init__(self) -> None:
        """Check the setting."""
        above_0("voter.temperature", self.temperature, "cosine")

    def options(self) -> Sequence[ClassMean]:
        """Return itself: there is nothing to choose."""
        return [self]

    def ballot(
        self,
        snapshot: Snapshot,
        queries_QE: np.ndarray,
        rows: np.ndarray | None = None,
        excluded: Excluded | None = None,
        device: str = "auto",
    ) -> Ballot:
        """Return the share of each class; see `Voter.ballot`."""
        queries_QE = unit(queries_QE, snapshot.vectors_ME.shape[1])
        return count_classes(snapshot, self._shares(snapshot, cosines(snapshot, queries_QE, rows, excluded)))

    def winners(
        self,
        snapshot: Snapshot,
        queries_QE: np.ndarray,
        rows: np.ndarray | None = None,
        excluded: Excluded | None = None,
    ) -> np.ndarray:
        """Return the winners of `ballot`, int64 [Q], without the order of all other classes."""
        queries_QE = unit(queries_QE, snapshot.vectors_ME.shape[1])
        won_Q = np.full(len(queries_QE), NONE)
        for asked, some_QC in cosines_in_turn(snapshot, queries_QE, rows, excluded):
            won_Q[asked] = best_classes(snapshot, self._shares(snapshot, some_QC))
        return won_Q

    def _shares(self, snapshot: Snapshot, cosines_QC: np.ndarray) -> np.ndarray:
        """Return the share of each class, -inf where it has no row."""
        there_QC = np.isfinite(cosines_QC)
        most_Q1 = cosines_QC.max(axis=1, keepdims=True, initial=-1.0)
        above_QC = np.where(there_QC, cosines_QC, -1.0) - most_Q1
        weights_QC = np.where(there_QC, np.exp(above_QC / self.temperature), 0.0)
        # In the order of names: that of `label_names` is whatever the base has been through.
        total_Q1 = np.cumsum(weights_QC[:, np.argsort(by_name(snapshot))], axis=1)[:, -1:]
        return np.where(there_QC, weights_QC / np.where(total_Q1 > 0, total_Q1, 1), -np.inf)


@dataclass(frozen=True)
class Auto:
    """All of it is chosen inside the base: voter, k and temperature. What is given is kept.

    Parameters
    ----------
    k
        At least 1; None is chosen.
    temperature
        Above 0; None is chosen.
    """

    k: int | None = None
    temperature: float | None = None

    def __post_init__(self) -> None:
        """Check the settings."""
        whole("voter.k", self.k, low=1, optional=True)
        if self.temperature is not None:
            above_0("voter.temperature", self.temperature, "cosine")

    def options(self) -> Sequence[Voter | ClassMean]:
        """Return every voter that has what is given, in the order in which equally good ones are taken."""
        given = {name: value for name, value in vars(self).items() if value is not None}
        voters: list[Voter | ClassMean] = []
        for kind in (Plurality, Softmax, Rank, Distance, ClassMean):
            names = {field.name for field in fields(kind)}
            if given.keys() <= names:
                chosen = {"temperature": None} if kind is Softmax else {}
                voters += kind(**{**chosen, **given}).options()
        return voters


def told(voter: Any, kept: Any = None) -> str:
    """Return a voter and its settings in words, as ``softmax, k 10, temperature 0.07``.

    Parameters
    ----------
    voter
        Every setting of which is known.
    kept
        The voter that was asked for: its settings that are not those of its class are told as given.
    """
    asked = fields(kept) if kept is not None else ()
    given = {each.name for each in asked if getattr(kept, each.name) not in (None, each.default)}
    settings = [f"{name} {value}{' as given' if name in given else ''}" for name, value in vars(voter).items()]
    name = "".join(f"_{c.lower()}" if c.isupper() else c for c in type(voter).__name__).lstrip("_")
    return ", ".join([name, *settings])
