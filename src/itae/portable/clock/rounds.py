"""All cells in turns, each output looked at, until their times are steady.

A machine drifts: it warms, others begin and end. Timed one after the other, networks would differ by that. So all cells
run in each round once, in an order drawn anew, and what one leaves behind (caches, heat, threads that still spin) meets
each of the others sometimes. Each round has a new picture: what a device remembers of the last one is wrong for it.

Right before it is timed, a network runs once on the picture of the round before. Others have emptied the caches since
its last run; without that, one of 3.5 ms took 7 to 13 % more CPU time than in a loop of its own (measured, OpenVINO).
"""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from itae.portable.clock.kept import Kept
from itae.portable.clock.load import load, machine, others
from itae.portable.clock.measure import Measure
from itae.portable.clock.reading import Cell, Reading

log = logging.getLogger(__name__)

_SETTLE_S = 0.005  # for threads of the one before, which spin for a while when their work is done


def readings(
    cells: Sequence[Cell],
    options: Measure,
    picture: Callable[[int], np.ndarray],
    expected: Callable[[str, np.ndarray], np.ndarray],
    advance: Callable[[int], None],
    seed: int = 0,
) -> tuple[list[Reading], Mapping[str, Any]]:
    """Time all cells in interleaved rounds and return what they came to, in their order, and how it went.

    A cell that raises, or whose output is wrong, says so in its reading and runs no more; the others go on.

    Parameters
    ----------
    cells
        Networks that are ready to run on devices.
    options
        Settings of the clock.
    picture
        Gives the picture of a number, float32 [1, 3, H, W]; each number another one.
    expected
        Gives what the network of a name makes of a picture, like it. It is asked once a network and picture, outside of
        what is timed.
    advance
        Takes the seconds that have just gone by, whole ones; together at most `budget_s`.
    seed
        Of the orders.

    Returns
    -------
    tuple
        The readings; and ``rounds``, ``seconds``, ``ended`` (``steady``, or ``budget`` where time was up before all
        were), ``machine``, ``before`` and ``after`` (see `itae.portable.clock.load`), and ``others_cpus``, how many
        CPUs other programs kept busy meanwhile.
    """
    began, before = time.monotonic(), load()
    clock = _Round([Kept(cell, options) for cell in cells], options, picture, expected, _told(advance, began, options))
    order = np.random.default_rng(seed)
    ended, longest, agree = "budget", 0.0, False
    with _no_collection():
        for _ in range(options.warmup):
            clock.go_round(range(len(cells)), counts=False)
        while rounds_fit(time.monotonic() - began, longest, options) or not clock.rounds:
            for _ in range(2):  # pairs: halves of the rounds are equally long
                start = time.monotonic()
                clock.go_round(order.permutation(len(cells)), counts=True)
                longest = max(longest, time.monotonic() - start)
            if not clock.alive:
                break
            # Twice, since halves that agree once may do so by luck.
            agree_before, agree = agree, all(kept.split_half <= options.max_split_half for kept in clock.alive)
            if agree and agree_before and clock.rounds >= options.rounds:
                ended = "steady"
                break
    after = load()
    went = {"rounds": clock.rounds, "seconds": time.monotonic() - began, "ended": ended}
    seen = {"machine": machine(), "before": before, "after": after, "others_cpus": others(before, after)}
    return [kept.reading() for kept in clock.kept], went | seen


def rounds_fit(gone_s: float, longest_s: float, options: Measure) -> bool:
    """Return whether two more rounds end within the budget, if they take as long as the longest so far."""
    return gone_s + 2 * longest_s <= options.budget_s


class _Round:
    """What a round needs, and how many there were."""

    def __init__(
        self,
        kept: list[Kept],
        options: Measure,
        picture: Callable[[int], np.ndarray],
        expected: Callable[[str, np.ndarray], np.ndarray],
        tell: Callable[[], None],
    ) -> None:
        self.kept, self.rounds = kept, 0
        self._options, self._picture, self._expected, self._tell = options, picture, expected, tell
        self._next = 0  # number of a picture
        self._last: np.ndarray | None = None

    @property
    def alive(self) -> list[Kept]:
        return [kept for kept in self.kept if kept.wrong is None]

    def go_round(self, order: Sequence[int] | np.ndarray, counts: bool) -> None:
        """Run every cell that is still right, once."""
        number, self._next = self._next, self._next + 1
        picture = self._picture(number)
        nets = dict.fromkeys(kept.cell.net for kept in self.alive)
        right = {net: self._expected(net, picture) for net in nets}
        for kept in [self.kept[i] for i in order if self.kept[i].wrong is None]:
            if self._options.threads > 1:
                time.sleep(_SETTLE_S)
            kept.run(number, picture, right[kept.cell.net], self._last if counts else None)
            if kept.wrong:
                log.warning("%s", kept.wrong)
            self._tell()
        self._last = picture
        self.rounds += counts


def _told(advance: Callable[[int], None], began: float, options: Measure) -> Callable[[], None]:
    """Return what tells `advance` of each whole second within the budget, when it is called."""
    told = 0

    def tell() -> None:
        nonlocal told
        now = int(min(time.monotonic() - began, options.budget_s))
        if now > told:
            advance(now - told)
            told = now

    return tell


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep Python from looking for garbage in the midst of somebody's run."""
    was = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
