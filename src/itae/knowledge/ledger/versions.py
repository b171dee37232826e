"""Versions of a base as snapshots: read and verified, or made from the one in hand.

Nothing of a version is handed out before its files have the hash and its blocks the digests that the journal has.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar
from weakref import WeakValueDictionary

import numpy as np

from itae.base.disk import disk_trouble_told
from itae.base.errors import UserError, did_you_mean
from itae.base.memory import give_back, share_heap
from itae.knowledge.disk.folder import Folder, unreadable_told
from itae.knowledge.ledger.about import GOING_ON, About, read_head, read_tags
from itae.knowledge.ledger.journal import Edit, Journal
from itae.knowledge.ledger.state import State, Store, blocks_of, rooted
from itae.knowledge.records.digests import SHIFT, root_of, row_sums
from itae.knowledge.records.filed import Filed
from itae.knowledge.records.ranges import Range, merged, within
from itae.knowledge.records.sealed import Damaged
from itae.knowledge.records.snapshot import Snapshot, after, empty

Looked = TypeVar("Looked")

_TELLS = 10_000  # rows that others may have touched for the next snapshot to be made from the one in hand
_DEAD, _DEAD_MORE = 2, 4096  # a snapshot with more positions than twice its rows and some is read anew
_EDITS = 1000  # edits, the same
_DIGITS = 18  # of a number of a version, that int64 holds


def is_number(text: str) -> bool:
    """Whether a text may be the number of a version or an edit; Python refuses to read one of thousands of digits."""
    return text.isdecimal() and len(text) <= _DIGITS


class Versions:
    """The versions of a base.

    Parameters
    ----------
    folder, store
        Where it is.
    about
        What it is.
    """

    def __init__(self, folder: Folder, store: Store, about: About) -> None:
        self.folder, self.store, self.about = folder, store, about
        self.journal = Journal(folder, about.seal)
        self._newest: State | None = None
        self._read: WeakValueDictionary[int, Snapshot] = WeakValueDictionary()
        self.guard = threading.RLock()

    def newest(self) -> State:
        """Return the newest version.

        Raises
        ------
        UserError
            When it is damaged.
        """
        with self.guard, self.reading():
            held = self._newest
            if held is not None and len(held.snapshot.alive_M) > _DEAD * len(held.snapshot) + _DEAD_MORE:
                held = None
            number = self.journal.newest(held.snapshot.version if held else None)
            if held is None or number > held.snapshot.version:
                self._newest = (held and self._caught_up(held, number)) or self._opened_now(number)
            assert self._newest is not None
            return self._newest

    def made(self, state: State) -> None:
        """Take what an edit of this process has made as the newest."""
        with self.guard:
            self._newest = state

    def earlier_dropped(self) -> None:
        """Let go of earlier versions, which are no more."""
        with self.guard:
            self._read.clear()

    def settled(self, look: Callable[[], Looked]) -> Looked:
        """Look, and once more where that fails and a purge or an edit was made meanwhile: it may have taken it away."""
        seen = self.stamp()
        while True:
            try:
                return look()
            except UserError:
                seen, before = self.stamp(), seen
                if seen == before:
                    raise

    def stamp(self) -> tuple[int, bool]:
        """Return what an edit changes, and a purge while it goes on."""
        with self.reading():
            return self.journal.newest(), self.folder.exists(GOING_ON)

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Raise damage, and what can't be read, as a `UserError`."""
        with unreadable_told(self.folder.where), self.damage_told():
            yield

    @contextlib.contextmanager
    def damage_told(self) -> Iterator[None]:
        """Raise damage as a `UserError`."""
        try:
            yield
        except Damaged as damage:
            raise self._damaged(str(damage)) from None

    def at(self, which: int | str | None) -> State:
        """Return a version by its number or tag, the newest without that."""
        if which is None:
            return self.newest()
        return self.settled(lambda: self._at(which))

    def _at(self, which: int | str) -> State:
        version = self.number(which)
        with self.guard:
            held = self._newest
            if held is not None and held.snapshot.version == version:
                return held
            if (found := self._read.get(version)) is not None:
                edit = self.edit(version) if version else None
                return State(found, self.place(edit)[0] if edit else 0, edit)
            state = self._opened(version)
            self._read[version] = state.snapshot
            return state

    def beside(self, which: int | str | None, folder: Path) -> Snapshot:
        """Return a version whose vectors stay in a file of `folder`, written if it isn't there or is damaged.

        Files of other versions go from there.
        """
        version = self.journal.newest() if which is None else self.number(which)
        if not version:
            return self._empty()
        edit = self.edit(version)
        file = folder / f"{edit.root[:32]}.npy"
        share_heap()
        with disk_trouble_told(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for other in folder.glob("*.npy"):
                if other != file:
                    other.unlink(missing_ok=True)
        with self.reading():
            try:
                snapshot = self.verified(edit, file).snapshot
            except Damaged:
                file.unlink(missing_ok=True)
                snapshot = self.verified(edit, file).snapshot
        give_back()  # of what the columns were read through, as much again as they take
        return snapshot

    def number(self, which: int | str) -> int:
        """Return the version that a number or a tag names.

        Raises
        ------
        UserError
            When there is none, or it was purged.
        """
        if isinstance(which, bool) or not (isinstance(which, str) or hasattr(which, "__index__")):
            raise UserError(f"{which!r} is no version of {self.folder.where}: give a whole number or a tag.")
        with self.reading():
            newest = self.journal.newest(self._newest.snapshot.version if self._newest else None)
        named = isinstance(which, str) and not is_number(which)
        tags = self.tags() if named else {}  # a number is found where the tags are damaged
        if named and which in tags:
            which = tags[str(which)]
        elif named:
            some = f"; its tags are {', '.join(sorted(tags))}" if tags else ", and it has no tags"
            raise UserError(
                f"No version of {self.folder.where} is called {which!r}: {self._there(newest)}{some}."
                f"{did_you_mean(str(which), tags)}"
            )
        version = int(which)
        if not 0 <= version <= newest:
            raise UserError(f"There is no version {version} of {self.folder.where}: {self._there(newest)}.")
        with self.reading():
            floor = self._floor(newest)
        if 0 < version < floor:
            raise UserError(
                f"Version {version} of {self.folder.where} is gone: edit {floor} purged all before it; "
                f"{self._there(newest)}."
            )
        return version

    def _there(self, newest: int) -> str:
        """Say which versions there are: 0, and those since the last purge."""
        first = self._floor(newest)
        if not newest:
            return "there is only 0, which is empty"
        if not first:
            return f"there are 0 to {newest}"
        return f"there are 0 and {newest if first == newest else f'{first} to {newest}'}"

    def _floor(self, newest: int) -> int:
        """Return the last purge, as the newest edit has it that can be read."""
        for number in range(newest, 0, -1):
            with contextlib.suppress(Damaged):
                return self.journal.read(number).floor
        return 0

    def tags(self) -> dict[str, int]:
        """Return the version of each tag."""
        with self.reading():
            return read_tags(self.folder)

    def edit(self, number: int) -> Edit:
        """Return an edit, or say that the journal is damaged."""
        with self.reading():
            return self.journal.read(number)

    def place(self, edit: Edit) -> tuple[int, str | None]:
        """Return the store's version of an edit, and the hash of its files: others since files were put together."""
        try:
            head = read_head(self.folder)
        except Damaged:
            if edit.edit == self.journal.newest():
                raise
            head = {}  # it is about the newest; where an earlier one was put together, its first files are held still
        if head.get("edit") == edit.edit:
            return int(head["store"]), head["files"]
        return edit.store, edit.files

    def rows(self, version: int, numbers: Iterable[Range]) -> Filed | None:
        """Return rows of a version by their numbers, each held against its checksum; None for none."""
        numbers = list(numbers)
        if not numbers:
            return None
        with self.reading():
            found, sums = self.store.rows(self._whole(self.edit(version)), numbers)
            wrong = [i for i, (a, b) in enumerate(zip(row_sums(found), sums, strict=True)) if a != b]
            if wrong or len(found) != sum(last - first + 1 for first, last in numbers):
                ids = [found.columns.column("id")[i].as_py() for i in wrong[:5]]
                raise Damaged(f"rows {ids} of version {version}" if wrong else f"rows of version {version} are missing")
        return found

    def _empty(self) -> Snapshot:
        return empty(self.about.space, root_of(self.about.space, {}))

    def _opened_now(self, number: int) -> State:
        """Read the newest version; a purge in the meantime takes it away, and has made another."""
        while True:
            try:
                return self._opened(number)
            except UserError:
                newest = self.journal.newest(number)
                if newest == number:
                    raise
                number = newest

    def _opened(self, version: int) -> State:
        """Read a version and verify it."""
        if not version:
            return State(self._empty(), 0, None)
        edit = self.edit(version)
        with self.reading():
            return self.verified(edit)

    def verified(self, edit: Edit, beside: Path | None = None) -> State:
        """Read the version of an edit, its vectors into the file `beside` if one is given.

        Raises
        ------
        Damaged
            When it isn't what was written.
        """
        self._whole(edit, known=False)
        return self.held(edit, beside)

    def _whole(self, edit: Edit, known: bool = True) -> int:
        """Return the store's version of an edit, whose files have the hashes that they were written with.

        Lance reads no other: damage may end the process that it runs in.
        """
        store, files = self.place(edit)
        if self.store.files(store, known) != files:
            raise Damaged(self._told_apart(edit) or "files of rows.lance are not as they were written")
        return store

    def held(self, edit: Edit, beside: Path | None = None) -> State:
        """Read the version of an edit and hold it against the journal's digests, whatever its files hold.

        Raises
        ------
        Damaged
            When it isn't what was written.
        """
        store, _ = self.place(edit)
        snapshot = self._as_read(self.store.read(store, beside), edit)
        blocks, told = blocks_of(snapshot), {int(block): digest for block, digest in edit.blocks.items()}
        bad = sorted({block for block, _ in set(blocks.items()) ^ set(told.items())})
        if bad:
            raise Damaged(self._rows_of(store, bad))
        if root_of(snapshot.space, blocks) != edit.root:
            raise Damaged(f"the root of version {edit.edit} is another one")
        return State(snapshot, store, edit)

    def _told_apart(self, edit: Edit) -> str:
        """Say what is damaged in a version, as a process of its own finds it; nothing where that one ends of it."""
        asked = [str(sys.executable), "-m", "itae.knowledge.damage", self.folder.where, str(edit.edit)]
        try:
            return subprocess.run(asked, capture_output=True, check=True, encoding="utf-8").stdout.strip()
        except (OSError, subprocess.CalledProcessError, UnicodeDecodeError):
            return ""

    def _as_read(self, rows: Filed, edit: Edit) -> Snapshot:
        made = after(self._empty(), np.zeros(0, np.int64), {}, rows, edit.edit, edit.root)
        if len(made.position) != len(made):
            raise Damaged("an id is there twice")
        if (np.diff(made.numbers_M) <= 0).any():  # they are read in their order
            raise Damaged("a row is there twice")
        return replace(made, next_number=edit.next)

    def _rows_of(self, store: int, blocks: list[int]) -> str:
        """Name the damaged rows of some blocks."""
        wrong: list[str] = []
        for block in blocks:
            found, sums = self.store.rows(store, [(block << SHIFT, ((block + 1) << SHIFT) - 1)])
            ids = found.columns.column("id").to_pylist()
            wrong += [ids[i] for i, (a, b) in enumerate(zip(row_sums(found), sums, strict=True)) if a != b]
        if not wrong:
            return f"rows are missing, or others are there, in the blocks {blocks[:10]} of 1,024 rows"
        more = f" and {len(wrong) - 10:,} more" if len(wrong) > 10 else ""
        return f"{'row' if len(wrong) == 1 else 'rows'} {', '.join(map(repr, wrong[:10]))}{more}"

    def _caught_up(self, held: State, number: int) -> State | None:
        """Make the newest version from the one in hand, after edits of others; None where that can't be told."""
        first = held.snapshot.version + 1
        if number - first > _EDITS:
            return None
        try:
            edits = list(self.journal.edits(first, number))
            if held.edit is not None and edits[0].previous != held.edit.link:
                return None
            gone, come = (merged(*(getattr(one.touched, name) for one in edits)) for name in ("before", "after"))
            touched = merged(gone, come)
            if sum(last - low + 1 for low, last in touched) > _TELLS:
                return None
            store, files = self.place(edits[-1])
            if self.store.files(store, known=True) != files:
                return None
            rows = self.store.rows(store, touched)[0] if touched else None
        except Damaged:
            return None
        before = held.snapshot
        removed = before.live[within(before.numbers_M[before.live], touched)]
        made = after(before, removed, {}, rows, number)
        blocks, root = held.then(made, touched)
        if root != edits[-1].root:
            return None
        return State(rooted(made, blocks, root, edits[-1].next), store, edits[-1])

    def _damaged(self, what: str) -> UserError:
        return UserError(
            f"The knowledge base at {self.folder.where} is damaged ({what}): nothing is answered from it; `itae "
            "knowledge verify` says which versions are whole, and --at VERSION answers from one of these."
        )
