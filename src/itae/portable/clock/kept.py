"""What one cell has shown so far: its times, and that its outputs are those of its network.

A device that is quick because it gives back what it gave before, or something else than the network's picture, must not
win: every output is held against that of the network itself for the picture of the round.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xxhash

from itae.base.errors import UserError
from itae.portable.clock.measure import Measure
from itae.portable.clock.reading import Cell, Reading
from itae.portable.clock.statistic import quantile, split_half
from itae.portable.parity import BEST, array_of, parity_db

NOTHING_LIKE = 15.0
"""PSNR in dB below which an output is wrong even without a budget: that of two unlike pictures is about 10."""
_PARALLEL = 1.5  # CPU seconds a second that no run of one thread has
_TELLING_S = 0.005  # of runs that are long enough to say so
_LONGEST = 300  # characters of somebody else's error


@dataclass
class Kept:
    """A cell and what is known of it."""

    cell: Cell
    options: Measure
    parity_db: float = BEST
    wrong: str | None = None
    cpu_s: list[float] = field(default_factory=list)
    wall_s: list[float] = field(default_factory=list)
    _seen: dict[bytes, tuple[int, bytes]] = field(default_factory=dict)

    def run(self, number: int, picture: np.ndarray, expected: np.ndarray, before: np.ndarray | None = None) -> None:
        """Run once and look at what comes out; time is kept if the output is right, and this is no warm-up.

        Parameters
        ----------
        number
            Of the picture.
        picture, expected
            Float32 [1, 3, H, W]; the network's own output for the picture.
        before
            Another picture, on which it settles; None in the warm-up.
        """
        try:
            if before is not None:
                for _ in range(self.options.settle):
                    self.cell.runner.timed(before.copy())  # not the same picture: memory of it must be of no use
            # A copy, since a device may write into what it is given; for all of them it is as fresh in the caches.
            output, cpu_s, wall_s = self.cell.runner.timed(picture.copy())
            self.wrong = self._fault(number, output, expected)
        except Exception as error:
            said = " ".join(str(error).split())
            said = said if len(said) <= _LONGEST else f"{said[:_LONGEST]}..."
            self.wrong = f"{self._name} failed on picture {number} ({type(error).__name__}: {said})."
            return
        if before is not None and self.wrong is None:
            self.cpu_s.append(cpu_s)
            self.wall_s.append(wall_s)

    @property
    def split_half(self) -> float:
        """How far the minima of odd and even rounds are apart."""
        return split_half(self._times)

    @property
    def steady(self) -> bool:
        """Whether they are near enough, after enough rounds."""
        enough = len(self.wall_s) >= self.options.rounds
        return self.wrong is None and enough and self.split_half <= self.options.max_split_half

    def reading(self) -> Reading:
        """Return what it came to."""
        cpu, wall = (min(times, default=math.nan) for times in (self.cpu_s, self.wall_s))
        wrong = self.wrong
        if (
            wrong is None
            and self._by_cpu
            and self.options.threads == 1
            and wall > _TELLING_S
            and cpu > _PARALLEL * wall
        ):
            wrong = f"{self._name} used {cpu / wall:.1f} CPUs at once where measure.threads=1 allows one thread."
        return Reading(
            net=self.cell.net,
            device=self.cell.device,
            rounds=len(self.wall_s),
            statistic="cpu_min" if self._by_cpu else "wall_min",
            ms=1000 * (cpu if self._by_cpu else wall),
            p50_ms=1000 * quantile(self.wall_s, 0.5),
            p95_ms=1000 * quantile(self.wall_s, 0.95),
            wall_min_ms=1000 * wall,
            cpu_min_ms=1000 * cpu,
            split_half=self.split_half,
            steady=self.steady and wrong is None,
            parity_db=self.parity_db,
            wrong=wrong,
            each_ms=tuple(1000 * time for time in self._times),
        )

    @property
    def _name(self) -> str:
        return f"{self.cell.net} on {self.cell.device}"

    @property
    def _by_cpu(self) -> bool:
        return self.options.cpu and not self.cell.elsewhere and all(math.isfinite(time) for time in self.cpu_s)

    @property
    def _times(self) -> list[float]:
        return self.cpu_s if self._by_cpu else self.wall_s

    def _fault(self, number: int, output: Any, expected: np.ndarray) -> str | None:
        """Return what is wrong with an output, in a sentence; None if nothing is."""
        try:
            output = array_of(output, self._name, expected.shape)
        except UserError as error:
            return str(error)
        if not np.isfinite(output).all():
            return f"{self._name} gave values that are not finite for picture {number}."
        digest, right = (xxhash.xxh3_128_digest(np.ascontiguousarray(of).data) for of in (output, expected))
        before, right_before = self._seen.setdefault(digest, (number, right))
        if right_before != right:
            return f"{self._name} gave the output of picture {before} again for picture {number}: it is a stale one."
        db = parity_db(output, expected)
        self.parity_db = min(self.parity_db, db)
        least = NOTHING_LIKE if self.cell.budget_db is None else self.cell.budget_db
        if db < least:
            return f"{self._name} is {db:.1f} dB from the network for picture {number}, where {least:g} is the least."
        return None
