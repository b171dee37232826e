"""How much memory a process takes, and how it is used again."""

from __future__ import annotations

import contextlib
import ctypes
import math
import mmap
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -3, -4, -8  # of malloc.h


@contextlib.contextmanager
def memory_reused() -> Iterator[None]:
    """Have glibc keep what a forward frees for the next one, and return it to the system at the end.

    By default every block of 32 MB or more is mapped anew in each forward and its pages are faulted in one by
    one, and what lies below that bound can pile up batch by batch. Batches of 32 through a ViT-S take .88 of the CPU so
    (.81 to .92 in four pairs, one thread), .2 s of the system's time in place of 2.1.
    """
    try:
        libc = ctypes.CDLL(None)
        mallopt = libc.mallopt
    except (OSError, AttributeError):  # another C library has other habits
        yield
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:  # where glibc's own bounds end up in a process that used large blocks
        mallopt(_M_MMAP_MAX, 65536)
        mallopt(_M_MMAP_THRESHOLD, 32 * 2**20)
        mallopt(_M_TRIM_THRESHOLD, 64 * 2**20)
        give_back()


def give_back() -> None:
    """Return free memory to the system: glibc keeps it for the thread that freed it, so once for each of them."""
    with contextlib.suppress(OSError, AttributeError):  # another C library has other habits
        ctypes.CDLL(None).malloc_trim(0)


def share_heap() -> None:
    """Have all threads take their memory from one heap, for the rest of this process.

    By default glibc keeps what a thread has freed for that one, and a library that reads with many threads holds as
    many times what it needs. Threads that are there already keep theirs.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library has other habits
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def own_memory(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """Return an array of zeros in a map of its own, for what outlives a batch while `memory_reused`.

    In the heap, each small thing that stays parts the room that the next batch's activations need: a pass with many
    edits grew to ten times its size.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    return np.frombuffer(mmap.mmap(-1, max(1, size)), np.uint8)[:size].view(dtype).reshape(shape)


def peak_rss_mb() -> float:
    """Return the most memory that this process has held, in MB (10**6 bytes).

    From /proc where there is one: ``getrusage`` also counts what the parent held when it forked.
    """
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024 / 1e6
    import resource  # which not every system has

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
