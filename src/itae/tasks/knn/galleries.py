"""Who is asked: the rows that vote on the queries of one side, and which of them are out for which query.

A query never meets rows of its own bytes, nor of their group. Where the rows are the queries' own images, that is
leave-one-group-out.

Shapes: Q queries, M positions of a snapshot.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.base.errors import UserError
from itae.knowledge.answers.classify import rows_of_bytes
from itae.knowledge.base import KnowledgeBase, open_knowledge
from itae.knowledge.near.neighbours import Excluded
from itae.knowledge.records.snapshot import Snapshot, after
from itae.store.entry import differences
from itae.tasks.asked import excluded_of
from itae.tasks.knn.queries import Queries
from itae.tasks.memory import memory

if TYPE_CHECKING:
    from itae.base.runtime import Runtime
    from itae.store.entry import Embeddings

SIDES = ("baseline", "edited")
_EDIT = "edit"


@dataclass(frozen=True)
class Gallery:
    """The rows of one side.

    Parameters
    ----------
    whole
        All of them; a snapshot that others may look into for it.
    snapshot
        The same in the same places, those of held out classes deleted: all that is known.
    excluded
        Which rows are out for which query.
    twins
        The live rows of each query's bytes, but for the query itself.
    """

    whole: Snapshot
    snapshot: Snapshot
    excluded: Excluded
    twins: Sequence[np.ndarray]


def own_images(entry: Embeddings, queries: Queries) -> Gallery:
    """Return the gallery of leave-one-group-out: the queries are its rows."""
    whole = memory(entry, queries.said)
    snapshot = _without(whole, queries.held_out)
    twins = rows_of_bytes(snapshot, [digest.tobytes() for digest in queries.digests], len(queries.ids))
    others = [rows[rows != i] if len(rows) else rows for i, rows in enumerate(twins)]
    return Gallery(whole, snapshot, Excluded(whole.groups_M, whole.groups_M), others)


def other_rows(rows: Snapshot, queries: Queries) -> Gallery:
    """Return a gallery of other images: of another data set in memory, or of a knowledge base."""
    snapshot = _without(rows, queries.held_out)
    twins = rows_of_bytes(snapshot, [digest.tobytes() for digest in queries.digests], len(queries.ids))
    return Gallery(rows, snapshot, excluded_of(snapshot, queries.said.groups, queries.digests), twins)


def _without(snapshot: Snapshot, names: Sequence[str]) -> Snapshot:
    """Return a snapshot less the rows that have one of some labels."""
    if not names:
        return snapshot
    out = {code for code, name in enumerate(snapshot.label_names) if name in set(names)}
    gone = snapshot.alive_M & np.isin(snapshot.labels_M, list(out))
    for i, codes in snapshot.several.items():
        gone[i] |= bool(snapshot.alive_M[i]) and not out.isdisjoint(codes)
    return after(snapshot, np.flatnonzero(gone), {}, None, snapshot.version, snapshot.root)


def bases_of(gallery: Any) -> dict[str, str] | None:
    """Return the place of the base of each side, where ``task.gallery`` names bases; None where it doesn't.

    Raises
    ------
    UserError
        If it names one for one side alone.
    """
    if isinstance(gallery, str):
        return dict.fromkeys(SIDES, gallery)
    if not isinstance(gallery, Mapping) or not set(SIDES) & set(gallery):
        return None
    if set(gallery) != set(SIDES) or not all(isinstance(place, str) for place in gallery.values()):
        raise UserError(
            f"task.gallery={dict(gallery)} must name a base for each side, as in task.gallery={{baseline: KB, edited: "
            "KB2}."
        )
    return {side: gallery[side] for side in SIDES}


def open_base(place: str, side: str, space: Mapping[str, Any]) -> KnowledgeBase:
    """Open the base that a side asks, and refuse one of another space.

    Parameters
    ----------
    place
        A folder, or the URL of one in an object store.
    side
        ``baseline`` or ``edited``.
    space
        Of the vectors of that side.

    Raises
    ------
    UserError
        For one of another space, and where there is none.
    """
    base = open_knowledge(place)
    for name, (there, asked) in differences(base.about.space, dict(space)).items():
        if name == _EDIT:  # one of the two has none
            there, asked = ("none", "set") if there == "null" else ("set", "none")
        raise UserError(
            f"task.gallery={place} is of another space than the {side} side: {name} is {there} in it, and {asked} "
            f"here; make the same base in that space, itae knowledge rebuild {place} NEW key=value... by the words of "
            "this run, and name both as task.gallery={baseline: KB, edited: NEW}."
        )
    return base


@contextlib.contextmanager
def served(base: KnowledgeBase, at: int, runtime: Runtime) -> Iterator[Snapshot]:
    """Yield a version of a base; with ``runtime.engine=ray`` the workers of a cluster look for neighbours in it."""
    if runtime.engine != "ray":
        yield rows_of(base, at)
        return
    from itae.knowledge.near.on_ray import ray_workers

    with ray_workers(base, runtime.ray) as workers:
        snapshot = rows_of(base, at)
        workers.serve(snapshot)
        yield snapshot


def rows_of(base: KnowledgeBase, at: int | str | None) -> Snapshot:
    """Return a version of a base, the newest of None.

    Raises
    ------
    UserError
        If there is no such version, or no row of it has a label.
    """
    snapshot = base.snapshot(at)
    if not len(snapshot.voters):
        raise UserError(
            f"task.gallery={base.path}: none of its {len(snapshot)} rows has a label to vote with; add labelled images "
            "(itae knowledge add), or name another version with task.at."
        )
    return snapshot
