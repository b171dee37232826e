"""In which order the rows of a memory are looked at by somebody who mends what is wrong: group ``repair``.

A rule sees a memory as its user does: labels of which some are wrong, vectors, groups, sources, and never which labels
are wrong. One of your own is a class with this one method and a yaml:

    class Far:
        def scores(self, memory, rng):
            rows = memory.voters
            return -(memory.vectors_ME[rows] @ memory.vectors_ME[rows].mean(axis=0))

Shapes: N rows that vote.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from itae.knowledge.curate.suspects import Against
from itae.knowledge.records.snapshot import Snapshot


class Repair(Protocol):
    """What has to be there to rank rows by; ``conf/repair`` holds its settings.

    A class with ``sources = True`` is told a memory into which the task has planted sources.
    """

    def scores(self, memory: Snapshot, rng: np.random.Generator) -> np.ndarray:
        """Return how much speaks against each row that votes, finite numbers in the order of `memory.voters`, [N].

        Rows are looked at from the highest number on; equal ones in an order that is drawn, the same on both sides.
        """


@dataclass(frozen=True)
class Suspicion:
    """As `itae knowledge suspects` ranks rows: see `itae.knowledge.curate.suspects`.

    Rows are ranked once. To rank them anew as labels are mended was tried on the digits, after each tenth of as many
    rows as are wrong (two draws of each kind at .1, .2, .4): of pockets .84, .89, .94 of them are found then instead of
    .76, .80, .84, of borders .84, .86, .90 instead of .82, .65, .68, of uniform and pair at most .03 more.
    """

    def scores(self, memory: Snapshot, rng: np.random.Generator) -> np.ndarray:
        """Return all reasons of a suspect in one."""
        return _against(memory).score_N


@dataclass(frozen=True)
class Blame:
    """By how often a row votes wrongly for others: the reason ``blame`` of a suspect, alone."""

    def scores(self, memory: Snapshot, rng: np.random.Generator) -> np.ndarray:
        """Return the wrong part of each row's voice."""
        return _against(memory).blame_N


@dataclass(frozen=True)
class Random:
    """At random: what any rule has to be better than."""

    def scores(self, memory: Snapshot, rng: np.random.Generator) -> np.ndarray:
        """Return numbers that are drawn."""
        return rng.random(len(memory.voters))


@dataclass(frozen=True)
class Source:
    """Whole sources, that first of whose rows' votes most comes from other sources and disagrees: an import reverted.

    Where all rows are of one source, there is no other to disagree with it: all are equal, and looked at in an order
    that is drawn.
    """

    sources: ClassVar[bool] = True

    def scores(self, memory: Snapshot, rng: np.random.Generator) -> np.ndarray:
        """Return for each row how much more of the vote on its source is against its labels than for them."""
        return _against(memory).source_balance_N


def _against(memory: Snapshot) -> Against:
    if "against" not in memory.memo:
        memory.memo["against"] = Against(memory)
    against: Against = memory.memo["against"]
    return against
