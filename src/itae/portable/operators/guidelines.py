"""Guidelines in sentences, each computed from the table of this very run, with the interval of each number in it.

They hold for the networks, sizes and devices that were measured. Cells that are unsteady, and differences within the
noise, take no part: where a sentence says that a change costs or saves, the whole interval of its ratio lies on that
side of 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from itae.portable.cells.ratio import usable
from itae.portable.clock.statistic import FEWEST_ROUNDS, NOTHING
from itae.portable.operators.correlations import MACS
from itae.portable.operators.table import between, compared, percent

FREE = 1.1
"""A change costs next to nothing where even the upper end of its interval is below this."""
DEAR = 1.25
"""It costs much where even the lower end is above this."""
MISLED = 1.5
"""MACs are said to mislead where time over MACs, both against the base, is off by this factor, the interval whole."""

_NAMED = 8  # cells in a sentence

Cells = Mapping[str, Mapping[str, Any]]


def guidelines(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what the table says, in sentences.

    Parameters
    ----------
    result
        With ``rows``, ``base`` and ``correlations``.

    Returns
    -------
    list of dict
        ``kind`` (``cost``, ``disagree``, ``free and dear``, ``macs``, ``ranks`` or ``noise``), ``text``, one sentence,
        and ``about``: the change, if it is of one.
    """
    found: list[tuple[str, str, str | None]] = []
    base = next(row for row in result["rows"] if row["name"] == result["base"])
    for row in result["rows"]:
        if row is base or not (cells := compared(row)):
            continue
        macs = row["macs"] / base["macs"]
        for kind, make in (("cost", _cost), ("disagree", _disagree), ("free and dear", _free_and_dear)):
            found += [(kind, text, row["name"]) for text in make(row["told"], cells, macs)]
        found += [("macs", text, row["name"]) for text in _macs(row["told"], cells, macs)]
    found += [("ranks", text, None) for text in _ranks(result["correlations"])]
    found += [("noise", text, None) for text in _noise(result)]
    order = ("disagree", "free and dear", "macs", "ranks", "cost", "noise")
    found.sort(key=lambda one: order.index(one[0]))
    return [{"kind": kind, "text": text, "about": about} for kind, text, about in found]


def _cost(told: str, cells: Cells, macs: float) -> Iterator[str]:
    """Say what a change costs on each device, dearest first, and where it can't be told from the base."""
    apart = [name for name in cells if _sign(cells[name])]
    same = [name for name in cells if not _sign(cells[name])]
    parts = [_each(apart, cells)] if apart else []
    if same:
        noise = max(cells[name]["noise"] for name in same)
        parts.append(f"no difference beyond the noise of {100 * noise:.1f} % on {_listed(same)}")
    yield f"{told}: {'; '.join(parts)}; MACs {percent(macs)}."


def _disagree(told: str, cells: Cells, macs: float) -> Iterator[str]:
    """Say where a change saves on one device and costs on another."""
    saves, costs = ([name for name in cells if _sign(cells[name]) == sign] for sign in (-1, 1))
    if saves and costs:
        yield f"Devices disagree about {told}: {_each(saves, cells, dearest=False)}, but {_each(costs, cells)}."


def _free_and_dear(told: str, cells: Cells, macs: float) -> Iterator[str]:
    """Say where a change costs next to nothing on one device and much on another."""
    free = [name for name, cell in cells.items() if cell["high"] < FREE]
    dear = [name for name, cell in cells.items() if cell["low"] > DEAR]
    if free and dear:
        yield (
            f"{told} costs less than {percent(FREE)[1:]} on some devices: {_each(free, cells, dearest=False)}; "
            f"and more than {percent(DEAR)[1:]} on others: {_each(dear, cells)}."
        )


def _macs(told: str, cells: Cells, macs: float) -> Iterator[str]:
    """Say where MACs mislead: time against the base is far from MACs against the base, with its whole interval."""
    slow = [name for name, cell in cells.items() if cell["low"] > MISLED * macs]
    fast = [name for name, cell in cells.items() if cell["high"] < macs / MISLED]
    for some, what in ((slow, "more"), (fast, "less")):
        if some:
            times = _each(some, cells, dearest=what == "more")
            yield f"MACs ({percent(macs)}) mislead about {told}, which takes {what} time than they say: {times}."


def _ranks(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say which devices rank the networks least and most alike, and how well MACs rank them."""
    known = [pair for pair in found if pair["rho"] is not None]
    pairs = [pair for pair in known if MACS not in pair["between"]]
    if pairs:
        pairs.sort(key=lambda pair: pair["rho"])
        yield f"Of all pairs of devices, {_pair(pairs[0])} rank these networks least alike: {_rho(pairs[0])}."
        if len(pairs) > 1:
            yield f"Most alike rank {_pair(pairs[-1])}: {_rho(pairs[-1])}."
    counted = sorted((pair for pair in known if MACS in pair["between"]), key=lambda pair: pair["rho"])
    if counted:
        names = [next(name for name in pair["between"] if name != MACS) for pair in counted]
        if len(counted) == 1:
            yield f"How well MACs rank the times of {names[0]}: {_rho(counted[0])}."
        else:
            best = f"best those of {names[-1]}: {_rho(counted[-1])}"
            yield f"MACs rank the times of {names[0]} worst: {_rho(counted[0])}, {best}."


def _noise(result: Mapping[str, Any]) -> Iterator[str]:
    """Say how many cells took no part, and which."""
    base = next(row for row in result["rows"] if row["name"] == result["base"])
    cells = [(row["told"], device, cell) for row in result["rows"] for device, cell in row["cells"].items()]
    measured = [one for one in cells if "ms" in one[2]]
    unsteady = [f"{told} on {device}" for told, device, cell in measured
                if not cell["steady"] and cell["wrong"] is None]  # fmt: skip
    wrong = [f"{told} on {device}" for told, device, cell in measured if cell["wrong"] is not None]
    lost = [device for device, cell in base["cells"].items() if "ms" in cell and not usable(cell)]
    if lost:
        yield (
            f"The base itself is unsteady or wrong on {_listed(lost)}, so nothing is said of what changes cost there: "
            "run it again while the machine is quiet, or with a larger measure.budget_s."
        )
    if unsteady:
        yield f"Unsteady, and without a say here: {len(unsteady)} of {len(measured)} cells ({_some(unsteady)})."
    if wrong:
        yield f"Wrong output, and without a say here: {len(wrong)} of {len(measured)} cells ({_some(wrong)})."
    if (rounds := result["clock"]["rounds"]) < FEWEST_ROUNDS:
        yield (
            f"{rounds} rounds are too few to tell a cost from the noise, so little is said: "
            f"set measure.rounds={FEWEST_ROUNDS} or more."
        )


def _sign(cell: Mapping[str, Any]) -> int:
    """Return 1 for a ratio that is above 1 with its whole interval, -1 for one below, 0 for what may be nothing."""
    return (cell["low"] > 1 + NOTHING) - (cell["high"] < 1 / (1 + NOTHING))


def _each(names: Sequence[str], cells: Cells, dearest: bool = True) -> str:
    """Return what each of some devices takes, the dearest or the cheapest first."""
    ordered = sorted(names, key=lambda name: cells[name]["ratio"], reverse=dearest)
    return ", ".join(_on(name, cells[name]) for name in ordered)


def _on(name: str, cell: Mapping[str, Any]) -> str:
    return f"{percent(cell['ratio'])} on {name} ({between(cell)})"


def _pair(pair: Mapping[str, Any]) -> str:
    return " and ".join(pair["between"])


def _rho(pair: Mapping[str, Any]) -> str:
    return f"Spearman's rho {pair['rho']:.2f} ({pair['low']:.2f} to {pair['high']:.2f}, n = {pair['n']})"


def _some(names: Sequence[str]) -> str:
    left = len(names) - _NAMED
    return _listed(names) if left < 2 else _listed([*names[:_NAMED], f"{left} more"])


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
