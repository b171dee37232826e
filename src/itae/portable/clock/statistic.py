"""What a cell's rounds come to, how far that can be trusted, and when two cells differ.

Why the minimum: what disturbs a run (other programs, interrupts, a cache that was emptied) only adds time, and most
runs are disturbed on a machine that does anything else. Under such a load medians of wall time were off by 42 % from
one half of the rounds to the other at the 95th percentile of cells, minima of CPU time by 21 % after ten rounds
(measured, 2 cores). Why CPU time at one thread: a program that waits for its turn uses none, so load shows in it by
shared caches and clocks alone. It is that of all threads of the process: with more of them it adds up what they do side
by side, and those that spin while they wait count as if at work, so there it is the wall's.

The minimum only falls with more rounds, so minima are compared after the same number of rounds alone; and halves of
the rounds are equally long.

Whether two cells differ is told by rounds, not by minima, whose error has no law to rely on. In each round both ran
once, in an order drawn by lot. If their costs are equal, each is the dearer one of a round with chance 1/2, whatever
disturbs the machine and however long that lasts: the sign test (Arbuthnott, 1710) needs no more, and order statistics
of the rounds' ratios are its interval (Conover, Practical Nonparametric Statistics, 3.2). It is one of 99 %, since a
table compares a hundred cells at once. The ratio that is told is that of the minima, and the interval reaches as far
as that. After thousands of rounds even what the places of two equal networks in memory do to them would show
(Mytkowicz et al., Producing wrong data without doing anything obviously wrong!, 2009), so less than `NOTHING` is none.

Letters: R rounds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from itae.portable.clock.reading import Reading

CONFIDENCE = 0.99
FEWEST_ROUNDS = 8
"""Rounds with which an interval is bounded: of fewer, all lie on one side of the median by chance too often."""
NOTHING = 0.01
"""Costs that may be as near as this count as equal."""


class Compared(NamedTuple):
    """The cost of one cell over that of another, with its interval; 1 is the same cost."""

    ratio: float
    """Of the minima over the rounds that both have."""
    low: float
    high: float

    @property
    def differs(self) -> bool:
        """Whether the costs differ: the interval leaves out 1, and what is as near to it as `NOTHING`."""
        return self.low > 1 + NOTHING or self.high < 1 / (1 + NOTHING)


def split_half(times_R: Sequence[float]) -> float:
    """Return ``|min of odd rounds - min of even rounds| / min of all``, of as many odd rounds as even ones.

    An odd last round is left out. NaN of fewer than two rounds, infinite where the clock saw no time at all.
    """
    whole = len(times_R) // 2 * 2
    if not whole:
        return math.nan
    odd, even = min(times_R[0:whole:2]), min(times_R[1:whole:2])
    least = min(odd, even)
    return abs(odd - even) / least if least > 0 else math.inf


def quantile(times_R: Sequence[float], share: float) -> float:
    """Return the time that this share of the rounds took at most, by linear interpolation; NaN of no rounds."""
    return float(np.quantile(times_R, share)) if len(times_R) else math.nan


def compared(a: Reading, b: Reading) -> Compared:
    """Return the cost of `a` over that of `b`, both of one call of `readings`, with its 99 % interval.

    Over the rounds that both have: one that failed in the midst has fewer. With fewer than `FEWEST_ROUNDS` no interval
    is bounded, and so nothing differs.

    Parameters
    ----------
    a, b
        Of the same statistic.
    """
    assert a.statistic == b.statistic, f"{a.statistic} of {a.device} and {b.statistic} of {b.device} are no ratio"
    rounds = min(a.rounds, b.rounds)
    one_R, other_R = np.array(a.each_ms[:rounds]), np.array(b.each_ms[:rounds])
    if not rounds or min(one_R.min(), other_R.min()) <= 0:
        return Compared(math.nan, 0, math.inf)
    ratio = float(one_R.min() / other_R.min())
    low, high = _median_interval(one_R / other_R)
    return Compared(ratio, min(low, ratio), max(high, ratio))


def differs(a: Reading, b: Reading) -> bool:
    """Return whether the costs of two cells of one call of `readings` differ, wrongly in one of a hundred at most."""
    return compared(a, b).differs


def _median_interval(values_R: np.ndarray) -> tuple[float, float]:
    """Return the interval of the median, by the sign test."""
    from scipy.special import bdtr

    ordered, below = np.sort(values_R), -1
    # With chance bdtr(k, R, 1/2) at most k values lie below the median; that may be half of what is left of 1.
    while bdtr(below + 1, len(ordered), 0.5) <= (1 - CONFIDENCE) / 2:
        below += 1
    return (0, math.inf) if below < 0 else (float(ordered[below]), float(ordered[-1 - below]))
