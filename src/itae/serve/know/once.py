"""Work on a version that takes long: it is done once, and who asks meanwhile waits for it.

To look through a large base takes minutes. Those who wait keep no thread of the server from others; one such work goes
on at a time, and what waits for its turn is dropped where the same is asked of a newer version.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from itae.knowledge.records.snapshot import Snapshot
from itae.serve.errors import RefusedError

Found = TypeVar("Found")


class Once:
    """What was found out about versions, by name; each snapshot remembers what was found about it."""

    def __init__(self) -> None:
        self._guard, self._turn = threading.Lock(), threading.Lock()
        self._last: dict[str, Future[Any]] = {}

    async def of(self, snapshot: Snapshot, name: str, work: Callable[[], Found]) -> Found:
        """Return what some work finds out about a version.

        Parameters
        ----------
        snapshot
            The version.
        name
            Of the work, which is the same for one name and version.
        work
            Does it, in a thread of its own; what it raises everybody gets who waits, and the next who asks tries again.

        Raises
        ------
        RefusedError
            When the work had not begun yet and the same was asked of another version.
        """
        found: Found = await asyncio.shield(asyncio.wrap_future(self._asked(snapshot, f"served: {name}", work)))
        return found

    def _asked(self, snapshot: Snapshot, name: str, work: Callable[[], Found]) -> Future[Found]:
        with self._guard:
            known: Future[Found] | None = snapshot.memo.get(name)
            if known is None:
                known = snapshot.memo[name] = Future()
                self._give_way(name)
                self._last[name] = known
                threading.Thread(target=self._do, args=(snapshot, name, work, known), daemon=True).start()
            return known

    def _give_way(self, name: str) -> None:
        """Drop what is asked of an older version and hasn't begun."""
        last = self._last.get(name)
        if last is not None and not last.running() and not last.done():
            last.set_exception(RefusedError(503, "The base has been edited since this was asked: ask again."))

    def _do(self, snapshot: Snapshot, name: str, work: Callable[[], Found], future: Future[Found]) -> None:
        with self._turn:
            with self._guard:
                if future.done():
                    snapshot.memo.pop(name, None)
                    return
                future.set_running_or_notify_cancel()
            try:
                found = work()
            except BaseException as error:
                with self._guard:
                    snapshot.memo.pop(name, None)
                future.set_exception(error)
            else:
                future.set_result(found)
