"""How devices are timed: the settings of ``measure``, each one checked before anything is converted or run."""

from __future__ import annotations

from dataclasses import dataclass

from itae.base.checks import above_0, one_of, true_or_false, whole
from itae.base.errors import UserError
from itae.base.threads import cpu_count

STATISTICS = ("cpu_min", "wall_min")
"""The least CPU time of the process that runs a network, or the least time by the clock on the wall."""


@dataclass(frozen=True)
class Measure:
    """Settings of the clock.

    Parameters
    ----------
    size
        Height and width of the pictures, in pixels, 16 to 8,192. Default 192.
    threads
        Of each device. Default 1, with which time is the process's CPU time, that other programs hardly disturb.
    rounds
        How often each network runs on each device, at least; rounds come in pairs, so an odd number is one more.
        Default 10.
    budget_s
        Seconds for all runs, warm-up among them. No pair of rounds is begun that would end later by the longest so
        far, but for the first. Default 240.
    max_split_half
        Rounds go on until the minima of odd and of even rounds differ by no more than this share in every cell, twice
        in succession; where they still do at the end, the cell is marked unsteady. Above 0, at most 1; default .05.
    statistic
        ``cpu_min``, ``wall_min``, or ``auto`` (default): the first at one thread, else the second. What runs outside of
        this machine's CPU, or tells no CPU time, is timed by the wall whatever this says.
    warmup
        Runs before the rounds, which count for nothing. At least 1; default 2.
    settle
        Runs right before each timed one, which aren't timed. Default 1: since its last run, others have emptied the
        caches, which costs a short network some per cent that no benchmark tool sees. 0 takes half the time.
    wait
        Whether to wait while another job measures on this machine, and not stop with an error. Default false.

    Raises
    ------
    UserError
        When a setting is out of its range.
    """

    size: int = 192
    threads: int = 1
    rounds: int = 10
    budget_s: float = 240
    max_split_half: float = 0.05
    statistic: str = "auto"
    warmup: int = 2
    settle: int = 1
    wait: bool = False

    def __post_init__(self) -> None:
        """Check every value."""
        whole("measure.size", self.size, low=16, high=8192)
        whole("measure.threads", self.threads, low=1)
        whole("measure.rounds", self.rounds, low=2)
        above_0("measure.budget_s", self.budget_s, "seconds")
        above_0("measure.max_split_half", self.max_split_half, high=1)
        one_of("measure.statistic", self.statistic, ("auto", *STATISTICS))
        whole("measure.warmup", self.warmup, low=1)
        whole("measure.settle", self.settle, low=0)
        true_or_false("measure.wait", self.wait)
        if self.statistic == "cpu_min" and self.threads > 1:
            raise UserError(
                f"measure.statistic=cpu_min adds up what measure.threads={self.threads} threads do side by side, so it "
                "doesn't show what threads buy; take wall_min, or one thread."
            )

    def check(self) -> None:
        """Raise a `UserError` for what this machine can't do."""
        if self.threads > (most := cpu_count()):
            raise UserError(
                f"measure.threads={self.threads} are more than the CPUs for this process; it must be at most {most}."
            )

    @property
    def cpu(self) -> bool:
        """Whether time is CPU time, of what runs on this machine's CPU."""
        return self.statistic == "cpu_min" or (self.statistic == "auto" and self.threads == 1)
