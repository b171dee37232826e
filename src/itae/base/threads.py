"""Work in threads, in order and with a progress bar."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from itae.base.progress import progress

T = TypeVar("T")
R = TypeVar("R")


def cpu_count() -> int:
    """Return the CPUs for this process: by the scheduler, by a container's quota (cgroups), or what Slurm was asked.

    `joblib.cpu_count` knows the first two, and LOKY_MAX_CPU_COUNT.
    """
    import joblib

    return _told("SLURM_CPUS_PER_TASK", joblib.cpu_count())


def omp_threads() -> int:
    """Return the threads for numerical work in this process: the CPUs, or fewer where OpenMP is told so."""
    return _told("OMP_NUM_THREADS", cpu_count())


def _told(name: str, most: int) -> int:
    said = os.environ.get(name, "")
    return min(int(said), most) if said.isdecimal() and int(said) > 0 else most


def in_threads(work: Callable[[T], R], items: Iterable[T], total: int, title: str) -> Iterator[R]:
    """Yield ``work(item)`` in order, from a few threads, with a progress bar once it takes over a second.

    Items go to the threads in groups: one by one, the hand-over would cost more than a small file.
    """
    workers = min(8, cpu_count())
    source = iter(items)
    groups = iter(lambda: list(islice(source, 32)), [])
    ahead: deque[Future[list[R]]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="itae-read")
    try:
        with progress(total, title, "images") as advance:
            while True:
                ahead.extend(
                    pool.submit(lambda group: [work(item) for item in group], group)
                    for group in islice(groups, 4 * workers - len(ahead))
                )
                if not ahead:
                    return
                results = ahead.popleft().result()
                yield from results
                advance(len(results))
    finally:
        pool.shutdown(cancel_futures=True)
