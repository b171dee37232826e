"""The neighbours of many queries by the workers of a Ray cluster: each has the base in memory and looks for a share.

What they find is what one process finds, to the last bit, however the queries are shared out: `nearest` doesn't hang on
a query's company, nor on the machine. Answers, the choice of a voter and how unusual a query is are made here of what
they found, by the same code.

A worker opens the base for its first share, at the version that is asked, verifies it as all who open one do, and keeps
it for further shares. It has the rows in the order of their numbers; a snapshot in hand may have others between and
another order, so positions are translated. The root, in which numbers are, says that the two hold the same rows.

Shapes: M positions of a snapshot, N live rows, Q queries, K neighbours, E embedding width.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import ray

from itae.base.errors import UserError
from itae.base.progress import progress
from itae.base.runtime import OnRay
from itae.embed.ray_cluster import begun, connected, done, told
from itae.knowledge.base import KnowledgeBase, open_knowledge
from itae.knowledge.disk.folder import InMemory, is_url
from itae.knowledge.near.neighbours import INDEX, MISSING, WORKERS, Excluded, nearest
from itae.knowledge.records.snapshot import Snapshot

SHARE = 2**18
"""Numbers in the queries of a task: enough for products of matrices to pay."""

NO_INDEX = (
    "runtime.engine=ray and knowledge.index don't go together: what an index finds may hang on which queries are asked "
    "at once, and it lies in the cache of one machine; leave out one of the two."
)
_SHARED = "runtime.engine=ray needs the base on a file system, or in an object store, that all its workers share"
_BY_NUMBER = "by number"


@contextlib.contextmanager
def ray_workers(base: KnowledgeBase, asked: OnRay) -> Iterator[RayWorkers]:
    """Be connected to the Ray cluster that ``runtime.ray`` names, to look for neighbours in a base on it.

    Inside, whatever is asked of a snapshot that was given to `RayWorkers.serve` is asked of the workers::

        with ray_workers(base, OnRay(address="auto")) as workers:
            snapshot = base.snapshot_beside("vectors")
            workers.serve(snapshot)
            answers = classify(snapshot, queries_QE)

    Outside, this process looks for it again.

    Raises
    ------
    UserError
        When there is no such cluster, or it has too little for a single worker; when the base is in memory.
    """
    if isinstance(base.folder, InMemory):
        raise UserError(
            "This base is in the memory of this process, where no Ray worker can read it: make it in a folder or an "
            "object store that all workers share, or ask it with runtime.engine=local."
        )
    with connected(asked, "runtime.ray"):
        workers = RayWorkers(base.path, asked)
        try:
            yield workers
        finally:
            workers.leave()


class RayWorkers:
    """The workers of a Ray cluster, each with the same base; see `itae.knowledge.near.neighbours.Workers`."""

    def __init__(self, where: str, asked: OnRay) -> None:
        self.where, self.asked = where, asked
        self._served: list[Snapshot] = []

    def serve(self, snapshot: Snapshot) -> None:
        """Look for all neighbours that are asked of a snapshot of the base, whoever asks.

        This process needs none of its vectors for that (`KnowledgeBase.snapshot_beside`); class means alone are made
        here, of all of them, some at a time.

        Raises
        ------
        UserError
            When it has an index.
        """
        if INDEX in snapshot.memo:
            raise UserError(NO_INDEX)
        snapshot.memo[WORKERS] = self
        self._served.append(snapshot)

    def leave(self) -> None:
        """Have this process look for neighbours again."""
        for snapshot in self._served:
            snapshot.memo.pop(WORKERS, None)

    def nearest(
        self,
        snapshot: Snapshot,
        queries_QE: np.ndarray,
        k: int,
        rows: np.ndarray,
        excluded: Excluded | None,
        device: str,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return what `itae.knowledge.near.neighbours.nearest` does; there is at least one query and one row.

        Raises
        ------
        UserError
            When a worker can't read the base, or has another; when one was lost too often.
        """
        order_N, place_M = _by_number(snapshot)
        there = None if excluded is None else Excluded(excluded.codes_M[order_N], excluded.codes_Q)
        call = ray.put((k, np.sort(place_M[rows]), there, device))
        base = (self.where, snapshot.version, snapshot.root)
        step = max(1, SHARE // queries_QE.shape[1])
        spans = [slice(start, start + step) for start in range(0, len(queries_QE), step)]
        tasks = [begun(_share, self.asked, base, [call], queries_QE[some], some) for some in spans]
        ended = done(tasks, self.asked, "runtime.ray", "The search for neighbours", _then(snapshot))
        found_QK = np.full((len(queries_QE), min(k, len(rows))), MISSING)
        similar_QK = np.full(found_QK.shape, -np.inf)
        with contextlib.closing(ended), progress(len(queries_QE), "neighbours", "queries") as advance:
            for i, (there_QK, alike_QK) in ended:
                found_QK[spans[i], : there_QK.shape[1]] = np.where(there_QK == MISSING, MISSING, order_N[there_QK])
                similar_QK[spans[i], : there_QK.shape[1]] = alike_QK
                advance(len(there_QK))
        most = int((found_QK != MISSING).sum(axis=1).max())
        return found_QK[:, :most], similar_QK[:, :most]


def _by_number(snapshot: Snapshot) -> tuple[np.ndarray, np.ndarray]:
    """Return the live rows by their number, int64 [N], and the place of each of them in that, int64 [M]."""
    if _BY_NUMBER not in snapshot.memo:
        order_N = snapshot.live[np.argsort(snapshot.numbers_M[snapshot.live])]
        place_M = np.full(len(snapshot.alive_M), MISSING)
        place_M[order_N] = np.arange(len(order_N))
        snapshot.memo[_BY_NUMBER] = order_N, place_M
    return snapshot.memo[_BY_NUMBER]


def _then(snapshot: Snapshot) -> str:
    gigabytes = 4 * len(snapshot) * snapshot.vectors_ME.shape[1] / 2**30
    return (
        f"Ask once more; if it was for memory, {gigabytes:.1f} GB of which the vectors alone take in each worker, have "
        "fewer of them on a machine by a larger runtime.ray.num_cpus."
    )


# --- in a worker process

_held: dict[tuple[str, int, str], Snapshot] = {}


@told
def _share(
    base: tuple[str, int, str], call: list[ray.ObjectRef], queries_QE: np.ndarray, some: slice
) -> tuple[np.ndarray, np.ndarray]:
    """Return the neighbours of the queries `some` of a call, as places in the order of numbers."""
    k, rows, excluded, device = ray.get(call[0])
    if excluded is not None:
        excluded = Excluded(excluded.codes_M, excluded.codes_Q[some])
    return nearest(_snapshot(*base), queries_QE, k, rows, excluded, device)


def _snapshot(where: str, version: int, root: str) -> Snapshot:
    """Return a version of a base, read if this process hasn't got it, and held from then on."""
    if (where, version, root) not in _held:
        _held.clear()  # before another is read: a worker has room for one
        _held[where, version, root] = _opened(where, version, root)
    return _held[where, version, root]


def _opened(where: str, version: int, root: str) -> Snapshot:
    here = os.uname().nodename
    if not is_url(where) and not Path(where).is_dir():
        raise UserError(f"{where} is not there on {here}: {_SHARED}.")
    try:
        snapshot = open_knowledge(where).snapshot(version)
    except UserError as error:
        raise UserError(f"On {here}, a Ray worker: {error}") from error
    if snapshot.root != root:
        raise UserError(
            f"{where} on {here} is another base, whose version {version} has the root {snapshot.root[:16]} in place of "
            f"{root[:16]}: {_SHARED}."
        )
    return snapshot
