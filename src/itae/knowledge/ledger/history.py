"""What became of rows between two versions, and edits that bring an earlier state back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from itae.base.errors import UserError
from itae.knowledge.ledger.changes import Change
from itae.knowledge.ledger.journal import Edit
from itae.knowledge.records.digests import SHIFT, Blocks, row_sums
from itae.knowledge.records.filed import Filed
from itae.knowledge.records.snapshot import Snapshot


@dataclass(frozen=True)
class Diff:
    """What is different in a second version.

    Parameters
    ----------
    added, deleted
        Ids.
    changed
        By id, what was in each field that differs, and what is; of a vector nothing but that it differs.
    """

    added: tuple[str, ...]
    deleted: tuple[str, ...]
    changed: dict[str, dict[str, tuple[Any, Any]]]


def apart(a: Snapshot, b: Snapshot, blocks_a: Blocks, blocks_b: Blocks) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of the rows of each of two versions that are not in the other just so."""
    blocks = {int(block) for block, _ in set(blocks_a.items()) ^ set(blocks_b.items())}
    some = np.array(sorted(blocks), np.int64)
    at_a, at_b = (one.live[np.isin(one.numbers_M[one.live] >> SHIFT, some)] for one in (a, b))
    sums_a, sums_b = row_sums(a.filed(at_a)), row_sums(b.filed(at_b))
    in_a, in_b = set(sums_a), set(sums_b)
    not_b = np.array([each not in in_b for each in sums_a], bool)
    not_a = np.array([each not in in_a for each in sums_b], bool)
    return at_a[not_b], at_b[not_a]


def difference(a: Snapshot, b: Snapshot, blocks_a: Blocks, blocks_b: Blocks) -> Diff:
    """Return what is different in `b`."""
    old, new = apart(a, b, blocks_a, blocks_b)
    was = {a.ids[i]: i for i in old.tolist()}
    became = {b.ids[i]: i for i in new.tolist()}
    both = [each for each in was if each in became]
    return Diff(
        tuple(sorted(became.keys() - was.keys())),
        tuple(sorted(was.keys() - became.keys())),
        {each: _fields(a, was[each], b, became[each]) for each in sorted(both)},
    )


def _fields(a: Snapshot, i: int, b: Snapshot, j: int) -> dict[str, tuple[Any, Any]]:
    first, second = _told(a, i), _told(b, j)
    names = [*first, *(name for name in second if name not in first)]
    found = {n: (first.get(n), second.get(n)) for n in names if first.get(n) != second.get(n)}
    if (a.vectors_ME[i] != b.vectors_ME[j]).any():
        found["vector"] = (None, None)
    return found


def _told(snapshot: Snapshot, i: int) -> dict[str, Any]:
    labels = {"labels": sorted(snapshot.labels_of(i)), "sha256": snapshot.digests_M32[i].tobytes().hex()}
    return labels | {name: snapshot.column(name, i) for name in snapshot.table.column_names}


def restoring(before: Snapshot, then: Snapshot, blocks: Callable[[Snapshot], Blocks], asked: dict[str, Any]) -> Change:
    """Return the change that brings a version back, to the number of each row."""
    gone, back = apart(before, then, blocks(before), blocks(then))
    return Change(
        "restore",
        before,
        lambda snapshot: restoring(snapshot, then, blocks, asked),
        gone,
        added=then.filed(back) if len(back) else None,
        asked=asked,
    )


def undoing(
    before: Snapshot, edit: Edit, later: Iterable[Edit], rows: Filed | None, again: Callable[[Snapshot], Change]
) -> Change:
    """Return the change that puts back what an edit touched.

    Parameters
    ----------
    before
        The newest version.
    edit
        What is undone.
    later
        The edits since.
    rows
        What it took away or changed, as it was.
    again
        Finds the change on another snapshot.

    Raises
    ------
    UserError
        Where an edit since has touched the same rows, and has not been undone itself.
    """
    ids = edit.touched.ids
    for one in _standing(list(later)):
        both = sorted(ids & one.touched.ids)
        if both:
            some = ", ".join(map(repr, both[:5])) + (f" and {len(both) - 5:,} more" if len(both) > 5 else "")
            raise UserError(
                f"Edit {edit.edit} can't be undone: edit {one.edit} ({one.verb}) has touched {some} since; undo that "
                "first, or correct or delete these rows."
            )
    there = np.array(sorted(before.position[each] for each in ids if each in before.position), np.int64)
    return Change("undo", before, again, there, added=rows, asked={"edit": edit.edit}, named=ids)


def _standing(edits: list[Edit]) -> list[Edit]:
    """Return edits without those that a later one of them undid, and without that one."""
    numbers = {one.edit for one in edits}
    cancelled: set[int] = set()
    for one in reversed(edits):
        undone = one.asked.get("edit") if one.verb == "undo" else None
        if one.edit not in cancelled and undone in numbers:
            cancelled |= {one.edit, undone}
    return [one for one in edits if one.edit not in cancelled]
