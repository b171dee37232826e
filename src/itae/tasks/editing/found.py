"""All that a run of the task of editing found, for what is said, written and drawn of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from itae.knowledge.answers.vote import told
from itae.tasks.asked import Asked
from itae.tasks.editing.draws import Draw, Side, name_of
from itae.tasks.editing.scores import over_draws


@dataclass(frozen=True, eq=False)
class Found:
    """All that is told of: what was asked on the untouched side, the draws, both sides, and the settings."""

    asked: Asked
    draws: Sequence[Draw]
    baseline: Side
    edited: Side
    corruption: Any
    repair: Any
    task: Any

    @property
    def rows(self) -> int:
        """How many rows vote."""
        return len(self.asked.memory.voters)

    @property
    def wrong(self) -> list[int]:
        """How many rows are wrong in each draw."""
        return [int(draw.wrong_M.sum()) for draw in self.draws]

    @property
    def shares(self) -> np.ndarray:
        """The share of the rows that is looked at, at each point of a curve."""
        return self.baseline.points / self.rows

    @property
    def sides(self) -> dict[str, Side]:
        """Both sides by name."""
        return {"baseline": self.baseline, "edited": self.edited}

    def told(self) -> dict[str, Any]:
        """Return what stands in ``result.json`` as ``editing``."""
        curves = {}
        for name, side in self.sides.items():
            means = side.curves[name_of(self.repair), ""]
            curves[name] = {"share": self.shares} | {
                metric: [plain(mean) for mean, _ in over_draws(means[metric])] for metric in ("recovery", "locality")
            }
        return {
            "rows": self.rows,
            "queries": len(self.asked.truth_Q),
            "wrong": self.wrong,
            "voters": [told(draw.voter) for draw in self.draws],
            "repair_curve": curves,
        }


def plain(value: float | None) -> float | None:
    """Return a number as tables have it."""
    return None if value is None else round(float(value), 6)


def range_of(counts: Sequence[int]) -> str:
    """Return some counts in words: one, where they are the same."""
    return str(counts[0]) if len(set(counts)) == 1 else f"{min(counts)} to {max(counts)}"
