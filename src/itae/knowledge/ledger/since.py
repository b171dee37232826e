"""Whether rows were edited since somebody looked at them: no edit is to lie on one that its editor never saw."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from itae.base.checks import whole
from itae.base.errors import UserError
from itae.knowledge.ledger.changes import Change
from itae.knowledge.ledger.versions import Versions

_NAMED = 3  # rows that a refusal names


class ChangedSinceError(UserError):
    """A row that an edit is to touch has been edited since the version that its editor saw.

    Parameters
    ----------
    told
        The sentence.
    edit
        The number of the latest edit that touched it, or of the purge that took the tracks away.
    rows
        The ids of those that it touched; none for a purge.
    """

    def __init__(self, told: str, edit: int, rows: Collection[str] = ()) -> None:
        super().__init__(told)
        self.edit, self.rows = edit, tuple(rows)


class Since:
    """The edits after the version that somebody saw.

    Parameters
    ----------
    versions
        Of the base.
    seen
        The number of a version.

    Raises
    ------
    ChangedSinceError
        When a purge has taken away what tells which rows were touched.
    UserError
        When there is no such version yet.
    """

    def __init__(self, versions: Versions, seen: int) -> None:
        whole("seen", seen, low=0)
        newest = versions.newest()
        number, self.seen = newest.snapshot.version, int(seen)
        if seen > number:
            there = "only 0, which is empty" if not number else f"0 to {number}"
            raise UserError(
                f"Nobody can have seen version {seen} of {versions.folder.where}, which has {there}: look again, and "
                "name the version that you see."
            )
        floor = newest.edit.floor if newest.edit else 0
        if seen < floor:
            purge = versions.edit(floor)
            raise ChangedSinceError(
                f"Edit {floor} ({purge.verb}{_by(purge.who)}) has forgotten what was done since version {seen}, which "
                "you saw: nothing was changed; look again.",
                floor,
            )
        self.edits = [versions.edit(n) for n in range(number, self.seen, -1)]

    def refuse(self, ids: Iterable[str]) -> None:
        """Raise where one of these rows was touched.

        Raises
        ------
        ChangedSinceError
            That names the rows, and the latest edit that touched any of them.
        """
        ids = set(ids)
        for edit in self.edits:
            both = sorted(ids & edit.touched.ids)
            if both:
                some = ", ".join(map(repr, both[:_NAMED]))
                more = f" and {len(both) - _NAMED:,} more" if len(both) > _NAMED else ""
                raise ChangedSinceError(
                    f"{some}{more}: touched by edit {edit.edit} ({edit.verb}{_by(edit.who)}) since version "
                    f"{self.seen}, which you saw; nothing was changed: look again.",
                    edit.edit,
                    both,
                )


def ids_of(change: Change) -> set[str]:
    """Return the rows of a change: those that it touches, and those that it was given and are so already."""
    return change.touched.ids | set(change.named)


def _by(who: str) -> str:
    return f", by {who}" if who else ""
