"""The study itself: each network on each device, exported, held against torch, and timed in interleaved rounds."""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.base.errors import UserError
from itae.base.memory import peak_rss_mb
from itae.base.progress import progress
from itae.portable.devices.device import Device, Runner
from itae.portable.operators.asked import BASE, Asked, Row
from itae.portable.operators.correlations import correlations
from itae.portable.operators.guidelines import guidelines
from itae.portable.operators.pictures import picture
from itae.portable.operators.table import ratio_of

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)

_LONGEST = 500  # characters of somebody else's error
CALIBRATION = 8
"""Pictures that quantised exports are calibrated on; others than those that are timed."""
CHECKED = 2
"""Pictures that parity is checked on before anything is timed."""


def operators(asked: Asked, command: str, told: Callable[[str], None]) -> dict[str, Any]:
    """Return what ``result.json`` has of the study.

    Parameters
    ----------
    asked
        What is asked for.
    command
        By which command, for who waits for this one to end.
    told
        Takes what is to be known at once, a line each.

    Raises
    ------
    UserError
        If another measuring job runs, or no network runs on any device.
    """
    from itae.portable.clock.alone import alone
    from itae.portable.clock.rounds import readings

    began = time.perf_counter()
    size, padded = asked.size()
    notes = [note for note in (asked.by_itself, padded, *_emulated(asked)) if note]
    for line in notes:
        told(f"note       {line}")
    torch_side = Expected(asked.rows)
    with alone(command, asked.measure.wait):
        ready = _ready(asked, size, torch_side, told)
        try:
            exported = time.perf_counter()
            cells = ready.cells(asked)
            with progress(int(asked.measure.budget_s), "Timing", "seconds at most") as advance:
                fresh = partial(picture, asked.seed, size=size)
                found, clock = readings(cells, asked.measure, fresh, torch_side, advance)
        finally:
            ready.close()
    timed = time.perf_counter()
    result: dict[str, Any] = {
        "net": {"name": asked.rows[0].net.name, "settings": dict(asked.rows[0].net.settings())},
        "base": BASE,
        "size": list(size),
        "threads": asked.measure.threads,
        "statistic": _statistic(found),
        "devices": {name: dict(one.facts()) | {"budget_db": one.budget_db} for name, one in asked.devices.items()},
        "not_run": dict(asked.left_out) | ready.devices_that_failed(asked),
        "rows": _rows(asked, size, ready, found),
        "clock": dict(clock),
        "notes": [*notes, *ready.notes],
        "timing": {"export_s": exported - began, "measure_s": timed - exported, "total_s": timed - began,
                   "peak_rss_mb": peak_rss_mb()},
    }  # fmt: skip
    result["correlations"] = correlations(result)
    result["guidelines"] = guidelines(result)
    return result


class Expected:
    """What torch makes of a picture, network by network; of the pictures of a round each is computed once.

    Parameters
    ----------
    rows
        The networks, by name.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self.modules: dict[str, nn.Module] = {row.name: row.net.build() for row in rows}
        self._seen: dict[str, tuple[bytes, np.ndarray]] = {}

    def __call__(self, name: str, picture: np.ndarray) -> np.ndarray:
        """Return the output of the network of that name, float32 [1, 3, H, W]."""
        import torch

        digest = hashlib.sha256(picture.tobytes()).digest()
        if name not in self._seen or self._seen[name][0] != digest:
            with torch.inference_mode():
                self._seen[name] = digest, self.modules[name](torch.from_numpy(picture)).numpy()
        return self._seen[name][1]


@dataclass
class Ready:
    """Networks that are open on devices, what is known of them, and why others aren't."""

    runners: dict[tuple[str, str], Runner] = field(default_factory=dict)
    exports: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    checked_db: dict[tuple[str, str], float] = field(default_factory=dict)
    refused: dict[tuple[str, str], str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def cells(self, asked: Asked) -> list[Any]:
        """Return what the clock is to read."""
        from itae.portable.clock.reading import Cell

        return [
            Cell(net, name, runner, asked.devices[name].budget_db, _elsewhere(asked.devices[name]))
            for (net, name), runner in self.runners.items()
        ]

    def devices_that_failed(self, asked: Asked) -> dict[str, str]:
        """Return, for each device on which no network runs, why the first doesn't."""
        there = {device for _, device in self.runners}
        whys = {name: [why for (_, device), why in self.refused.items() if device == name] for name in asked.devices}
        return {name: some[0] for name, some in whys.items() if name not in there and some}

    def close(self) -> None:
        """Let go of all that is open."""
        for runner in self.runners.values():
            runner.close()


def _ready(asked: Asked, size: tuple[int, int], expected: Expected, told: Callable[[str], None]) -> Ready:
    """Export, open and check each network on each device; one that is refused costs its cell alone."""
    ready = Ready()
    calibration = [picture(asked.seed, -1 - i & 0xFFFFFFFF, size) for i in range(CALIBRATION)]
    checked = [picture(asked.seed, (1 << 31) + i, size) for i in range(CHECKED)]
    try:
        with progress(len(asked.rows) * len(asked.devices), "Exporting", "networks") as advance:
            for row, name in _pairs(asked):
                try:
                    _open(ready, asked, row, name, size, calibration)
                    _check(ready, asked, row, name, expected, checked)
                except Exception as error:  # a runtime's own too: one cell is no reason to lose the others
                    if (runner := ready.runners.pop((row.name, name), None)) is not None:
                        runner.close()
                    ready.refused[row.name, name] = why = _why(error)
                    log.info("%s on %s", row.name, name, exc_info=True)
                    told(f"note       {row.told} is not run on {name}: {why}")
                advance(1)
        if not ready.runners:
            raise UserError(next(iter(ready.refused.values())))
    except BaseException:
        ready.close()
        raise
    return ready


def _elsewhere(device: Device) -> bool:
    """Whether what a device runs on is no CPU of this machine, so that only the wall's clock tells its time."""
    facts = device.facts()
    return bool(facts.get("elsewhere")) or not str(facts.get("provider", "CPU")).startswith("CPU")


def _why(error: Exception) -> str:
    said = " ".join(str(error).split())[:_LONGEST]
    return said if isinstance(error, UserError) else f"{type(error).__name__}: {said}"


def _pairs(asked: Asked) -> Iterator[tuple[Row, str]]:
    return ((row, name) for name in asked.devices for row in asked.rows)


def _open(
    ready: Ready, asked: Asked, row: Row, name: str, size: tuple[int, int], calibration: Sequence[np.ndarray]
) -> None:
    from itae.portable.devices.exports import exported, facts_of

    device = asked.devices[name]
    folder = exported(asked.cache, device, row.net, size, calibration)
    ready.exports[row.name, name] = facts_of(folder)
    ready.runners[row.name, name] = device.open(folder, asked.measure.threads)


def _check(ready: Ready, asked: Asked, row: Row, name: str, expected: Expected, pictures: Sequence[np.ndarray]) -> None:
    from itae.portable.parity import check

    device, runner = asked.devices[name], ready.runners[row.name, name]
    ready.checked_db[row.name, name] = check(device, row.net, runner, partial(expected, row.name), pictures)


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
        cells = {name: _cell(ready, row.name, name, read) for name in asked.devices}
        rows.append({"name": row.name, "told": row.told, "settings": dict(row.net.settings()), "macs": int(cost.macs),
                     "parameters": int(cost.parameters), "cells": cells})  # fmt: skip
    return rows


def _cell(ready: Ready, net: str, device: str, read: Mapping[tuple[str, str], Any]) -> dict[str, Any]:
    """Return what is known of a network on a device: reading and ratio to the base's, or the reason for none."""
    reading, base = read.get((net, device)), read.get((BASE, device))
    if reading is None:
        return {"reason": ready.refused[net, device]}
    cell = _read(reading)
    if "ms" not in cell:
        return cell
    cell |= {
        "fallbacks": list(ready.runners[net, device].fallbacks),
        "convert_s": ready.exports[net, device]["convert_s"],
        "bytes": ready.exports[net, device]["bytes"],
        "checked_db": _plain(ready.checked_db.get((net, device))),
    }
    if base is None or "ms" not in (first := _read(base)) or base.statistic != reading.statistic:
        return cell
    from itae.portable.clock.statistic import compared

    if net != BASE:
        return cell | ratio_of(cell, first, compared(reading, base))
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
