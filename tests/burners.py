"""Devices that are none: they burn CPU time, or tell times that were made up; and programs that keep a machine busy."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from itae.portable.clock.measure import Measure
from itae.portable.clock.reading import Cell, Reading
from itae.portable.clock.rounds import readings
from itae.portable.devices.device import InProcess, Timed

BUSY = "while True: pass"


def picture(number: int) -> np.ndarray:
    return np.random.default_rng(number).random((1, 3, 16, 16), dtype=np.float32)


def net(name: str, of: np.ndarray) -> np.ndarray:
    """Return what the network makes of a picture."""
    return 1 - of


def burn(seconds: float) -> InProcess:
    """Return a device that takes so much CPU time, whatever the load."""

    def call(of: np.ndarray) -> np.ndarray:
        until = time.thread_time() + seconds
        while time.thread_time() < until:
            pass
        return net("", of)

    return InProcess(call)


def work(turns: int) -> InProcess:
    """Return a device that has so much to do; how long that takes is the machine's affair."""

    def call(of: np.ndarray) -> np.ndarray:
        for _ in range(turns):
            pass
        return net("", of)

    return InProcess(call)


@dataclass
class Told:
    """A device that says how long it took: `cpu` and `wall` are given how often it ran before, and return seconds."""

    cpu: Callable[[int], float]
    wall: Callable[[int], float] | None = None
    answer: Callable[[np.ndarray], np.ndarray] = lambda of: net("", of)
    fallbacks: Sequence[str] = ()
    runs: int = 0

    def timed(self, picture: np.ndarray) -> Timed:
        output = self.answer(picture)
        cpu = self.cpu(self.runs)
        wall = self.wall(self.runs) if self.wall else cpu
        self.runs += 1
        return Timed(output, cpu, wall)

    def close(self) -> None:
        pass


def cell(
    runner, device: str = "fake", name: str = "net", budget_db: float | None = 90.0, elsewhere: bool = False
) -> Cell:
    return Cell(name, device, runner, budget_db, elsewhere)


def measured(cells: Sequence[Cell], seed: int = 0, settle: int = 0, **options) -> tuple[list[Reading], dict]:
    """Time them; by default nothing runs that isn't timed, so that a device knows the round by how often it ran."""
    found, went = readings(cells, Measure(settle=settle, **options), picture, net, lambda _: None, seed)
    return found, dict(went)


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """Have so many programs keep CPUs busy meanwhile."""
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()
