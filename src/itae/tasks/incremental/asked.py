"""A memory and what is asked of it: rows of its own, each as if it were not in it, or those of another data set.

Shapes: M rows of a memory, Q queries, E embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from itae.knowledge.near.neighbours import Excluded
from itae.knowledge.records.snapshot import NONE, Snapshot, after
from itae.tasks.memory import Said, memory

if TYPE_CHECKING:
    from itae.store.entry import Embeddings


@dataclass(frozen=True)
class Asked:
    """A memory, and what is asked of it.

    Parameters
    ----------
    memory
        All that will be known in the end. No row has several labels.
    ids
        Of the queries.
    queries_QE
        float32, of length 1.
    excluded
        The rows that a query must not find: those of its bytes, and of its group.
    truth_Q
        The label of each query, a code of the memory's, int64.
    own
        Whether the queries are rows of the memory.
    """

    memory: Snapshot
    ids: Sequence[str]
    queries_QE: np.ndarray
    excluded: Excluded
    truth_Q: np.ndarray
    own: bool

    @cached_property
    def rank_of_id(self) -> np.ndarray:
        """The place of each row's id among all, by which equally near ones are put in order, int64."""
        ids = self.memory.ids
        rank_M = np.empty(len(ids), np.int64)
        rank_M[sorted(range(len(ids)), key=ids.__getitem__)] = np.arange(len(ids))
        return rank_M

    def out_for(self, some: np.ndarray) -> Excluded | None:
        """Return what is out for some queries, None for nothing."""
        codes_M, codes_Q = self.excluded
        return Excluded(codes_M, codes_Q[some]) if np.isin(codes_Q[some], codes_M).any() else None


def asked_of(held: tuple[Embeddings, Said], asked: tuple[Embeddings, Said] | None) -> Asked:
    """Return a memory and its queries: those of `asked` whose label it knows, or, for None, its own labelled rows."""
    base = memory(*held)
    if asked is None:
        rows = base.voters
        excluded = Excluded(base.groups_M, base.groups_M[rows])
        return Asked(base, [base.ids[i] for i in rows.tolist()], base.vectors_ME[rows], excluded,
                     base.labels_M[rows].astype(np.int64), True)  # fmt: skip
    others = memory(*asked)
    code_of = np.array([_code(base, name) for name in others.label_names] or [NONE], np.int64)
    codes_N = np.where(others.labels_M < 0, NONE, code_of[others.labels_M])
    some = np.flatnonzero(codes_N != NONE)
    groups = after(base, np.zeros(0, np.int64), {}, others.filed(others.live), 2).groups_M
    excluded = Excluded(groups[: len(base.ids)], groups[len(base.ids) :][some])
    return Asked(base, [others.ids[i] for i in some.tolist()], others.vectors_ME[some], excluded, codes_N[some], False)


def _code(base: Snapshot, name: str) -> int:
    return base.label_names.index(name) if name in base.label_names else NONE
