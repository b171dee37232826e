"""Rows of a base asked as if they were not in it: the neighbours of a sample, each one's group left out.

Shapes: R rows drawn, K neighbours.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from itae.knowledge.near.neighbours import Excluded, nearest
from itae.knowledge.records.snapshot import Snapshot

MOST = 5000
"""Rows that are drawn at most."""

_LEAST = 500  # however large the base
_PRODUCTS = 2**40  # of numbers: what looking for the neighbours of all that are drawn may take at most


@dataclass(frozen=True)
class HeldOut:
    """Rows and their nearest others.

    Parameters
    ----------
    rows
        The positions that were drawn, ascending, int64 [R].
    of
        Of how many.
    positions_RK, similarities_RK
        Their neighbours, as `itae.knowledge.near.neighbours.nearest` has them, none of the row's own group.
    """

    rows: np.ndarray
    of: int
    positions_RK: np.ndarray
    similarities_RK: np.ndarray

    @property
    def note(self) -> str:
        """What an answer has to say of it: nothing where all rows are in it."""
        return "" if len(self.rows) == self.of else f"{len(self.rows)} of {self.of} rows, a fixed draw"


def held_out(snapshot: Snapshot, k: int, voters: bool, device: str = "auto") -> HeldOut:
    """Return the `k` nearest others of a fixed draw of rows, among those that vote, or among all live ones.

    It is remembered by the snapshot, for any smaller k too.
    """
    rows = snapshot.voters if voters else snapshot.live
    name = "held out" if len(rows) == len(snapshot) else "held out voters"
    known: tuple[int, HeldOut] | None = snapshot.memo.get(name)
    if known is None or known[0] < k:
        drawn = draw(snapshot, rows, sample_size(len(rows), snapshot.vectors_ME.shape[1]))
        groups = Excluded(snapshot.groups_M, snapshot.groups_M[drawn])
        found = nearest(snapshot, snapshot.vectors_ME[drawn], k, rows, groups, device)
        known = snapshot.memo[name] = (k, HeldOut(drawn, len(rows), *found))
    whole = known[1]
    return HeldOut(whole.rows, whole.of, whole.positions_RK[:, :k], whole.similarities_RK[:, :k])


def sample_size(rows: int, width: int) -> int:
    """Return how many of some rows are drawn: `MOST`, fewer where the base is so large that it would take minutes."""
    return min(rows, MOST, max(_LEAST, _PRODUCTS // max(1, rows * width)))


def draw(snapshot: Snapshot, rows: np.ndarray, count: int) -> np.ndarray:
    """Return `count` of some positions, ascending: those whose images' sha256 is smallest, which is a fair draw.

    What is drawn depends on what is in the base, and neither on the order in which it came there nor on what has left
    it. Rows of the same bytes go by the sha256 of their id.
    """
    if len(rows) <= count:
        return rows
    keys = np.ascontiguousarray(snapshot.digests_M32[rows, :8]).view(">u8").reshape(-1)
    border = np.partition(keys, count - 1)[count - 1]
    sure, tied = rows[keys < border], rows[keys == border]
    by_id = sorted(tied.tolist(), key=lambda i: hashlib.sha256(snapshot.ids[i].encode()).digest())
    return np.sort(np.concatenate([sure, np.array(by_id[: count - len(sure)], np.int64)]))
