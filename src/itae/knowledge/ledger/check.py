"""Whether a base is whole, and what there is of it."""

from __future__ import annotations

import os
from dataclasses import dataclass

import pyarrow as pa

from itae.base.errors import UserError
from itae.knowledge.disk.folder import is_url
from itae.knowledge.disk.pictures import Pictures
from itae.knowledge.ledger.about import GOING_ON, HEAD, read_head, read_tags
from itae.knowledge.ledger.journal import Edit, file_of
from itae.knowledge.ledger.versions import Versions
from itae.knowledge.records.digests import row_sums
from itae.knowledge.records.filed import NO_IMAGE
from itae.knowledge.records.sealed import Damaged
from itae.knowledge.records.snapshot import Snapshot

_AT_A_TIME = 65_536  # rows whose checksums are looked at


@dataclass(frozen=True)
class Report:
    """What was found out about a base.

    Parameters
    ----------
    rows
        How many the newest version has.
    whole, damaged
        Versions.
    problems
        What is wrong, a sentence each; empty where nothing is.
    notes
        What may be well or wrong, a sentence each.
    """

    rows: int
    whole: tuple[int, ...]
    damaged: tuple[int, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Status:
    """What there is of a base.

    Parameters
    ----------
    version, root
        Of the newest version.
    rows, labels, sources
        How many rows, and of each label (a row with several counts in each; those without are under "") and source.
    edits
        How many.
    tags
        The version of each.
    floor
        The first version that was not purged, beside 0.
    images
        ``refer`` or ``embed``.
    gone
        Ids of rows whose image isn't where it was.
    unfinished
        Whether a purge was interrupted, which the next edit will finish.
    """

    version: int
    root: str
    rows: int
    labels: dict[str, int]
    sources: dict[str, int]
    edits: int
    tags: dict[str, int]
    floor: int
    images: str
    gone: tuple[str, ...]
    unfinished: bool


def verify(versions: Versions, images: Pictures) -> Report:
    """Hold all that is there against its checksums: the journal, every version's files, every row, every image."""
    seen, report = versions.stamp(), _verified(versions, images)
    while report.problems and (now := versions.stamp()) != seen:  # a purge takes away what is looked at
        seen, report = now, _verified(versions, images)
    return report


def _verified(versions: Versions, images: Pictures) -> Report:
    problems = versions.journal.trouble(versions.folder.exists(GOING_ON))
    problems += _beside(versions)
    whole, damaged = _versions(versions)
    problems += [f"version {number}: files of rows.lance are not as they were written" for number in damaged]
    newest, snapshot = versions.journal.newest(), None
    notes: list[str] = []
    try:
        state = versions.verified(versions.edit(newest)) if newest else versions.newest()
        snapshot = state.snapshot
        problems += _rows(versions, state.store, snapshot.next_number)
        problems += _images(images, snapshot, versions.about.images)
        notes = _ahead(versions, state.store, newest)
    except (Damaged, UserError) as error:
        problems.append(f"version {newest}: {error}")
        whole, damaged = [n for n in whole if n != newest], sorted({*damaged, newest})
    rows, told = len(snapshot) if snapshot else 0, tuple(dict.fromkeys(problems))
    return Report(rows, tuple(whole), tuple(damaged), told, tuple(notes))


def _beside(versions: Versions) -> list[str]:
    """Return what is wrong with the files that name edits: damage, and edits that there aren't."""
    found: list[str] = []
    named: dict[str, int] = {}
    try:
        named |= {f"tag {name!r}": version for name, version in read_tags(versions.folder).items()}
    except Damaged as damage:
        found.append(str(damage))
    try:
        named[HEAD] = int(read_head(versions.folder).get("edit", 0))
    except Damaged as damage:
        found.append(str(damage))
    newest = versions.journal.newest()  # now: whoever edits meanwhile writes the journal first
    late = {what: edit for what, edit in named.items() if edit > newest}
    return found + [f"{what} is of edit {edit}, and {file_of(edit)} is gone" for what, edit in late.items()]


def _ahead(versions: Versions, store: int, newest: int) -> list[str]:
    """Return whether the store has a later version than the newest edit's, which may be what is left of a lost one."""
    if not versions.store.ahead(store):
        return []
    return [
        f"rows.lance has changes that no edit tells of, which the next edit takes away: somebody writes now, or died "
        f"before the edit was made, or {file_of(newest + 1)} is lost and has to be put back from a backup before that"
    ]


def _versions(versions: Versions) -> tuple[list[int], list[int]]:
    """Return the versions whose files are as they were written, and the others; purged ones are neither."""
    whole, known = [0], False
    damaged: list[int] = []
    for number in range(1, versions.journal.newest() + 1):
        try:
            edit = versions.journal.read(number)
            if edit.forgotten:
                continue
            store, files = versions.place(edit)
            if files is None:  # in an object store, or in memory
                versions.verified(edit)
            same = versions.store.files(store, known=known) == files
            known = True
        except Damaged:
            same = False
        (whole if same else damaged).append(number)
    return whole, damaged


def _rows(versions: Versions, store: int, end: int) -> list[str]:
    """Return what is wrong with rows: each is held against the checksum beside it."""
    found = []
    for first in range(0, end, _AT_A_TIME):
        rows, sums = versions.store.rows(store, [(first, min(first + _AT_A_TIME, end) - 1)])
        ids = rows.columns.column("id").to_pylist()
        same = zip(ids, row_sums(rows), sums, strict=True)
        found += [f"row {each!r} is not as it was written" for each, a, b in same if a != b]
    return found


def _images(images: Pictures, snapshot: Snapshot, kind: str) -> list[str]:
    """Return what is wrong with images that a base keeps."""
    if kind != "embed":
        return []
    found, there = [], set(images.all())
    for digest in sorted(there):
        try:
            images.get(digest)
        except Damaged as damage:
            found.append(str(damage))
    for i in snapshot.live.tolist():
        digest = snapshot.digests_M32[i].tobytes()
        if digest != NO_IMAGE and digest not in there:
            found.append(f"the image of {snapshot.ids[i]!r} is not in images")
    return found


def status(versions: Versions, at: int | str | None = None) -> Status:
    """Return what there is of a version of a base, the newest without one given."""
    state = versions.at(at)
    snapshot = state.snapshot
    unlabelled = len(snapshot) - len(snapshot.voters)
    edit: Edit | None = state.edit
    return Status(
        version=snapshot.version,
        root=snapshot.root,
        rows=len(snapshot),
        labels=dict(sorted((snapshot.label_counts | ({"": unlabelled} if unlabelled else {})).items())),
        sources=dict(sorted(snapshot.source_counts.items())),
        edits=snapshot.version,
        tags=versions.tags(),
        floor=edit.floor if edit else 0,
        images=versions.about.images,
        gone=_gone(snapshot) if versions.about.images == "refer" else (),
        unfinished=versions.folder.exists(GOING_ON),
    )


def _gone(snapshot: Snapshot) -> tuple[str, ...]:
    places = snapshot.table.column("place").take(pa.array(snapshot.live)).to_pylist()
    held = zip(snapshot.live.tolist(), places, strict=True)
    return tuple(snapshot.ids[i] for i, place in held if place and not is_url(place) and not os.path.exists(place))
