"""Who is at work on what in a store: its claims, those of all processes that see it.

A claim is one file that its holder keeps locked, however many names it is for, and an entry in a table that says who he
is and which names. The table is read and written by one process at a time, whose turn it is by a lock. Who wants names
tries the file of each claim: one that isn't locked is of a process that has died, and its claim is void. So claims go
with their process, and a sweep of thousands of edits holds one file open.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from itae.base.lock import Lock, this_process
from itae.base.waiting import Waiting

_QUICK, _SLOW = 0.1, 1.0  # seconds between two looks at what others hold, at first and after a while
_TURN = 0.01  # seconds between two tries to have one's turn, which is over in no time
Table = dict[str, dict[str, Any]]


class Claim:
    """Names that this process holds.

    Parameters
    ----------
    claims, place
        Where: in which claims, and where in their table.
    names
        What is held.
    """

    def __init__(self, claims: Claims, place: str, names: set[str]) -> None:
        self._claims, self._place, self.names = claims, place, names

    def keep(self, names: set[str]) -> None:
        """Let go of all but these."""
        if not self.names <= names:
            self.names &= names
            with self._claims.turn() as table:
                if self._place in table:  # and nobody has taken this process for dead
                    table[self._place]["names"] = sorted(self.names)


class Claims:
    """The claims on the names in a store.

    Parameters
    ----------
    folder
        Where they are written down; it is made with the first.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._table = folder, folder / "claims.json"

    @contextlib.contextmanager
    def hold(self, names: Iterable[str], wait: bool) -> Iterator[Claim]:
        """Hold names that nobody else does: those of them that are free, or, with `wait`, all once they are.

        Who waits holds nothing yet, so nobody waits for each other in a circle.

        Raises
        ------
        OSError
            If the disk can't be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        place, taken = uuid.uuid4().hex, set[str]()
        lock = Lock(self._folder / place)
        try:
            taken = self._take(place, lock, set(names), wait)
            yield Claim(self, place, set(taken))
        finally:
            if taken:
                with contextlib.suppress(OSError), self.turn() as table:  # on a full disk it is void without its lock
                    table.pop(place, None)
            lock.release(remove=True)  # also where its claim could not be written down

    def holder(self, name: str) -> str:
        """Say who holds a name, as far as it is known."""
        holders = (claim["holder"] for claim in self._read().values() if name in claim["names"])
        return next(holders, "another process")

    @contextlib.contextmanager
    def turn(self) -> Iterator[Table]:
        """Have the table for oneself; what is changed in it is written at the end."""
        with Lock(self._folder / "turn").held(f"another process to have looked at {self._table}", _TURN):
            table = self._read()
            before = json.dumps(table)
            yield table
            if (after := json.dumps(table)) != before:
                unfinished = self._table.with_suffix(".tmp")
                unfinished.unlink(missing_ok=True)  # of somebody who was killed, and may be another user
                unfinished.write_text(after, encoding="utf-8")
                os.replace(unfinished, self._table)

    def _take(self, place: str, lock: Lock, names: set[str], wait: bool) -> set[str]:
        """Claim what is free of `names` and return it: all, with `wait`."""
        waiting, pause = Waiting(), _QUICK
        tried: dict[str, Lock] = {}  # kept, since it takes many looks to know a lease for a dead process's
        while names:
            with self.turn() as table:
                others = self._others(table, names, tried)
                free = names - others.keys()
                if free and not (wait and others):
                    alone = lock.take()
                    assert alone, "its name is new"
                    table[place] = {"holder": this_process(), "names": sorted(free)}
                    return free
            if not wait:
                break
            name, holder = next(iter(others.items()))
            more = f" and {len(others) - 1:,} more" if len(others) > 1 else ""
            waiting.goes_on(f"{holder}, who is at work on {name}{more}")
            time.sleep(pause)
            pause = min(_SLOW, 1.2 * pause)
        return set()

    def _others(self, table: Table, names: set[str], tried: dict[str, Lock]) -> dict[str, str]:
        """Return which of `names` others hold, and who; claims of the dead go from the table, whatever they are for."""
        found: dict[str, str] = {}
        for place, claim in list(table.items()):
            lock = tried.setdefault(place, Lock(self._folder / place))
            if lock.take():
                lock.release(remove=True)
                del table[place]
            else:
                found.update((name, claim["holder"]) for name in names.intersection(claim["names"]))
        return found

    def _read(self) -> Table:
        try:
            table = json.loads(self._table.read_bytes())
            return {
                place: {"holder": str(claim["holder"]), "names": list(claim["names"])} for place, claim in table.items()
            }
        except (FileNotFoundError, ValueError, LookupError, TypeError, AttributeError):  # none yet, or the machine fell
            return {}
