"""A knowledge base: rows of one space, edited and asked.

Every edit is first a `Change`, found from a snapshot: it can be looked at (``counts``, ``after``: the snapshot that it
would make), and `KnowledgeBase.commit` makes an edit of it. The rules of edits are here and in
`itae.knowledge.ledger.changes`, once; where rows lie (`itae.knowledge.disk`) knows none of them.

An edit is rows in the store, then a file of the journal: until that is there, there is no edit, whatever the store
holds. One process writes at a time; who reads takes no lock.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from itae.base.errors import UserError
from itae.base.place import at_home
from itae.knowledge.disk.folder import Folder, InMemory, folder_at, trouble_told, unreadable_told
from itae.knowledge.disk.pictures import Pictures, at_place
from itae.knowledge.ledger.about import About, indexes_of, look, make, write_tags
from itae.knowledge.ledger.changes import (
    Change,
    adding,
    correcting,
    deleting,
    each_once,
    from_source,
    labelled,
    positions_of,
)
from itae.knowledge.ledger.check import Report, Status, status, verify
from itae.knowledge.ledger.history import Diff, difference, restoring, undoing
from itae.knowledge.ledger.journal import Edit
from itae.knowledge.ledger.places import relinking
from itae.knowledge.ledger.purge import Purged, purge, to_purge
from itae.knowledge.ledger.since import Since
from itae.knowledge.ledger.state import State, Store, blocks_of
from itae.knowledge.ledger.versions import Versions
from itae.knowledge.ledger.writing import compact, user, write, writing
from itae.knowledge.records.rows import Rows
from itae.knowledge.records.snapshot import Snapshot


def create(
    path: str | os.PathLike[str], space: dict[str, Any], words: dict[str, Any], images: str = "refer"
) -> KnowledgeBase:
    """Make an empty base.

    Parameters
    ----------
    path
        A folder, which need not be there, or the URL of one in an object store.
    space
        What its vectors may be compared with, plain values, as in `itae.store.entry.Key`.
    words
        The settings, resolved, that make a vector of an image.
    images
        ``refer`` to images where they are, or ``embed`` their bytes.

    Raises
    ------
    UserError
        When there is a base, or the disk can't be written, or pylance is not installed.
    """
    from itae.knowledge.disk.lance_files import lance_here

    lance_here()  # before anything is written that nobody here could open
    folder = folder_at(path)
    with trouble_told(folder.where, "give a folder that you may write to"):
        make(folder, space, words, images)
    return open_knowledge(path)


def open_knowledge(path: str | os.PathLike[str]) -> KnowledgeBase:
    """Open a base; its rows are read when a snapshot is asked for.

    Raises
    ------
    UserError
        When there is none, or one of a newer format, or pylance is not installed.
    """
    from itae.knowledge.disk.lance_store import LanceStore

    folder = folder_at(path)
    with unreadable_told(folder.where):
        about = look(folder)
    return KnowledgeBase(folder, LanceStore(folder.where), Pictures(folder), about)


def in_memory(space: dict[str, Any], words: dict[str, Any], images: str = "refer") -> KnowledgeBase:
    """Make an empty base that goes with the process."""
    from itae.knowledge.disk.memory_store import MemoryStore

    folder = InMemory()
    make(folder, space, words, images)
    return KnowledgeBase(folder, MemoryStore(), Pictures(folder), look(folder))


class KnowledgeBase:
    """A base, opened by `open_knowledge` or `in_memory`.

    Attributes
    ----------
    about
        What it is: its space, the words that make a vector, and whether it keeps images.
    where
        Its path or URL.
    """

    def __init__(self, folder: Folder, store: Store, images: Pictures, about: About) -> None:
        self.folder, self.store, self.images, self.about = folder, store, images, about
        self.path = folder.where
        self.versions = Versions(folder, store, about)

    def __repr__(self) -> str:
        return f"KnowledgeBase({self.path!r})"

    # what there is

    def snapshot(self, at: int | str | None = None) -> Snapshot:
        """Return a version, every byte of it verified: the newest, or the one of a number or tag.

        Raises
        ------
        UserError
            When there is no such version, or it is damaged.
        """
        with self.versions.reading():
            return self.versions.at(at).snapshot

    def snapshot_beside(self, folder: str | os.PathLike[str], at: int | str | None = None) -> Snapshot:
        """Return a version, verified as `snapshot` does, whose vectors stay on the disk: in a file of `folder`.

        For a base that is larger than memory, with an index (`itae.knowledge.near.index`). It can be asked and not
        edited.

        Raises
        ------
        UserError
            As `snapshot` does, and when the folder can't be written.
        """
        with self.versions.reading():
            return self.versions.beside(at, Path(folder))

    def where(self, expression: str, at: int | str | None = None) -> np.ndarray:
        """Return the positions, in the snapshot of a version, of the rows that a condition holds for, ascending.

        Parameters
        ----------
        expression
            SQL on id, number, label, labels, group, place, source, time and metadata, as Lance takes it.

        Raises
        ------
        UserError
            When it is none.
        """
        return self.where_in(self.versions.at(at).snapshot, expression)

    def where_in(self, snapshot: Snapshot, expression: str) -> np.ndarray:
        """Return the positions, in a snapshot at hand, of the rows that a condition holds for, as `where` does.

        Two snapshots of one version may have a row at different positions.
        """
        if not len(snapshot):
            return np.zeros(0, np.int64)
        numbers = self.store.where(self._state_of(snapshot).store, expression)
        live = snapshot.live
        return live[np.isin(snapshot.numbers_M[live], numbers)]

    def image(self, snapshot: Snapshot, i: int) -> bytes | None:
        """Return the bytes of the image of a row of a snapshot, None where they are not kept, nor where it was."""
        digest, place = snapshot.digests_M32[i].tobytes(), snapshot.column("place", i)
        with self.versions.reading():
            kept = self.images.get(digest) if self.about.images == "embed" else None
        return kept if kept is not None or place is None else at_place(place, digest)

    def log(self, first: int = 1, last: int | None = None) -> list[Edit]:
        """Return the edits from `first` to `last`, all by default, the first first."""
        with self.versions.reading():
            return list(self.versions.journal.edits(first, last))

    def diff(self, a: int | str, b: int | str) -> Diff:
        """Return what is different in version `b` from version `a`."""
        first, second = self.snapshot(a), self.snapshot(b)
        return difference(first, second, blocks_of(first), blocks_of(second))

    def tags(self) -> dict[str, int]:
        """Return the version of each tag."""
        return self.versions.tags()

    # edits that might be made

    def add(self, rows: Rows, replace: bool = False, sync: str | None = None) -> Change:
        """Return the change that adds rows.

        One whose id is there with the same bytes and labels is no change.

        Parameters
        ----------
        rows
            What is to be there.
        replace
            Whether a row whose id is there with other bytes or labels takes that one's place.
        sync
            A source, whose rows that are not among these go.

        Raises
        ------
        UserError
            For rows that can't be kept, and, without `replace`, for an id that is there with other bytes or labels.
        """
        return adding(self.snapshot(), rows, replace, sync)

    def correct(self, ids: Sequence[str], labels: Sequence[str]) -> Change:
        """Return the change that gives rows these labels, or none, in place of theirs.

        Parameters
        ----------
        ids
            Of the rows, a list.
        labels
            The labels that each of them gets, a list; an empty one for none.

        Raises
        ------
        UserError
            For an id that no row has, and for a text in the place of a list.
        """
        return correcting(self.snapshot(), dict.fromkeys(each_once(ids), labels))

    def correct_each(self, labels: Mapping[str, Sequence[str]]) -> Change:
        """Return the change that gives each of some rows labels of its own, or none, in place of its.

        Parameters
        ----------
        labels
            By the row's id, a list; an empty one for none.

        Raises
        ------
        UserError
            As `correct` does.
        """
        return correcting(self.snapshot(), labels)

    def delete(
        self,
        ids: Sequence[str] | None = None,
        label: str | None = None,
        source: str | None = None,
        where: str | None = None,
    ) -> Change:
        """Return the change that takes rows away: those named by exactly one of ids, label, source or condition.

        Raises
        ------
        UserError
            For an id, label or source that no row has, or a condition that is none.
        """
        asked = {"ids": ids, "label": label, "source": source, "where": where}
        given = {name: value for name, value in asked.items() if value is not None}
        if len(given) != 1:
            raise UserError(
                "Rows to delete are named by ids, by a label, a source or a condition: give one of these, and no two."
            )

        def find(snapshot: Snapshot) -> np.ndarray:
            if ids is not None:
                return positions_of(snapshot, ids)
            if label is not None:
                return labelled(snapshot, label)
            if source is not None:
                return from_source(snapshot, source)
            assert where is not None
            return self.where_in(snapshot, where)

        return deleting(self.snapshot(), find, {} if ids is not None else given)

    def undo(self, edit: int) -> Change:
        """Return the change that puts back the rows that an edit touched.

        Raises
        ------
        UserError
            When there is no such edit, it was purged, or a later one has touched the same rows.
        """
        return self.versions.settled(lambda: self._undo(edit))

    def _undo(self, edit: int) -> Change:
        newest = self.versions.newest().snapshot
        if isinstance(edit, bool) or not isinstance(edit, int) or not 1 <= edit <= newest.version:
            last = newest.version
            there = f"there are 1 to {last}" if last > 1 else "there is only 1" if last else "it has none yet"
            raise UserError(f"There is no edit {edit!r} of {self.path}: {there}.")
        done = self.versions.edit(edit)
        floor = self.versions.edit(newest.version).floor
        if edit <= floor:
            raise UserError(f"Edit {edit} can't be undone: edit {floor} purged what was there before.")
        return self._undoing(newest, done)

    def _undoing(self, snapshot: Snapshot, edit: Edit) -> Change:
        later = (self.versions.edit(number) for number in range(edit.edit + 1, snapshot.version + 1))
        rows = self.versions.rows(edit.edit - 1, edit.touched.before) if edit.edit > 1 else None
        return undoing(snapshot, edit, later, rows, lambda newer: self._undoing(newer, edit))

    def restore(self, version: int | str) -> Change:
        """Return the change that brings the rows of a version back."""
        then = self.snapshot(version)
        return restoring(self.snapshot(), then, blocks_of, {"version": then.version})

    def relink(self, places: Mapping[str, str]) -> Change:
        """Return the change that tells where images are now.

        Parameters
        ----------
        places
            The new place of an id, or a new beginning for places that begin in an old one. An image counts as found
            only if it has the row's sha256; `Change.notes` tells of those that were not.

        Raises
        ------
        UserError
            For what is no id and begins no place, and where none of the images was found.
        """
        return relinking(self.snapshot(), places)

    # edits

    def commit(self, change: Change, who: str | None = None, why: str = "", seen: int | None = None) -> Edit | None:
        """Make an edit of a change, found anew where the base has changed since; None where nothing changes.

        Parameters
        ----------
        change
            What is done.
        who
            By whom; the user of this process by default.
        why
            The reason, any text.
        seen
            The version that who edits has looked at; None doesn't ask. Rows that nobody has touched since are edited
            wherever the base is by now.

        Raises
        ------
        ChangedSinceError
            When an edit after `seen` touched one of the rows: nothing is written.
        UserError
            When there is no version `seen` yet; when it can't be made on the newest version, or the disk is full or
            can't be written; then there is no edit.
        """
        with self._writing():
            return write(self.versions, self.images, change, who, why, seen)

    def refuse_changed(self, ids: Iterable[str], seen: int) -> None:
        """Raise where one of some rows was touched after a version, as `commit` does.

        Raises
        ------
        ChangedSinceError
            When one was, or a purge has taken away what tells so.
        UserError
            When there is no such version yet.
        """
        with self.versions.reading():
            self.versions.settled(lambda: Since(self.versions, seen).refuse(ids))

    def tag(self, name: str, version: int | str | None = None) -> None:
        """Give a version a name, the newest without one given; a tag that is there is moved.

        Raises
        ------
        UserError
            When the name is a whole number or empty, or there is no such version.
        """
        if not isinstance(name, str) or not name.strip() or name.isdecimal():
            raise UserError(f"A version can't be tagged {name!r}: a tag is a text that is no whole number.")
        with self._writing():
            newest = self.versions.newest().snapshot.version
            number = newest if version is None else self.versions.number(version)
            write_tags(self.folder, {**self.tags(), name: number})

    def untag(self, name: str) -> None:
        """Remove a tag.

        Raises
        ------
        UserError
            When there is no such tag.
        """
        with self._writing():
            tags = self.tags()
            if name not in tags:
                raise UserError(f"There is no tag {name!r}: there are {', '.join(sorted(tags)) or 'none'}.")
            write_tags(self.folder, {each: version for each, version in tags.items() if each != name})

    def compact(self) -> None:
        """Put the store's files together, and leave out rows that are gone; makes no version."""
        with self._writing():
            compact(self.versions)

    def purge(self, cache: str | os.PathLike[str] | None = None, who: str | None = None, why: str = "") -> Purged:
        """Make the edit that leaves no byte of what was deleted or replaced; undo and earlier versions end there.

        Parameters
        ----------
        cache
            The folder of ``paths.cache``, whose entries with the same images go as well.
        who, why
            As in `commit`.

        Raises
        ------
        UserError
            When there are no edits, or the base is damaged.
        """
        with self._writing():
            return purge(self.versions, self.images, at_home(cache).absolute() if cache else None, who or user(), why)

    def to_purge(self) -> tuple[int, tuple[str, ...]]:
        """Return how many deleted or earlier states of rows a purge would forget, and where their originals are."""
        with self.versions.reading():
            return self.versions.settled(lambda: to_purge(self.versions))

    def index_folder(self, cache: str | os.PathLike[str]) -> Path:
        """Return where a cache keeps indexes of this base; a purge that is given the cache removes them."""
        return indexes_of(Path(cache), self.about)

    # whether it is whole

    def verify(self) -> Report:
        """Hold all that is there against its checksums."""
        with self.versions.reading():
            return verify(self.versions, self.images)

    def status(self, at: int | str | None = None) -> Status:
        """Return what there is, in numbers: of the newest version, or the one of a number or tag.

        Raises
        ------
        UserError
            When there is no such version, or it is damaged.
        """
        with self.versions.reading():
            return status(self.versions, at)

    def _writing(self) -> contextlib.AbstractContextManager[None]:
        return writing(self.versions, self.images)

    def _state_of(self, snapshot: Snapshot) -> State:
        return self.versions.at(snapshot.version)
