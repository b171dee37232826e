"""What a memory is given when: rows of some classes at each step, or an even share of all rows.

Shapes: M rows of a memory, Q queries, C classes, O orders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NEVER = -1
"""The step of a row that has no label."""


@dataclass(frozen=True)
class Arrivals:
    """The steps of some orders.

    Parameters
    ----------
    step_OM
        At which step each row arrives, int64; `NEVER` for one without a label.
    task_OQ
        At which step each query is asked first, int64: that of its class, or 0 where classes are not told apart.
    step_OC
        The step of each class, or None where rows arrive whatever their class.
    steps
        How many.
    """

    step_OM: np.ndarray
    task_OQ: np.ndarray
    step_OC: np.ndarray | None
    steps: int

    @property
    def tasks(self) -> int:
        """How many tasks there are: one a step, or one for all."""
        return 1 if self.step_OC is None else self.steps

    def rows(self, order: int, step: int) -> np.ndarray:
        """Return the positions of the rows that arrive at a step, ascending."""
        return np.flatnonzero(self.step_OM[order] == step)


def by_class(
    label_M: np.ndarray, label_Q: np.ndarray, classes: Sequence[int], steps: int, orders: int, seed: int
) -> Arrivals:
    """Return classes that arrive some at a step, as many at each as `numpy.array_split` makes them.

    Parameters
    ----------
    label_M, label_Q
        Codes of rows, below 0 for none, and of queries.
    classes
        All codes, as the first order has them.
    steps, orders
        How many; the orders behind the first are drawn by `seed`, each the same however many there are.
    """
    draw = np.random.default_rng(seed)
    step_OC = np.empty((orders, len(classes)), np.int64)
    for o in range(orders):
        order = classes if o == 0 else draw.permutation(classes)
        for step, some in enumerate(np.array_split(order, steps)):
            step_OC[o, some] = step
    return Arrivals(np.where(label_M < 0, NEVER, step_OC[:, label_M]), step_OC[:, label_Q], step_OC, steps)


def by_share(label_M: np.ndarray, queries: int, steps: int, orders: int, seed: int) -> Arrivals:
    """Return rows that arrive in a random order, an even share of them at each step; all queries are asked at each."""
    draw = np.random.default_rng(seed)
    step_OM = np.full((orders, len(label_M)), NEVER)
    for o in range(orders):
        for step, some in enumerate(np.array_split(draw.permutation(np.flatnonzero(label_M >= 0)), steps)):
            step_OM[o, some] = step
    return Arrivals(step_OM, np.zeros((orders, queries), np.int64), None, steps)
