"""Which networks are worth their time on a device: those that no other beats in both quality and time.

Quality is PSNR in dB, the more the better; time is in ms, the less the better. A cell that was not measured, or is
unsteady, has NaN for its time and is left out. Area under a front (hypervolume) is that between the front and a
reference point, with time as its logarithm to base 2: one unit is one dB over the reference at half its time. So it
doesn't depend on the unit of time, and a machine twice as fast has the same area.

Letters: N networks, P photographs, D draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from itae.base.errors import UserError

DRAWS = 2000
"""Of photographs with replacement, behind each interval."""
SHARE = 95
"""Per cent that an interval holds."""


@dataclass(frozen=True)
class Reference:
    """The worst that counts: what has less quality or takes more time adds no area.

    Parameters
    ----------
    psnr
        In dB: that of the blurred input.
    ms
        The time of the slowest of the networks listed by hand before the search.
    """

    psnr: float
    ms: float

    def __post_init__(self) -> None:
        """Check that both are numbers that an area can be counted from."""
        if not (np.isfinite(self.psnr) and np.isfinite(self.ms) and self.ms > 0):
            raise UserError(
                f"The reference point of a front is a PSNR and a time above 0, not {self.psnr} dB and {self.ms} ms; "
                "at least one of the networks listed by hand has to run steadily on the device."
            )


class Interval(NamedTuple):
    """A value and the 2.5th and 97.5th percentile of it over draws of photographs."""

    value: float
    low: float
    high: float


def worth(psnr_N: np.ndarray, ms_N: np.ndarray) -> np.ndarray:
    """Return which networks have a quality and a time that can be concluded from: bool [N]."""
    return np.isfinite(psnr_N) & np.isfinite(ms_N) & (np.asarray(ms_N) > 0)


def front(psnr_N: Sequence[float] | np.ndarray, ms_N: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return the networks on the front, the fastest first: int [n].

    One is off it if another has at least its PSNR in at most its time, and is better in one of the two. Of networks
    that are equal in both, all are on it.
    """
    import moocore

    psnr_N, ms_N = np.asarray(psnr_N, float), np.asarray(ms_N, float)
    known = np.flatnonzero(worth(psnr_N, ms_N))
    if not len(known):
        return known
    points = np.column_stack([-psnr_N[known], ms_N[known]])
    on = known[moocore.is_nondominated(points, keep_weakly=True)]
    return on[np.lexsort((on, ms_N[on]))]


def ranks(psnr_N: np.ndarray, ms_N: np.ndarray) -> np.ndarray:
    """Return on which front each network is, int [N]: 0 the front, 1 what is the front without that; -1 left out."""
    left, rank_N, rank = np.array(ms_N, float), np.full(len(ms_N), -1), 0
    while len(on := front(psnr_N, left)):
        rank_N[on] = rank
        left[on] = np.nan
        rank += 1
    return rank_N


def hypervolume(psnr_N: np.ndarray, ms_N: np.ndarray, reference: Reference) -> float:
    """Return the area under the front of networks, in dB times halvings of the reference's time; 0 of none."""
    import moocore

    points = _points(psnr_N, ms_N)
    return float(moocore.hypervolume(points, ref=_corner(reference))) if len(points) else 0.0


def contributions(psnr_N: np.ndarray, ms_N: np.ndarray, reference: Reference) -> np.ndarray:
    """Return the area that would be lost without each network, float64 [N]: 0 of those off the front."""
    import moocore

    known = worth(psnr_N, ms_N)
    of_N = np.zeros(len(known))
    if known.any():
        of_N[known] = moocore.hv_contributions(_points(psnr_N, ms_N), ref=_corner(reference))
    return of_N


def by_photograph(values_M: np.ndarray, photographs: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the photographs of M pairs in the order of their names, and the mean value of each: float64 [P].

    Pairs of one photograph are no separate witnesses, so intervals are over photographs.
    """
    names = np.asarray(photographs)
    found = tuple(sorted(set(photographs)))
    return found, np.array([np.asarray(values_M, float)[names == name].mean() for name in found])


def drawn(photographs: int, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Return how often each photograph is in each draw with replacement, over their number: float64 [D, P]."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(photographs, np.full(photographs, 1 / photographs), size=draws) / photographs


def membership(
    psnr_NP: np.ndarray, ms_N: np.ndarray, draws: int = DRAWS, seed: int = 0, noise_N: np.ndarray | None = None
) -> np.ndarray:
    """Return in which share of the draws of photographs each network is on the front, float64 [N].

    Parameters
    ----------
    psnr_NP
        PSNR of each network on each photograph.
    ms_N
        Times; NaN for a network that is left out, and is on no front.
    draws, seed
        Of photographs, the same for all networks: what is hard is hard for all.
    noise_N
        How far each time is known, as a share of it (its split-half error): then times are drawn, too, as
        ms * exp(noise * normal). Default None: they are taken as they are.

    Notes
    -----
    A share near 1 says that other photographs would put it there, too. It is no probability that the network is best.
    """
    ms_N = np.asarray(ms_N, float)
    rng = np.random.default_rng((seed, 1))
    psnr_DN = drawn(psnr_NP.shape[1], draws, seed) @ np.asarray(psnr_NP, float).T
    times_DN = np.tile(ms_N, (draws, 1))
    if noise_N is not None:
        times_DN = times_DN * np.exp(np.nan_to_num(np.asarray(noise_N, float)) * rng.standard_normal(times_DN.shape))
    known_DN = worth(psnr_DN, times_DN)
    on_DN = known_DN.copy()
    for j in range(len(ms_N)):
        no_worse = (psnr_DN[:, j, None] >= psnr_DN) & (times_DN[:, j, None] <= times_DN)
        better = (psnr_DN[:, j, None] > psnr_DN) | (times_DN[:, j, None] < times_DN)
        on_DN &= ~(known_DN[:, j, None] & no_worse & better)
    return on_DN.mean(0)


class Areas(NamedTuple):
    """The areas of two sets of networks on one device, and how they compare."""

    one: Interval
    other: Interval
    gain: Interval
    """The area of the one over that of the other, less 1: .1 is ten per cent more; NaN if the other has none."""
    above: float
    """Share of the draws in which the one has more area."""


def compared(
    one: tuple[np.ndarray, np.ndarray],
    other: tuple[np.ndarray, np.ndarray],
    blurred_P: np.ndarray,
    slowest_ms: float,
    draws: int = DRAWS,
    seed: int = 0,
) -> Areas:
    """Compare the areas of two sets of networks over draws of photographs.

    Parameters
    ----------
    one, other
        PSNR of networks on photographs, [N, P], and their times, [N]; the same photographs on both sides.
    blurred_P
        PSNR of the blurred input, which moves with the photographs drawn: the reference's quality.
    slowest_ms
        The reference's time.
    draws, seed
        Of photographs, the same for both.
    """
    blurred_P = np.asarray(blurred_P, float)
    weights_DP = np.vstack([np.full(len(blurred_P), 1 / len(blurred_P)), drawn(len(blurred_P), draws, seed)])
    base_D = weights_DP @ blurred_P
    of_D2 = np.column_stack([
        areas(weights_DP @ np.asarray(psnr_NP, float).T, ms_N, base_D, slowest_ms) for psnr_NP, ms_N in (one, other)
    ])  # fmt: skip
    with np.errstate(divide="ignore", invalid="ignore"):
        gain_D = np.where(of_D2[:, 1] > 0, of_D2[:, 0] / of_D2[:, 1] - 1, np.nan)
    above = float((of_D2[1:, 0] > of_D2[1:, 1]).mean())
    return Areas(interval(of_D2[:, 0]), interval(of_D2[:, 1]), interval(gain_D), above)


def areas(psnr_DN: np.ndarray, ms_N: np.ndarray, blurred_D: np.ndarray, slowest_ms: float) -> np.ndarray:
    """Return `hypervolume` of networks whose PSNR is drawn and whose times are not, float64 [D], all draws at once.

    The best PSNR within a limit of time only rises with the limit: from each network's time to the next one's it is the
    largest so far.
    """
    ms_N = np.asarray(ms_N, float)
    known = np.flatnonzero(np.isfinite(psnr_DN).all(0) & np.isfinite(ms_N) & (ms_N < slowest_ms))
    order = known[np.argsort(ms_N[known], kind="stable")]
    width_N = np.diff(np.log2(np.append(ms_N[order], slowest_ms)))
    gain_DN = np.maximum(psnr_DN[:, order] - blurred_D[:, None], 0)
    return np.maximum.accumulate(gain_DN, axis=1) @ width_N if len(order) else np.zeros(len(blurred_D))


def interval(values: np.ndarray) -> Interval:
    """Return the first value, and the interval of the others, made to hold it; NaN of all where one is."""
    value, rest = float(values[0]), np.asarray(values[1:], float)
    if not len(rest) or not np.isfinite(rest).all():
        return Interval(value, float("nan"), float("nan"))
    low, high = np.percentile(rest, (50 - SHARE / 2, 50 + SHARE / 2))
    return Interval(value, min(value, float(low)), max(value, float(high)))


def plain(one: Interval) -> dict[str, Any]:
    """Return an interval as JSON has it: None for what is no number."""
    told = (("value", one.value), ("low", one.low), ("high", one.high))
    return {name: value if np.isfinite(value) else None for name, value in told}


def _points(psnr_N: np.ndarray, ms_N: np.ndarray) -> np.ndarray:
    known = worth(psnr_N, ms_N)
    return np.column_stack([-np.asarray(psnr_N, float)[known], np.log2(np.asarray(ms_N, float)[known])])


def _corner(reference: Reference) -> tuple[float, float]:
    return -reference.psnr, float(np.log2(reference.ms))
