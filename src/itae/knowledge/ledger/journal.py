"""The journal of a base: what was done to it, by whom, when and why.

An edit is there once its file is, ``journal/00000012.json`` for edit 12, and version 12 is what it made. A file begins
with its seal, the sha256 of the bytes after it, and names the seal of the edit before (the first: of ``base.json``), so
none can be changed, left out or put in between without being found. Each holds a salt, a random number: when the ids in
an edit are purged, it goes with them, and the old seal, which the chain still needs, can't be used to try out what they
were. `Touched` has the numbers of rows as ranges ``[first, last]``.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from itae.base.errors import UserError
from itae.knowledge.disk.folder import Folder
from itae.knowledge.records.ranges import Range
from itae.knowledge.records.sealed import FORMAT, Damaged, sealed, unsealed


@dataclass(frozen=True)
class Touched:
    """The rows that an edit touched.

    Parameters
    ----------
    added, changed, deleted
        Their ids.
    before, after
        The numbers, as ranges, of the rows that it took away or changed, and of those that it put there or changed.
    """

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    before: tuple[Range, ...] = ()
    after: tuple[Range, ...] = ()

    @property
    def ids(self) -> set[str]:
        """All of them."""
        return {*self.added, *self.changed, *self.deleted}


@dataclass(frozen=True)
class Edit:
    """One edit of a base.

    Parameters
    ----------
    edit
        Its number, and that of the version that it made.
    verb
        What was done.
    who, why, when
        As they were given, and the time in UTC.
    asked
        What the verb was given, plain values.
    counts
        How many rows were added, changed and deleted, and how many there are.
    touched
        Which.
    store
        The store's version.
    files
        A hash of the store's files; None where it has none of its own.
    blocks
        The digest of each block of rows.
    root
        The hash of all that is in the version.
    next
        The first number that no row has had.
    floor
        The last purge before it, or itself: versions below it are gone, but 0.
    forgotten
        Whether its rows and reasons were purged since; what it was sealed with before is in `was`.
    """

    edit: int
    verb: str
    who: str
    why: str
    when: str
    asked: dict[str, Any]
    counts: dict[str, int]
    touched: Touched
    store: int
    files: str | None
    blocks: dict[str, str]
    root: str
    next: int
    floor: int = 0
    previous: str = ""
    salt: str = field(default_factory=lambda: secrets.token_hex(32))
    forgotten: bool = False
    was: str = ""
    sealed: dict[str, str] = field(default_factory=dict)
    """The seals of earlier edits that this one, a purge, wrote anew."""
    seal: str = field(default="", compare=False)

    @property
    def link(self) -> str:
        """What the edit after this one names."""
        return self.was or self.seal


class Journal:
    """The edits of a base.

    Parameters
    ----------
    folder
        Where its files are.
    start
        The seal of ``base.json``.
    """

    def __init__(self, folder: Folder, start: str) -> None:
        self.folder, self.start = folder, start

    def newest(self, known: int | None = None) -> int:
        """Return the number of the newest edit, 0 if there is none; `known` is one that is there."""
        if known is None:
            numbers = [int(found[1]) for name in self.folder.names("journal") if (found := _NAME.fullmatch(name))]
            return max(numbers, default=0)
        while self.folder.exists(file_of(known + 1)):
            known += 1
        return known

    def read(self, edit: int) -> Edit:
        """Return an edit.

        Raises
        ------
        Damaged
            When its file is gone, or isn't as it was written.
        """
        try:
            told, seal = unsealed(self.folder.read(file_of(edit)), file_of(edit))
        except FileNotFoundError:
            raise Damaged(f"{file_of(edit)} is gone") from None
        return _edit(told, edit, seal)

    def write(self, edit: Edit) -> Edit:
        """Write an edit that is there from now on; return it with its seal.

        Raises
        ------
        UserError
            When another of its number is there.
        """
        data, seal = sealed_edit(edit)
        try:
            self.folder.write(file_of(edit.edit), data, new=True)
        except FileExistsError:
            raise UserError(
                f"Somebody else made edit {edit.edit} of {self.folder.where} in this moment: nothing of this one "
                "counts; run the same command again."
            ) from None
        return _edit(_told(edit), edit.edit, seal)

    def edits(self, first: int = 1, last: int | None = None) -> Iterator[Edit]:
        """Return the edits from `first` to `last`, the newest without that."""
        for edit in range(first, (self.newest() if last is None else last) + 1):
            yield self.read(edit)

    def trouble(self, purging: bool) -> list[str]:
        """Return what is wrong with the chain of edits, a sentence each.

        Parameters
        ----------
        purging
            Whether a purge was cut short, so that edits may still be what an earlier one left.
        """
        found, link, rewritten = [], self.start, self._rewritten()
        for number in range(1, self.newest() + 1):
            try:
                edit = self.read(number)
            except Damaged as damage:
                found.append(str(damage))
                link = ""
                continue
            if link and edit.previous != link:
                found.append(f"{file_of(number)} does not follow on the one before it")
            seals = rewritten.get(number, [])
            if edit.forgotten and edit.seal not in (seals if purging else seals[-1:]):
                found.append(f"{file_of(number)} is not what the purge left")
            link = edit.link
        return found

    def _rewritten(self) -> dict[int, list[str]]:
        """Return the seals that each purge gave to an edit, the last one's last."""
        found: dict[int, list[str]] = {}
        for number in range(1, self.newest() + 1):
            try:
                given = self.read(number).sealed
            except Damaged:
                continue
            for edit, seal in given.items():
                found.setdefault(int(edit), []).append(seal)
        return found


_NAME = re.compile(r"(\d{8})\.json")


def file_of(edit: int) -> str:
    """Return the name of an edit's file."""
    return f"journal/{edit:08d}.json"


def sealed_edit(edit: Edit) -> tuple[bytes, str]:
    """Return the bytes of an edit's file, and its seal."""
    return sealed(_told(edit))


def _told(edit: Edit) -> dict[str, Any]:
    told = {each.name: getattr(edit, each.name) for each in fields(edit) if each.name != "seal"}
    return {
        **told,
        "format": FORMAT,
        "touched": {each.name: getattr(edit.touched, each.name) for each in fields(Touched)},
    }


def _edit(told: dict[str, Any], number: int, seal: str) -> Edit:
    name = file_of(number)
    if told.get("format") != FORMAT:
        raise UserError(f"{name} is of format {told.get('format')!r}, which this itae can't read: a newer one can.")
    if told.get("edit") != number:
        raise Damaged(f"{name} is edit {told.get('edit')!r}")
    rows = told["touched"]
    touched = Touched(
        *(tuple(rows[name]) for name in ("added", "changed", "deleted")),
        *(tuple((int(a), int(b)) for a, b in rows[name]) for name in ("before", "after")),
    )
    known = {each.name for each in fields(Edit)} - {"touched", "seal"}
    return Edit(**{name: told[name] for name in known}, touched=touched, seal=seal)
