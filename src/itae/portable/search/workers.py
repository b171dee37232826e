"""Works that need nothing of each other, side by side in processes, where there is more than one CPU for them.

What they make is in the cache, so what was done, by whom- and whenever, is not done again. Processes are kept from one
stage to the next: each needs some seconds to import torch and the runtimes. (loky's end once they have grown by 300 MB,
which the runtimes take by themselves, and then the next one imports all that anew.)
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from types import TracebackType
from typing import TypeVar

from itae.base.progress import progress

log = logging.getLogger(__name__)

R = TypeVar("R")
_LOOK_S = 0.5  # between two looks whether the one who waits for a process is still there


class Workers:
    """Processes that wait for works; they begin with the first, and end with the block or with `let_go`.

    Parameters
    ----------
    processes
        With one, all is done in this one.
    threads
        Of each.
    """

    def __init__(self, processes: int, threads: int) -> None:
        self.processes, self.threads = processes, threads
        self._pool: ProcessPoolExecutor | None = None
        self._stop: Event | None = None

    def __enter__(self) -> Workers:
        """Begin; no process does, yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """End the processes; if something went wrong, in the midst of what they do."""
        if error is not None and self._stop is not None:
            self._stop.set()
        self.let_go()

    def do(self, works: Sequence[Callable[[], R]], bar: str, unit: str = "networks") -> list[R]:
        """Do works and return what they return, in their order.

        When a process dies, all do; what is left is done in this one.

        Parameters
        ----------
        works
            The longest first: they begin in their order. What they are made of is pickled.
        bar, unit
            What a bar of progress is called, and what it counts.
        """
        done: dict[int, R] = {}
        with progress(len(works), bar, unit) as advance:
            if min(self.processes, len(works)) > 1:
                try:
                    self._in_processes(works, done, advance)
                except BrokenProcessPool as error:
                    self.let_go()
                    left = len(works) - len(done)
                    log.warning("A process died (%s); the %d %s left are done one at a time.", error, left, unit)
            for i, work in enumerate(works):
                if i not in done:
                    done[i] = work()
                    advance(1)
        return [done[i] for i in range(len(works))]

    def let_go(self) -> None:
        """End the processes: none is to hold memory, or the processor, while something is timed."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = self._stop = None

    def _in_processes(
        self, works: Sequence[Callable[[], R]], done: dict[int, R], advance: Callable[[int], None]
    ) -> None:
        if self._pool is None:
            context = get_context("spawn")  # torch's threads don't live through a fork
            self._stop = context.Event()
            given = self.threads, os.getpid(), self._stop
            self._pool = ProcessPoolExecutor(self.processes, context, _begun, given)
        at = {self._pool.submit(work): i for i, work in enumerate(works)}
        for future in as_completed(at):
            done[at[future]] = future.result()
            advance(1)


def _begun(threads: int, parent: int, stop: Event) -> None:
    """Begin a process, which ends with the one that waits for it, however that ends."""
    import torch

    torch.set_num_threads(threads)

    def watch() -> None:
        while not stop.wait(_LOOK_S):
            if os.getppid() != parent:
                break
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
