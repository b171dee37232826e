"""Networks exported, opened on devices and held against torch, before anything is timed."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.base.disk import DiskError
from itae.base.errors import UserError
from itae.base.progress import progress
from itae.portable.cells.asked import Asked, Row
from itae.portable.cells.pictures import picture
from itae.portable.devices.device import Device, Runner

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)

_LONGEST = 500  # characters of somebody else's error
CALIBRATION = 8
"""Pictures that quantised exports are calibrated on where none are given; others than those that are timed."""
CHECKED = 2
"""Pictures that parity is checked on before anything is timed."""


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
    first_ms: dict[tuple[str, str], float] = field(default_factory=dict)
    """By the wall, the first run of all: what a program that runs once waits for. A check of parity runs it, too."""
    checked_db: dict[tuple[str, str], float] = field(default_factory=dict)
    refused: dict[tuple[str, str], str] = field(default_factory=dict)

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
            _close(runner)

    def drop(self, net: str, device: str) -> None:
        """Let go of one, if it is open, and run it no more."""
        if (runner := self.runners.pop((net, device), None)) is not None:
            _close(runner)


def _close(runner: Runner) -> None:
    """Let go of one; a runtime that fails even at that costs no result."""
    with contextlib.suppress(Exception):
        runner.close()


def made_ready(asked: Asked, size: tuple[int, int], expected: Expected, told: Callable[[str], None]) -> Ready:
    """Export, open and check each network on each device; one that is refused costs its cell alone.

    Parameters
    ----------
    asked
        What is asked for.
    size
        Height and width of the pictures.
    expected
        What torch makes of them.
    told
        Takes a line for each network that a device refuses.

    Raises
    ------
    UserError
        If no network runs on any device.
    """
    ready = Ready()
    drawn = (picture(asked.seed, -1 - i & 0xFFFFFFFF, size) for i in range(CALIBRATION))
    calibration = asked.calibration or list(drawn)
    checked = [picture(asked.seed, (1 << 31) + i, size) for i in range(CHECKED)]
    try:
        with progress(len(asked.rows) * len(asked.devices), "Exporting", "networks") as advance:
            for row, name in _pairs(asked):
                try:
                    _open(ready, asked, row, name, size, calibration)
                    _check(ready, asked, row, name, expected, checked)
                except DiskError:
                    raise  # which isn't the device's: all others would be told of it
                except Exception as error:  # a runtime's own too: one cell is no reason to lose the others
                    ready.drop(row.name, name)
                    ready.refused[row.name, name] = why = why_of(error)
                    log.info("%s on %s", row.name, name, exc_info=True)
                    told(f"note       {row.told} is not run on {name}: {why}")
                advance(1)
        if not ready.runners:
            raise UserError(next(iter(ready.refused.values())))
    except BaseException:
        ready.close()
        raise
    return ready


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
    ready.first_ms[row.name, name] = 1000 * runner.timed(pictures[0].copy()).wall_s
    ready.checked_db[row.name, name] = check(device, row.net, runner, partial(expected, row.name), pictures)


def _elsewhere(device: Device) -> bool:
    """Whether what a device runs on is no CPU of this machine, so that only the wall's clock tells its time."""
    facts = device.facts()
    return bool(facts.get("elsewhere")) or not str(facts.get("provider", "CPU")).startswith("CPU")


def why_of(error: Exception) -> str:
    """Return in a sentence why a device failed: what it said, and of which kind a runtime's own error is."""
    said = " ".join(str(error).split())[:_LONGEST]
    return said if isinstance(error, UserError) else f"{type(error).__name__}: {said}"
