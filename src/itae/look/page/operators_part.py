"""What a page says of a run of ``itae portable``: what each operator costs on each device.

The result may be a stranger's: all of it is told as text, and what isn't shaped as such a result raises.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from itae.look.page.portable_part import again, clock_told, db, facts_told, grouped, threads_told
from itae.look.page.run_part import any_run, figures_of
from itae.results.run import Run

_KINDS = {
    "disagree": "Where devices disagree",
    "free and dear": "Free in one place, dear in another",
    "macs": "Where multiply-accumulates mislead",
    "ranks": "How alike devices rank networks",
    "cost": "What each change costs",
    "noise": "What had no say",
}
"""Of guidelines, in the order of the page."""
_STRONGEST = 60.0
"""How much of a colour, in percent, a cell has whose time is twice the base's, or half of it."""


def operators_part(run: Run) -> dict[str, Any]:
    """Return all that the page shows of such a run, as plain values; of one that failed, its error and settings."""
    result = run.result
    part = any_run(run, again(result.get("started") or {}))
    if not run.ok:
        return part
    devices = [name for name in result["devices"] if any("ms" in _at(row, name) for row in result["rows"])]
    height, width = result["size"]
    return part | {
        "title": f"What does an operator cost? {result['net']['name']} on {len(devices)} devices",
        "about": f"{height} x {width} pixels, {threads_told(result['threads'])}, {result['statistic']}",
        "devices": devices,
        "rows": [_row(row, devices, row["name"] == result["base"]) for row in result["rows"]],
        "guidelines": grouped(result["guidelines"], _KINDS),
        "figures": figures_of(run, None, set()),
        "parity": [_parity(row, devices) for row in result["rows"]],
        "budgets": [db(result["devices"][name].get("budget_db")) for name in devices],
        "facts": [(name, facts_told(result["devices"][name])) for name in devices],
        "fallbacks": _fallbacks(result["rows"], devices),
        "not_run": [one for one in result["not_run"].items() if one[1] != "not asked for"],
        "not_asked": [name for name, why in result["not_run"].items() if why == "not asked for"],
        "refused": [(row["told"], name, cell.get("wrong") or cell["reason"]) for row in result["rows"]
                    for name, cell in row["cells"].items() if cell.get("wrong") or "reason" in cell],
        "notes": result["notes"],
        "clock": _clock(result),
    }  # fmt: skip


def _at(row: Mapping[str, Any], device: str) -> Mapping[str, Any]:
    cell: Mapping[str, Any] = row["cells"].get(device, {})
    return cell


def _row(row: Mapping[str, Any], devices: Sequence[str], base: bool) -> dict[str, Any]:
    cells = [_cell(_at(row, name), base) for name in devices]
    return {"told": row["told"], "gmac": f"{row['macs'] / 1e9:.2f}", "parameters": f"{row['parameters']:,}",
            "cells": cells, "base": base}  # fmt: skip


def _cell(cell: Mapping[str, Any], base: bool) -> dict[str, Any]:
    """Return a cell in words, and its colour: ``slower`` or ``faster`` and how much of it."""
    if "ms" not in cell:
        return {"ms": "", "ratio": "", "interval": "", "steady": True, "title": str(cell.get("reason", "not run")),
                "side": "", "share": 0.0}  # fmt: skip
    ratio, known = cell.get("ratio"), cell.get("low") is not None
    strength = 0.0 if base or not ratio else math.log2(ratio)
    steady = bool(cell["steady"]) and cell.get("wrong") is None
    title = (
        f"p50 {cell['p50_ms']:.1f} ms and p95 {cell['p95_ms']:.1f} ms of wall time, {cell['rounds']} rounds, "
        f"split-half error {100 * cell['split_half']:.1f} %"
    )
    return {
        "ms": f"{cell['ms']:.1f}",
        "ratio": "" if base or not ratio else _percent(ratio),
        "interval": f"{_whole(cell['low'])} to {_percent(cell['high'])}" if known else "",
        "steady": steady,
        "title": title if steady else f"unsteady: {title}",
        "side": "" if not known or not strength else "slower" if strength > 0 else "faster",
        "share": round(min(1.0, abs(strength)) * _STRONGEST, 1),
    }


def _percent(ratio: float) -> str:
    return f"{_whole(ratio)} %"


def _whole(ratio: float) -> str:
    return f"{round(100 * (ratio - 1)):+d}"


def _parity(row: Mapping[str, Any], devices: Sequence[str]) -> dict[str, Any]:
    return {"told": row["told"], "cells": [db(_at(row, name).get("parity_db")) for name in devices]}


def _fallbacks(rows: Sequence[Mapping[str, Any]], devices: Sequence[str]) -> list[tuple[str, str, str]]:
    cells = ((row["told"], name, _at(row, name).get("fallbacks") or ()) for row in rows for name in devices)
    return [(told, name, ", ".join(some)) for told, name, some in cells if some]


def _clock(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what is known of the machine and of the measuring, name by name."""
    timing = result["timing"]
    seconds = f"exports {timing['export_s']:.0f} s, timing {timing['measure_s']:.0f} s, all {timing['total_s']:.0f} s"
    return [("time", seconds), *clock_told(result["clock"])]
