"""Works that need nothing of each other, side by side: in loky's processes, where there is more than one CPU for them.

What they make is in the cache, so a work that was done, by whom- and whenever, is not done again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from itae.base.progress import progress

log = logging.getLogger(__name__)

R = TypeVar("R")


def side_by_side(
    works: Sequence[Callable[[], R]], workers: int, threads: int, bar: str, unit: str = "networks"
) -> list[R]:
    """Do works and return what they return, in their order.

    Processes stay for what comes next (see `let_go`). When one dies, loky ends all of them; what is left is done in
    this one.

    Parameters
    ----------
    works
        The longest first: they begin in their order. What they are made of is pickled.
    workers
        Processes; with one, or one work, all is done in this one.
    threads
        Of each.
    bar, unit
        What a bar of progress is called, and what it counts.
    """
    done: dict[int, R] = {}
    with progress(len(works), bar, unit) as advance:
        if min(workers, len(works)) > 1:
            try:
                _in_processes(works, min(workers, len(works)), threads, done, advance)
            except BrokenProcessPool as error:
                left = len(works) - len(done)
                log.warning("A process died (%s); the %d %s left are done one at a time.", error, left, unit)
        for i, work in enumerate(works):
            if i not in done:
                done[i] = work()
                advance(1)
    return [done[i] for i in range(len(works))]


def let_go() -> None:
    """End the processes: they wait for more, and none is to hold memory or the processor while something is timed."""
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor(reuse=True).shutdown(wait=True)


def _in_processes(
    works: Sequence[Callable[[], R]],
    workers: int,
    threads: int,
    done: dict[int, R],
    advance: Callable[[int], None],
) -> None:
    from joblib import Parallel, delayed, parallel_config

    with parallel_config(backend="loky", inner_max_num_threads=threads):
        pool = Parallel(n_jobs=workers, return_as="generator_unordered", batch_size=1, pre_dispatch=workers)
        for i, made in pool(delayed(_numbered)(i, threads, work) for i, work in enumerate(works)):
            done[i] = made
            advance(1)


def _numbered(i: int, threads: int, work: Callable[[], R]) -> tuple[int, R]:
    import torch

    torch.set_num_threads(threads)
    return i, work()
