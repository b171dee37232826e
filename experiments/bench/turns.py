"""Works that are timed in turns, so that a busy machine slows all of them, and their ratio."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def in_turns(
    rounds: int, *works: Callable[[], object], clock: Callable[[], float] = time.process_time
) -> list[list[float]]:
    """Return the seconds of each of `works` in each round, [work][round], in turned order every other round.

    Of the process's CPU time, unless another clock is given. A first round isn't kept.
    """
    times: list[list[float]] = [[] for _ in works]
    for i in range(rounds + 1):
        for j in range(len(works))[:: 1 if i % 2 else -1]:
            began = clock()
            works[j]()
            if i:
                times[j].append(clock() - began)
    return times


def ratio(a: list[float], b: list[float]) -> str:
    """Return the median over rounds of a / b, with the range."""
    each = [x / y for x, y in zip(a, b, strict=True)]
    return f"{statistics.median(each):.3f}   ({min(each):.3f} to {max(each):.3f}, {len(each)} rounds)"
