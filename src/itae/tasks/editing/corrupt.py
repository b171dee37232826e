"""Labels made wrong on purpose: what a memory loses by them, and what mending brings back. Group ``corruption``.

A corruption is told a clean memory and gives the label that each of its rows has instead. All but `Boundary` are drawn.
`Cluster` and `Boundary` look at neighbours: in a task those of the untouched backbone, for both sides.

Shapes: M positions of a snapshot, N rows that vote.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from itae.base.checks import is_number, whole
from itae.base.errors import UserError
from itae.knowledge.near.neighbours import Excluded, nearest
from itae.knowledge.records.snapshot import Snapshot


class Corruption(Protocol):
    """What has to be there to make labels wrong by; ``conf/corruption`` holds its settings.

    A class with ``neighbours = True`` looks at where rows lie, and a run says in whose space that is.
    """

    @property
    def rate(self) -> float:
        """The share of the rows whose labels are to be wrong."""

    def labels(self, memory: Snapshot, rng: np.random.Generator) -> np.ndarray:
        """Return the labels of a memory with some made wrong, codes as in `Snapshot.labels_M`, [M].

        Parameters
        ----------
        memory
            Clean; each of its rows that vote has one label, and there are at least two.
        rng
            What is drawn, is drawn by it.
        """


@dataclass(frozen=True)
class _Rate:
    """What the corruptions share.

    Parameters
    ----------
    rate
        The share of the rows whose labels are to be wrong, between 0 and 1. Default 0.2.
    """

    rate: float = 0.2

    def __post_init__(self) -> None:
        """Check the settings."""
        if not is_number(self.rate) or not 0 < self.rate < 1:
            raise UserError(
                f"corruption.rate={self.rate!r} must be a number between 0 and 1: the share of labels made wrong."
            )

    def count(self, memory: Snapshot) -> int:
        """Return how many rows that is."""
        return wrong_rows(self.rate, len(memory.voters))


def wrong_rows(rate: float, rows: int) -> int:
    """Return how many of so many rows a rate is, rounded."""
    return round(rate * rows)


@dataclass(frozen=True)
class Uniform(_Rate):
    """Rows drawn at random get another label, each of them as likely as any."""

    def labels(self, memory: Snapshot, rng: np.random.Generator) -> np.ndarray:
        """Return labels with some made wrong; see `Corruption`."""
        labels_M, classes = memory.labels_M.copy(), len(memory.label_names)
        rows = rng.choice(memory.voters, self.count(memory), replace=False)
        labels_M[rows] = (labels_M[rows] + rng.integers(1, classes, len(rows))) % classes
        return labels_M


@dataclass(frozen=True)
class Pair(_Rate):
    """Rows drawn at random get the label that comes next by name, the last one's the first."""

    def labels(self, memory: Snapshot, rng: np.random.Generator) -> np.ndarray:
        """Return labels with some made wrong; see `Corruption`."""
        labels_M = memory.labels_M.copy()
        rows = rng.choice(memory.voters, self.count(memory), replace=False)
        labels_M[rows] = (labels_M[rows] + 1) % len(memory.label_names)
        return labels_M


@dataclass(frozen=True)
class Cluster(_Rate):
    """Pockets: a row drawn at random and those nearest to it get one label, which isn't that row's own.

    Pockets are drawn until there are as many wrong rows as the rate says; of the last one no more than that takes, the
    nearest first. A row in two pockets has the label of the later one, and one whose own label its pocket gets is
    right. Each row begins one pocket at most, so that at a high rate there may be fewer.

    Parameters
    ----------
    size
        Rows of a pocket, at least 2. Default 30.
    """

    neighbours: ClassVar[bool] = True

    size: int = 30

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        whole("corruption.size", self.size, 2)

    def labels(self, memory: Snapshot, rng: np.random.Generator) -> np.ndarray:
        """Return labels with some made wrong; see `Corruption`."""
        true_M, labels_M = memory.labels_M, memory.labels_M.copy()
        left, classes = self.count(memory), len(memory.label_names)
        for first in rng.permutation(memory.voters).tolist():
            if left <= 0:
                break
            label = (true_M[first] + rng.integers(1, classes)) % classes
            near, _ = nearest(memory, memory.vectors_ME[[first]], self.size, memory.voters, index=None)
            for row in near[0].tolist():
                if left > 0:
                    left += int(labels_M[row] != true_M[row]) - int(label != true_M[row])
                    labels_M[row] = label
        return labels_M


@dataclass(frozen=True)
class Boundary(_Rate):
    """The rows nearest to another class, as against the nearest other row of their own, get that class's label.

    Nothing is drawn: all draws are the same. Rows of a row's group don't count as others of its class.
    """

    neighbours: ClassVar[bool] = True

    def labels(self, memory: Snapshot, rng: np.random.Generator) -> np.ndarray:
        """Return labels with some made wrong; see `Corruption`."""
        rows, labels_M = memory.voters, memory.labels_M.copy()
        codes_M, vectors_NE = memory.labels_M.astype(np.int64), memory.vectors_ME[rows]
        foreign_N1, margin_N1 = nearest(memory, vectors_NE, 1, rows, Excluded(codes_M, codes_M[rows]), index=None)
        margin_N = margin_N1[:, 0].copy()
        for code in np.unique(codes_M[rows]):
            own = np.flatnonzero(codes_M[rows] == code)
            groups = Excluded(memory.groups_M, memory.groups_M[rows[own]])
            _, similar = nearest(memory, vectors_NE[own], 1, rows[own], groups, index=None)
            margin_N[own] -= np.maximum(similar[:, 0], -1) if similar.shape[1] else -1  # one with no other of its class
        some = np.argsort(-np.round(margin_N, 6), kind="stable")[: self.count(memory)]
        labels_M[rows[some]] = memory.labels_M[foreign_N1[some, 0]]
        return labels_M
