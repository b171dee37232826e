r"""What the best of one device costs on another, and one set of networks for all of them: the price of portability.

On device B, let q_B(x) and t_B(x) be quality and time of network x there, and Q_B(S, t) the best quality that a set S
of networks gives within t ms: the largest q_B(x) of x in S with t_B(x) <= t, or that of the blurred picture if none is
so fast, since handing it back costs no time. The area of S is ::

    H_B(S) = integral of Q_B(S, t) - q_blurred over log2 t, up to the reference's time

which is the hypervolume of `itae.portable.search.fronts`. With F_A the front of device A, the regret of A's best on B
is the share of B's area that is lost ::

    R(A, B) = 1 - H_B(F_A) / H_B(F_B)

It is 0 for A = B and at most 1. It counts what a single trade-off would not: a front that lacks fast networks loses
where time is short, one with slow operators everywhere. It reads as dB, too: H_B(F_B) - H_B(F_A), over log2 of the
reference's time by that of B's fastest, is the mean dB lost at equal ms, over limits of time drawn evenly on a
logarithmic scale between the two. Beside it stand the ms lost at equal dB: for x in F_A, t_B(x) over the least t_B(y)
of all y with q_B(y) >= q_B(x); its geometric mean over F_A, and its worst.

The portable front is the set of at most k networks with the least worst regret over devices: max over B of
1 - H_B(S) / H_B(all). Adding a network never raises it.

Letters: D devices, N networks, S sets.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from itae.base.errors import UserError
from itae.portable.search.fronts import Reference, front, hypervolume, worth

MOST_SETS = 200_000
"""Sets that are looked at one by one; where there are more, a set grows by the best network and then is exchanged."""
_AT_ONCE = 20_000


@dataclass(frozen=True)
class Table:
    """Networks on devices.

    Parameters
    ----------
    nets, devices
        Their names.
    psnr
        Quality after conversion, on each device: float64 [D, N].
    ms
        Times, float64 [D, N]; NaN where a network doesn't run on a device, or its cell is unsteady.
    references
        One for each device.
    """

    nets: tuple[str, ...]
    devices: tuple[str, ...]
    psnr: np.ndarray
    ms: np.ndarray
    references: tuple[Reference, ...]

    def __post_init__(self) -> None:
        """Check that all have the same networks and devices."""
        shape = len(self.devices), len(self.nets)
        assert self.psnr.shape == self.ms.shape == shape, shape
        assert len(self.references) == shape[0], len(self.references)

    def front(self, device: int) -> np.ndarray:
        """Return the networks on a device's front, the fastest first."""
        return front(self.psnr[device], self.ms[device])

    def area(self, device: int, nets: Sequence[int] | np.ndarray) -> float:
        """Return the area of some networks on a device."""
        some = np.asarray(nets, int)
        return hypervolume(self.psnr[device, some], self.ms[device, some], self.references[device])


@dataclass(frozen=True)
class Regret:
    """What the front of device `best_of` costs on device `on`."""

    best_of: str
    on: str
    share: float
    """Of the area of `on`: R of this module. Below 0 where networks were chosen on other photographs than these."""
    db: float
    """Lost at equal ms, on average."""
    times: float
    """As long at equal dB, on average: 1.2 is 20 % longer. NaN if none of them runs there."""
    worst_times: float


def regrets(table: Table, fronts: Sequence[np.ndarray] | None = None) -> list[Regret]:
    """Return the regret of each device's front on each device, in the order of `table.devices`, row by row.

    Parameters
    ----------
    table
        What the regret is told on.
    fronts
        The networks on each device's front, where they were chosen on other photographs; default: those of the table.
    """
    chosen = [table.front(i) for i in range(len(table.devices))] if fronts is None else fronts
    return [
        regret_of(table, nets, table.devices[a], b, chosen[b])
        for a, nets in enumerate(chosen)
        for b in range(len(table.devices))
    ]


def regret_of(
    table: Table, nets: Sequence[int] | np.ndarray, best_of: str, on: int, own: Sequence[int] | np.ndarray | None = None
) -> Regret:
    """Return what a set of networks costs on a device, against its own front (default: that of the table)."""
    own = table.front(on) if own is None else own
    whole, some = table.area(on, own), table.area(on, nets)
    psnr_N, ms_N, reference = table.psnr[on], table.ms[on], table.references[on]
    fastest = np.nanmin(ms_N[np.asarray(own, int)], initial=reference.ms) if len(own) else reference.ms
    halvings = math.log2(reference.ms / fastest)
    known = worth(psnr_N, ms_N)
    times = [ms_N[x] / ms_N[known & (psnr_N >= psnr_N[x])].min() for x in map(int, nets) if known[x]]
    return Regret(
        best_of,
        table.devices[on],
        1 - some / whole if whole > 0 else math.nan,
        (whole - some) / halvings if halvings > 0 else math.nan,
        float(np.exp(np.mean(np.log(times)))) if times else math.nan,
        max(times, default=math.nan),
    )


@dataclass(frozen=True)
class Portable:
    """One set of networks for all devices."""

    nets: tuple[int, ...]
    """In the order of the table."""
    worst: float
    """The largest share of a device's area that is lost with these alone."""
    shares: tuple[float, ...] = field(repr=False)
    """Lost on each device."""
    exact: bool
    """Whether no other set of so many has a lesser worst; False where there were too many sets to look at each."""


def portable(table: Table, size: int, among: Sequence[int] | None = None) -> Portable:
    """Return the set of at most so many networks that loses the least area on the device where it loses most.

    Of sets that lose the same there, the one that loses least on average; then that of fewer networks. Devices on which
    nothing has an area are left out.

    Parameters
    ----------
    table
        What is known of the networks. Take that of the validation photographs, and tell it on the test's.
    size
        Networks at most, at least 1.
    among
        Networks to choose of; default: all but those that one other replaces on every device, which is more than those
        on fronts: what is second everywhere may lose least where it loses most.

    Raises
    ------
    UserError
        If no device has an area, or `size` is less than 1.
    """
    if size < 1:
        raise UserError(f"search.portable={size} must be a whole number of at least 1.")
    pool = _not_replaced(table) if among is None else sorted(set(among))
    lost = _Lost(table, pool)
    k = min(size, len(pool))
    exact = math.comb(len(pool), k) <= MOST_SETS
    best = _best(lost, _sets(len(pool), k)) if exact else _grown(lost, len(pool), k)
    kept = _needed(lost, best)
    shares = lost.shares(kept[None])[0]
    nets = tuple(pool[i] for i in np.flatnonzero(kept))
    told = tuple(1 - table.area(i, nets) / whole if (whole := table.area(i, table.front(i))) > 0 else math.nan
                 for i in range(len(table.devices)))  # fmt: skip
    return Portable(nets, float(shares.max()), told, exact)


def _not_replaced(table: Table) -> list[int]:
    """Return the networks but those that one other is at least as good and as fast as, wherever they run."""
    known_DN = worth(table.psnr, table.ms)
    left = [int(i) for i in np.flatnonzero(known_DN.any(0))]
    for i in list(left):
        on_D = known_DN[:, i]
        better_DN = (table.psnr >= table.psnr[:, [i]]) & (table.ms <= table.ms[:, [i]]) & known_DN
        if any(better_DN[on_D, j].all() for j in left if j != i):
            left.remove(i)
    return left


def by_size(table: Table, most: int) -> list[Portable]:
    """Return the portable sets of 1, 2, ... networks, until none is lost or there are `most`: what each one buys."""
    found: list[Portable] = []
    for size in range(1, most + 1):
        found.append(portable(table, size))
        if found[-1].worst <= 1e-12:
            break
    return found


class _Lost:
    """Areas of many sets of a pool at once: a set's best quality only rises with time, and is summed over its steps."""

    def __init__(self, table: Table, pool: Sequence[int]) -> None:
        self._steps, some = [], np.asarray(pool, int)
        for i, reference in enumerate(table.references):
            whole = table.area(i, table.front(i))
            if whole <= 0:
                continue
            psnr_N, ms_N = table.psnr[i, some], table.ms[i, some]
            gain_N = np.where(worth(psnr_N, ms_N), np.maximum(psnr_N - reference.psnr, 0), 0.0)
            at_N = np.where(worth(psnr_N, ms_N), np.minimum(ms_N, reference.ms), reference.ms)
            order = np.argsort(at_N, kind="stable")
            width_N = np.diff(np.log2(np.append(at_N[order], reference.ms)))
            self._steps.append((order, gain_N[order], width_N, whole))
        if not self._steps:
            raise UserError(
                "No device has a network that is better than the blurred picture and no slower than the reference, so "
                "there is no front; train longer (train.steps)."
            )

    def shares(self, sets_SN: np.ndarray) -> np.ndarray:
        """Return the share that each set (bool [S, N]) loses on each device: float64 [S, D]."""
        lost = []
        for order, gain_N, width_N, whole in self._steps:
            best_SN = np.maximum.accumulate(np.where(sets_SN[:, order], gain_N, 0.0), axis=1)
            lost.append(1 - best_SN @ width_N / whole)
        return np.column_stack(lost)


def _key(shares_SD: np.ndarray, sets_SN: np.ndarray) -> np.ndarray:
    """Return the order of sets, the best first; shares are rounded, or sums in another order would decide."""
    return np.lexsort((sets_SN.sum(1), shares_SD.mean(1).round(12), shares_SD.max(1).round(12)))


def _sets(of: int, k: int) -> Iterator[np.ndarray]:
    combinations = itertools.combinations(range(of), k)
    while some := list(itertools.islice(combinations, _AT_ONCE)):
        sets_SN = np.zeros((len(some), of), bool)
        sets_SN[np.arange(len(some))[:, None], np.array(some)] = True
        yield sets_SN


def _best(lost: _Lost, sets: Iterator[np.ndarray]) -> np.ndarray:
    best: np.ndarray | None = None
    for sets_SN in sets:
        looked = sets_SN if best is None else np.vstack([best, sets_SN])
        best = looked[_key(lost.shares(looked), looked)[0]]
    assert best is not None
    return best


def _grown(lost: _Lost, of: int, k: int) -> np.ndarray:
    """Grow a set by the best network until it has k, then exchange one for another as long as that is better."""
    best = np.zeros(of, bool)
    for _ in range(k):
        best = _best(lost, iter([np.array([_with(best, i) for i in map(int, np.flatnonzero(~best))])]))
    while True:
        pairs = itertools.product(np.flatnonzero(best), np.flatnonzero(~best))
        exchanged = [_with(best, int(into), int(out)) for out, into in pairs]
        if not exchanged:
            return best
        better = _best(lost, iter([np.array([best, *exchanged])]))
        if (better == best).all():
            return best
        best = better


def _with(chosen: np.ndarray, into: int, out: int | None = None) -> np.ndarray:
    made = chosen.copy()
    made[into] = True
    if out is not None:
        made[out] = False
    return made


def _needed(lost: _Lost, chosen: np.ndarray) -> np.ndarray:
    """Leave out what changes nothing anywhere: a network that is on no front of those chosen."""
    kept = chosen.copy()
    for i in np.flatnonzero(chosen):
        without = kept.copy()
        without[i] = False
        if without.any() and np.allclose(lost.shares(without[None]), lost.shares(kept[None]), rtol=0, atol=1e-12):
            kept = without
    return kept
