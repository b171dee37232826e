"""What a device is: a runtime at a precision on this machine, or whatever a command of the user's reaches.

A network is converted once, into a folder of the export cache; then it is opened and run. How long a run takes is told
by whoever runs it, since some run in processes or machines of their own.

Shapes: H, W height and width of a picture.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np
    from torch import nn


class Cost(NamedTuple):
    """What a network costs by counting: multiply-accumulates of a picture, and parameters."""

    macs: int
    parameters: int


class Net(Protocol):
    """A network to be deployed: sharp picture = net(blurred picture), both float32 [1, 3, H, W] in 0..1."""

    @property
    def name(self) -> str:
        """What tables call it."""

    @property
    def multiple(self) -> int:
        """Height and width have to be multiples of it."""

    def settings(self) -> Mapping[str, Any]:
        """Return what it is built from, as plain values: with its weights, its identity."""

    def build(self) -> nn.Module:
        """Return the module in eval mode on the CPU, its weights drawn from its seed or read."""

    def cost(self, height: int, width: int) -> Cost:
        """Return what a picture of this size costs."""


class Timed(NamedTuple):
    """One run: its output, float32 [1, 3, H, W], and the seconds that it took."""

    output: np.ndarray
    cpu_s: float
    """Of the process that ran it, all its threads."""
    wall_s: float


class Runner(Protocol):
    """A network that is ready to run on a device."""

    fallbacks: Sequence[str]
    """Operators that the device's accelerator doesn't do, and which run elsewhere, by name."""

    def timed(self, picture: np.ndarray) -> Timed:
        """Run on a picture, float32 [1, 3, H, W], and return when the output is there; only the run is timed."""

    def close(self) -> None:
        """Let go of what it holds."""


class Device(Protocol):
    """A runtime at a precision; a small class, one file each."""

    name: str
    """What tables call it: letters, digits and _."""
    pip: str
    """The command that installs what it needs."""
    budget_db: float | None
    """The least parity with torch, in dB of PSNR, on random weights; None where it is only told."""

    def missing(self) -> str | None:
        """Return what of it isn't installed here, in words; None if all is."""

    def facts(self) -> Mapping[str, Any]:
        """Return runtime, version, precision, provider, and whether the precision is emulated here, as plain values."""

    def convert(self, net: nn.Module, size: tuple[int, int], folder: Path, calibration: Sequence[np.ndarray]) -> None:
        """Write what `open` needs of a network into an empty folder.

        Parameters
        ----------
        net
            In eval mode.
        size
            Height and width of the pictures that it will run on.
        folder
            There, and empty.
        calibration
            Pictures, float32 [1, 3, H, W], for what is quantised.

        Raises
        ------
        UserError
            Where an operator is not supported: names it, the node, the runtime and what is allowed instead.
        """

    def open(self, folder: Path, threads: int) -> Runner:
        """Return the network of that folder, ready to run in so many threads."""


def _as_it_is(of: Any) -> Any:
    return of


@dataclass
class InProcess:
    """A runner of this process: what is given is called and timed.

    What a program in the runtime's own language wouldn't do, as handing pictures and outputs from and to Python, can
    stand before and after the call, where nobody times it.
    """

    call: Callable[[Any], Any]
    """output = call(picture), all that is timed."""
    fallbacks: Sequence[str] = ()
    before: Callable[[np.ndarray], Any] = _as_it_is
    """Makes of a picture what `call` takes."""
    after: Callable[[Any], np.ndarray] = _as_it_is
    """Makes an array of what `call` returns; the next call may write over that."""

    def timed(self, picture: np.ndarray) -> Timed:
        """Run and time it by this process's clocks."""
        given = self.before(picture)
        wall, cpu = time.perf_counter(), time.process_time()
        returned = self.call(given)
        cpu_s, wall_s = time.process_time() - cpu, time.perf_counter() - wall
        return Timed(self.after(returned), cpu_s, wall_s)

    def close(self) -> None:
        """Let go of the network."""
        del self.call, self.before, self.after
