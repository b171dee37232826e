"""How far a work is: a bar on a terminal, lines in a log."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator

from itae.base.console import console

log = logging.getLogger(__name__)

_TOLD_EVERY = 30.0  # seconds between two lines of progress in a log file
_QUICK = 1.0  # seconds; what is done by then shows no bar


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
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    out = console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn())
    bar = Progress(*columns, console=out, transient=True, disable=not out.is_terminal)
    task = bar.add_task(what, total=total, completed=done)
    began = told = time.monotonic()
    fresh = 0

    def advance(count: int) -> None:
        nonlocal fresh, told
        fresh += count
        bar.advance(task, count)
        now = time.monotonic()
        if out.is_terminal and not bar.live.is_started and now - began > _QUICK:
            bar.start()
        elif not out.is_terminal and now - told > _TOLD_EVERY:
            told = now
            log.info("%s: %d of %d %s, %.1f a second", what, done + fresh, total, unit, fresh / (now - began))

    try:
        yield advance
    finally:
        if bar.live.is_started:  # else it would print an empty line
            bar.stop()
