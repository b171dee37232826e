"""Each network on each device: exported, held against torch, and timed in interleaved rounds, as plain values."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from itae.base.memory import peak_rss_mb
from itae.base.progress import progress
from itae.portable.cells.asked import Asked
from itae.portable.cells.pictures import picture
from itae.portable.cells.ratio import ratio_of
from itae.portable.cells.ready import Expected, Ready, made_ready


def timed(asked: Asked, told: Callable[[str], None], notes: Sequence[str] = ()) -> dict[str, Any]:
    """Return what ``result.json`` has of networks on devices, timed by the one job that measures on this machine.

    Parameters
    ----------
    asked
        What is asked for.
    told
        Takes what is to be known at once, a line each.
    notes
        What is to be known before.

    Raises
    ------
    UserError
        If no network runs on any device.
    """
    from itae.portable.clock.rounds import readings

    began = time.perf_counter()
    size, padded = asked.size()
    notes = [*notes, *filter(None, (padded, *_emulated(asked)))]
    for line in notes:
        told(f"note       {line}")
    torch_side = Expected(asked.rows)
    ready = made_ready(asked, size, torch_side, told)
    try:
        exported = time.perf_counter()
        cells = ready.cells(asked)
        with progress(int(asked.measure.budget_s), "Timing", "seconds at most") as advance:
            fresh = partial(picture, asked.seed, size=size)
            found, clock = readings(cells, asked.measure, fresh, torch_side, advance)
    finally:
        ready.close()
    ended = time.perf_counter()
    return {
        "size": list(size),
        "threads": asked.measure.threads,
        "statistic": _statistic(found),
        "devices": {name: dict(one.facts()) | {"budget_db": one.budget_db} for name, one in asked.devices.items()},
        "not_run": dict(asked.left_out) | ready.devices_that_failed(asked),
        "rows": _rows(asked, size, ready, found),
        "clock": dict(clock),
        "notes": notes,
        "timing": {"export_s": exported - began, "measure_s": ended - exported, "total_s": ended - began,
                   "peak_rss_mb": peak_rss_mb()},
    }  # fmt: skip


def _emulated(asked: Asked) -> Iterator[str]:
    """Say which devices compute in a precision that this machine has no instructions for."""
    for name, device in asked.devices.items():
        if device.facts().get("emulated"):
            precision = device.facts().get("precision", "its precision")
            yield f"{name}: {precision} is emulated here, so its times say nothing of hardware that has it."


def _rows(asked: Asked, size: tuple[int, int], ready: Ready, found: Sequence[Any]) -> list[dict[str, Any]]:
    read = {(reading.net, reading.device): reading for reading in found}
    rows = []
    for row in asked.rows:
        cost = row.net.cost(*size)
        cells = {name: _cell(ready, asked.rows[0].name, row.name, name, read) for name in asked.devices}
        rows.append({"name": row.name, "told": row.told, "settings": dict(row.net.settings()), "macs": int(cost.macs),
                     "parameters": int(cost.parameters), "cells": cells})  # fmt: skip
    return rows


def _cell(ready: Ready, first: str, net: str, device: str, read: Mapping[tuple[str, str], Any]) -> dict[str, Any]:
    """Return what is known of a network on a device: reading and ratio to the base's, or the reason for none."""
    reading, base = read.get((net, device)), read.get((first, device))
    if reading is None:
        return {"reason": ready.refused[net, device]}
    cell = _read(reading)
    if "ms" not in cell:
        return cell
    cell |= {
        "fallbacks": [str(each) for each in ready.runners[net, device].fallbacks],
        "convert_s": ready.exports[net, device]["convert_s"],
        "bytes": ready.exports[net, device]["bytes"],
        "first_ms": ready.first_ms[net, device],
        "checked_db": _plain(ready.checked_db.get((net, device))),
    }
    if base is None or "ms" not in (of_base := _read(base)):
        return cell
    from itae.portable.clock.statistic import compared

    if net != first:
        return cell | ratio_of(cell, of_base, compared(reading, base))
    return cell | {"ratio": 1.0, "low": None, "high": None, "noise": None}


def _read(reading: Any) -> dict[str, Any]:
    """Return a reading as plain values, or its reason if it was never right."""
    if not math.isfinite(reading.ms) or reading.ms <= 0:
        return {"reason": reading.wrong or "its clock saw no time"}
    left_out = ("net", "device", "each_ms")
    return {key: _plain(value) for key, value in asdict(reading).items() if key not in left_out}


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: no numpy, no number that is none."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _statistic(found: Sequence[Any]) -> str:
    names: Mapping[str, str] = {"cpu_min": "minimum of CPU time", "wall_min": "minimum of wall time"}
    return " and ".join(names.get(one, one) for one in sorted({reading.statistic for reading in found}))
