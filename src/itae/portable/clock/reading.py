"""What is timed, and what comes out: a network on a device is a cell, its times are a reading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from itae.portable.devices.device import Runner


@dataclass(frozen=True)
class Cell:
    """A network that is ready to run on a device.

    Parameters
    ----------
    net, device
        What tables call them.
    runner
        Of that network, open.
    budget_db
        The least PSNR of its output against the network's own, in dB; None where it is only told. Then what is less
        like it than `itae.portable.clock.kept.NOTHING_LIKE` is still wrong.
    elsewhere
        Whether it runs on something else than this machine's CPU (a GPU, a phone), so that only the wall's clock tells
        its time. Default False.
    """

    net: str
    device: str
    runner: Runner
    budget_db: float | None
    elsewhere: bool = False


@dataclass(frozen=True)
class Reading:
    """What the rounds of a cell came to; times are in ms, and NaN where there is none."""

    net: str
    device: str
    rounds: int
    """How many it ran through; a cell that failed or was wrong has fewer than the others."""
    statistic: str
    """What `ms` is: ``cpu_min`` or ``wall_min``."""
    ms: float
    p50_ms: float
    """Half of its runs took at most this by the wall."""
    p95_ms: float
    wall_min_ms: float
    cpu_min_ms: float
    split_half: float
    """How far the minima of odd and of even rounds are apart, as a share of the least: see `split_half`."""
    steady: bool
    """Whether `ms` may be concluded from: enough rounds, a split-half error within bounds, nothing wrong."""
    parity_db: float
    """The least PSNR over all runs of its output against the network's own, at peak 1, at most 200."""
    wrong: str | None
    """What is wrong with it, in a sentence; None if nothing is."""
    each_ms: tuple[float, ...] = ()
    """The statistic's clock, round by round: all cells ran in each round once, in an order drawn by lot."""
