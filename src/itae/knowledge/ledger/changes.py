"""Edits before they are made: which rows each would put in, change and take away, and the snapshot after it.

A `Change` is found from a snapshot and can be looked at for as long as one likes; `KnowledgeBase.commit` makes an edit
of it, and finds it anew where the base has had another edit meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from itae.base.errors import UserError, did_you_mean
from itae.knowledge.ledger.journal import Touched
from itae.knowledge.records.filed import NO_IMAGE, Filed, together
from itae.knowledge.records.ranges import ranges
from itae.knowledge.records.rows import Rows, filed, labels_kept
from itae.knowledge.records.sealed import now
from itae.knowledge.records.snapshot import Snapshot, after, digests_of

NOBODY = np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class Change:
    """What an edit would do to a snapshot.

    Parameters
    ----------
    verb, asked
        What is done, and what it was given, for the journal.
    before
        The snapshot.
    removed
        Positions of rows that go, or get other bytes or another place.
    relabelled
        The labels, sorted, of rows that keep all else, by position.
    added
        Rows that come, those of removed ones in their new state among them.
    again
        Finds the change on another snapshot.
    image
        Returns the bytes of the image of the n-th of `added`, for a base that keeps them.
    same
        How many of the rows that were handed over are there as they are.
    notes
        What is to be told of it besides, a sentence each.
    when
        The time of an edit that is made again, as the journal has it; None is now.
    named
        The ids that it was given, where some may be of rows that are so already.
    """

    verb: str
    before: Snapshot
    again: Callable[[Snapshot], Change]
    removed: np.ndarray = field(default_factory=lambda: NOBODY)
    relabelled: Mapping[int, Sequence[str]] = field(default_factory=dict)
    added: Filed | None = None
    asked: dict[str, Any] = field(default_factory=dict)
    image: Callable[[int], bytes] | None = None
    same: int = 0
    notes: tuple[str, ...] = ()
    when: str | None = None
    named: Collection[str] = ()

    def __bool__(self) -> bool:
        return bool(len(self.removed) or self.relabelled or (self.added is not None and len(self.added)))

    @cached_property
    def touched(self) -> Touched:
        """Which rows it touches."""
        before, put = self.before, self._put
        gone = {before.ids[i] for i in self.removed.tolist()}
        relabelled = {before.ids[i] for i in self.relabelled}
        old, new = before.numbers_M[self.removed], put[1]
        kept = before.numbers_M[np.array(list(self.relabelled), np.int64)]
        return Touched(
            added=tuple(each for each in put[0] if each not in gone),
            changed=tuple(sorted((gone & set(put[0])) | relabelled)),
            deleted=tuple(sorted(gone - set(put[0]))),
            before=ranges(np.concatenate([old, kept])),
            after=ranges(np.concatenate([new, kept])),
        )

    @property
    def _put(self) -> tuple[list[str], np.ndarray]:
        if self.added is None:
            return [], NOBODY
        return self.added.columns.column("id").to_pylist(), self.added.columns.column("number").to_numpy()

    def put(self) -> Filed | None:
        """Return the rows to write, those that get other labels among them."""
        relabelled = np.array(list(self.relabelled), np.int64)
        changed = self.after.filed(relabelled) if len(relabelled) else None
        if changed is None or self.added is None:
            return changed or self.added
        return together(changed, self.added)

    @property
    def counts(self) -> dict[str, int]:
        """How many rows it adds, changes and deletes."""
        return {name: len(getattr(self.touched, name)) for name in ("added", "changed", "deleted")}

    @cached_property
    def after(self) -> Snapshot:
        """The snapshot that it would make; the root is not known before it is an edit."""
        return after(self.before, self.removed, self.relabelled, self.added, self.before.version + 1)


def adding(before: Snapshot, rows: Rows, replace: bool, sync: str | None) -> Change:
    """Return the change that adds rows; see `KnowledgeBase.add`."""
    given = filed(rows, before.next_number, now(), _types(before))
    if len(before) and len(given) and given.vectors_NE.shape[1] != before.vectors_ME.shape[1]:
        raise UserError(
            f"The rows to add are {given.vectors_NE.shape[1]:,} wide and those of this base "
            f"{before.vectors_ME.shape[1]:,}: they are of another space."
        )
    new, replaced, relabelled, same = _sorted_out(before, given, replace)
    gone = np.array([i for i, _ in replaced], np.int64)
    added = _numbered(given, new, replaced, before)
    if sync is not None:
        gone = np.concatenate([gone, _no_more(before, sync, set(rows.ids))])

    def again(snapshot: Snapshot) -> Change:
        return adding(snapshot, rows, replace, sync)

    chosen = [*new, *(j for _, j in replaced)]
    image = rows.image if rows.image is None else lambda n: rows.image(chosen[n])  # type: ignore[misc]
    asked: dict[str, Any] = {"source": rows.source} if isinstance(rows.source, str) else {}
    asked |= ({"replace": True} if replace else {}) | ({"sync": sync} if sync is not None else {})
    return Change("add", before, again, gone, relabelled, added, asked, image, same, named=rows.ids)


def _types(snapshot: Snapshot) -> dict[str, Any]:
    return Filed(snapshot.table, snapshot.vectors_ME).metadata


Replaced = list[tuple[int, int]]


def _sorted_out(before: Snapshot, given: Filed, replace: bool) -> tuple[list[int], Replaced, dict[int, list[str]], int]:
    """Return which given rows are new, which replace one, the labels that change alone, and how many are there."""
    ids = given.columns.column("id").to_pylist()
    labels = given.columns.column("labels").to_pylist() if len(before) else []
    images = digests_of(given)
    new: list[int] = []
    replaced: Replaced = []
    relabelled: dict[int, list[str]] = {}
    same = 0
    for j, each in enumerate(ids):
        i = before.position.get(each)
        if i is None:
            new.append(j)
            continue
        other_image = not _same_image(before, i, given, j, images)
        other_labels = sorted(before.labels_of(i)) != labels[j]
        if (other_image or other_labels) and not replace:
            raise UserError(_refused(before, i, labels[j], other_image))
        if other_image or (replace and _differs_beside(before, i, given, j)):
            replaced.append((i, j))
        elif other_labels:
            relabelled[i] = labels[j]
        else:
            same += 1
    return new, replaced, relabelled, same


def _same_image(before: Snapshot, i: int, given: Filed, j: int, images: np.ndarray) -> bool:
    if images[j].tobytes() == NO_IMAGE and before.digests_M32[i].tobytes() == NO_IMAGE:
        return bool((before.vectors_ME[i] == given.vectors_NE[j]).all())
    return bool((before.digests_M32[i] == images[j]).all())


def _differs_beside(before: Snapshot, i: int, given: Filed, j: int) -> bool:
    """Whether something is told anew of a row beside its image and its labels."""
    told = ["group", "place", "source", *given.metadata]
    there = set(before.table.column_names)
    old = {name: before.column(name, i) if name in there else None for name in told}
    return any(given.columns.column(name)[j].as_py() != old[name] for name in told)


def _refused(before: Snapshot, i: int, labels: Sequence[str], other_image: bool) -> str:
    there = list(before.labels_of(i))
    if other_image:
        return (
            f"The id {before.ids[i]!r} is there with another image (labels {there}, and {list(labels)} to add): "
            "nothing was added; --replace puts the new one in its place, and another --source gives it another id."
        )
    return (
        f"The id {before.ids[i]!r} is there with the labels {there} and not {list(labels)}: nothing was added; "
        "--replace gives it these, and so does `itae knowledge correct`."
    )


def _numbered(given: Filed, new: list[int], replaced: Replaced, before: Snapshot) -> Filed | None:
    """Return the rows to put: new numbers where the image is new, else the number and the vector that it has."""
    if len(new) == len(given):
        return given
    chosen = np.array([*new, *(j for _, j in replaced)], np.int64)
    if not len(chosen):
        return None
    some, images = given.take(chosen), digests_of(given)
    numbers = before.next_number + np.arange(len(chosen), dtype=np.int64)
    for n, (i, j) in enumerate(replaced, len(new)):
        if _same_image(before, i, given, j, images):
            numbers[n] = before.numbers_M[i]
            some.vectors_NE[n] = before.vectors_ME[i]
    place = some.columns.schema.get_field_index("number")
    return Filed(some.columns.set_column(place, some.columns.schema.field("number"), [numbers]), some.vectors_NE)


def _no_more(before: Snapshot, source: str, ids: set[str]) -> np.ndarray:
    """Return the positions of a source's rows that are not among some ids."""
    live = before.live
    sources = before.table.column("source").take(live).to_pylist()
    held = zip(live.tolist(), sources, strict=True)
    return np.array([i for i, each in held if each == source and before.ids[i] not in ids], np.int64)


def correcting(before: Snapshot, labels: Mapping[str, Sequence[str]]) -> Change:
    """Return the change that gives rows, by their ids, these labels in place of theirs."""
    kept = dict(zip(labels, labels_kept(list(labels.values())), strict=True))
    positions = positions_of(before, kept)
    wanted = {i: kept[before.ids[i]] for i in positions.tolist()}
    relabelled = {i: some for i, some in wanted.items() if sorted(before.labels_of(i)) != some}
    each = list(kept.values())
    return Change(
        "correct",
        before,
        lambda snapshot: correcting(snapshot, labels),
        relabelled=relabelled,
        asked={"labels": each[0]} if each and each.count(each[0]) == len(each) else {"labels_of": kept},
        same=len(positions) - len(relabelled),
        named=kept,
    )


def deleting(before: Snapshot, find: Callable[[Snapshot], np.ndarray], asked: dict[str, Any]) -> Change:
    """Return the change that takes rows away: those at the positions that `find` returns."""
    return Change("delete", before, lambda snapshot: deleting(snapshot, find, asked), find(before), asked=asked)


def each_once(ids: Iterable[str]) -> list[str]:
    """Return ids, each once, or raise a `UserError` for a text in the place of a list."""
    if isinstance(ids, str):
        raise UserError(f"Ids come as a list, and {ids!r} is a text: write [{ids!r}].")
    return list(dict.fromkeys(ids))


def positions_of(snapshot: Snapshot, ids: Iterable[str]) -> np.ndarray:
    """Return the positions of rows by their ids.

    Raises
    ------
    UserError
        For an id that no row has, with the nearest that there is, and for a text in the place of a list.
    """
    found = []
    for each in each_once(ids):
        i = snapshot.position.get(each)
        if i is None:
            near = did_you_mean(each, snapshot.position)
            raise UserError(f"No row of the base has the id {each!r}.{near}")
        found.append(i)
    return np.array(found, np.int64)


def labelled(snapshot: Snapshot, label: str) -> np.ndarray:
    """Return the positions of the rows that have a label, among others or alone.

    Raises
    ------
    UserError
        For a label that no row has, with the nearest that there is.
    """
    there = {name for i in snapshot.several for name in snapshot.labels_of(i) if snapshot.alive_M[i]}
    codes = np.unique(snapshot.labels_M[snapshot.live])
    there |= {snapshot.label_names[code] for code in codes[codes >= 0].tolist()}
    if label not in there:
        raise UserError(f"No row of the base has the label {label!r}.{did_you_mean(label, sorted(there))}")
    code = snapshot.label_names.index(label)
    among = [i for i, codes in snapshot.several.items() if code in codes and snapshot.alive_M[i]]
    alone = snapshot.live[snapshot.labels_M[snapshot.live] == code]
    return np.union1d(alone, np.array(among, np.int64))


def from_source(snapshot: Snapshot, source: str) -> np.ndarray:
    """Return the positions of the rows of a source.

    Raises
    ------
    UserError
        For a source that no row has, with the nearest that there is.
    """
    live = snapshot.live
    sources = np.array(snapshot.table.column("source").take(live).to_pylist(), object)
    found = live[sources == source]
    if not len(found):
        known = sorted(set(sources.tolist()))
        raise UserError(f"No row of the base has the source {source!r}.{did_you_mean(source, known)}")
    return found
