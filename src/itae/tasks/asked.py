"""A memory and what is asked of it: rows of its own, each as if it were not in it, or those of another data set.

A query never meets rows of its own bytes, nor of their group, nor of its own. Where the rows are the queries
themselves, that is leave-one-group-out.

Shapes: M rows of a memory, Q queries, E embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from itae.knowledge.near.neighbours import Excluded
from itae.knowledge.records.snapshot import Snapshot, joined
from itae.tasks.memory import Said, memory, truth_of

if TYPE_CHECKING:
    from itae.store.entry import Embeddings


def excluded_of(rows: Snapshot, groups: Sequence[str | None], digests_Q32: np.ndarray) -> Excluded:
    """Return which rows are out for which of some queries of another data set, joined through others if need be.

    Parameters
    ----------
    rows
        Those that are dead are out for nobody.
    groups, digests_Q32
        The name of each query's group, or None, and the sha256 of its bytes, uint8, zeros where it isn't known.
    """
    column = pa.chunked_array([*rows.table.column("group").chunks, pa.array(groups, pa.string())])
    digests = np.concatenate([rows.digests_M32, digests_Q32])
    alive = np.concatenate([rows.alive_M, np.ones(len(groups), bool)])
    codes, m = joined(column, digests, alive), len(rows.alive_M)
    return Excluded(codes[:m], codes[m:])


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
        The label of each query, a code of the memory's or, of a class that it lacks, one behind those, int64.
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
    def groups(self) -> np.ndarray:
        """Whole numbers from 0, equal for queries that belong together, int64 [Q]."""
        return np.unique(self.excluded.codes_Q, return_inverse=True)[1].reshape(-1)

    def out_for(self, some: np.ndarray) -> Excluded | None:
        """Return what is out for some queries, None for nothing."""
        codes_M, codes_Q = self.excluded
        return Excluded(codes_M, codes_Q[some]) if np.isin(codes_Q[some], codes_M).any() else None

    def of_known_classes(self) -> Asked:
        """Return the same without the queries whose label no row has."""
        some = np.flatnonzero(self.truth_Q < len(self.memory.label_names))
        excluded = Excluded(self.excluded.codes_M, self.excluded.codes_Q[some])
        return replace(self, ids=[self.ids[i] for i in some.tolist()], queries_QE=self.queries_QE[some],
                       excluded=excluded, truth_Q=self.truth_Q[some])  # fmt: skip


def asked_of(held: tuple[Embeddings, Said], asked: tuple[Embeddings, Said] | None) -> Asked:
    """Return a memory and its queries: the labelled ones of `asked`, or, for None, its own labelled rows."""
    base = memory(*held)
    others = base if asked is None else memory(*asked)
    some = others.voters
    if asked is None:
        excluded = Excluded(base.groups_M, base.groups_M[some])
    else:
        codes_M, codes_N = excluded_of(base, asked[1].groups, others.digests_M32)
        excluded = Excluded(codes_M, codes_N[some])
    truth, _ = truth_of([others.labels_of(i) for i in some.tolist()], base.label_names)
    ids = [others.ids[i] for i in some.tolist()]
    return Asked(base, ids, others.vectors_ME[some], excluded, np.asarray(truth, np.int64), asked is None)
