"""How far a work is: a bar on a terminal, lines in a log.

A work inside another, as the steps of a fit inside the seeds of a clustering, has its bar below the other's.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING

from itae.base.console import console

if TYPE_CHECKING:
    from rich.progress import Progress

log = logging.getLogger(__name__)

_TOLD_EVERY = 30.0  # seconds between two lines of progress in a log file
_QUICK = 1.0  # seconds; what is done by then shows no bar
_around: ContextVar[Progress | None] = ContextVar("_around", default=None)  # the bars of the work that this one is in


@contextlib.contextmanager
def progress(total: int, what: str, unit: str, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Show how far a work is, once it takes longer than a second.

    A bar on a terminal, a line in the log every half minute elsewhere.

    Parameters
    ----------
    total, done
        How much there is to do, and how much of it was done before.
    what, unit
        What is being done, to what.

    Yields
    ------
    Callable
        Takes the number of units just done.
    """
    around = _around.get()
    bars = around if around is not None and around.tasks else _bars()
    _around.set(bars)
    shown = bars.console.is_terminal
    task = bars.add_task(what, total=total, completed=done, unit=unit)
    began = told = time.monotonic()
    fresh = 0

    def advance(count: int) -> None:
        nonlocal fresh, told
        fresh += count
        bars.advance(task, count)
        now = time.monotonic()
        if shown and not bars.live.is_started and now - began > _QUICK:
            bars.start()
        elif not shown and now - told > _TOLD_EVERY:
            told = now
            log.info("%s: %d of %d %s, %.1f a second", what, done + fresh, total, unit, fresh / (now - began))

    try:
        yield advance
    finally:
        bars.remove_task(task)
        if not bars.tasks:  # the last one out: what a generator shows may end after what began later
            if _around.get() is bars:
                _around.set(None)
            if bars.live.is_started:  # else it would print an empty line
                bars.stop()


def _bars() -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    out = console(stderr=True)
    named, unit = TextColumn("{task.description}", markup=False), TextColumn("{task.fields[unit]}", markup=False)
    columns = (named, BarColumn(), MofNCompleteColumn(), unit, TimeRemainingColumn())
    return Progress(*columns, console=out, transient=True, disable=not out.is_terminal)
