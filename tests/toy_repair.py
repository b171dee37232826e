"""A rule and a corruption of somebody's own, as short as they can be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


class Alone:
    """Rows that lie far from the middle of all come first."""

    def scores(self, memory, rng):
        vectors = memory.vectors_ME[memory.voters]
        return -(vectors @ vectors.mean(axis=0))


@dataclass(frozen=True)
class Swapped:
    """The first rows get the label of the last."""

    rows: int = 5

    def labels(self, memory, rng):
        labels = memory.labels_M.copy()
        labels[: self.rows] = labels[-1]
        return labels


class Half:
    """Forgets half of the rows."""

    def scores(self, memory, rng):
        return np.zeros(len(memory.voters) // 2)
