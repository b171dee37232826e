"""What one side of a run told while it grew, without the vectors that it was told by.

Shapes: Q queries, C classes, O orders, S steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from itae.knowledge.answers.choose import Choice
from itae.knowledge.records.snapshot import NONE
from itae.tasks.asked import Asked
from itae.tasks.incremental.arrivals import Arrivals
from itae.tasks.incremental.growing import Told


@dataclass(frozen=True)
class Grown:
    """What one side told, and of what.

    Parameters
    ----------
    ids, truth_Q, groups_Q
        Of the queries: their ids, their labels as codes, and equal numbers for those that belong together.
    names
        Of the labels, by code.
    rows
        How many rows of the memory have each label, [C].
    own
        Whether the queries are the memory's rows.
    left_out
        How many images are no queries, having no label that the memory has.
    arrivals, told
        When rows arrive, and what each method told, the memory first.
    choice
        Of the voter.
    early
        How many fits of a rival ended early.
    """

    ids: Sequence[str]
    truth_Q: np.ndarray
    groups_Q: np.ndarray
    names: Sequence[str]
    rows: np.ndarray
    own: bool
    left_out: int
    arrivals: Arrivals
    told: Mapping[str, Told]
    choice: Choice
    early: Mapping[str, int]

    @classmethod
    def of(
        cls, asked: Asked, arrivals: Arrivals, told: Mapping[str, Told], choice: Choice, early: Mapping[str, int],
        images: int,
    ) -> Grown:  # fmt: skip
        """Return what is kept of a side, without its vectors."""
        names, labels_M = asked.memory.label_names, asked.memory.labels_M
        rows = np.bincount(labels_M[labels_M != NONE], minlength=len(names))
        left = images - len(asked.ids)
        return cls(asked.ids, asked.truth_Q, asked.groups, names, rows, asked.own, left, arrivals, told, choice, early)

    def answers(self, method: str, protocol: str) -> np.ndarray:
        """Return what a method told of each query after each step, [O, S, Q]."""
        told = self.told[method]
        if protocol != "task":
            return told.seen
        assert told.own is not None
        return told.own

    def right(self, method: str, protocol: str) -> np.ndarray:
        """Return whether that is right, bool [O, S, Q]."""
        return self.answers(method, protocol) == self.truth_Q
