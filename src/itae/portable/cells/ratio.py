"""The time of a network over that of the base on the same device, with how far that is known.

The ratio of a cell to the base is that of their minima. Its interval is the clock's (`itae.portable.clock.statistic`:
by the sign test over rounds in which both ran), made no narrower than what the split-half errors of the two allow:
r / (1 + e) to r (1 + e), with the larger of both errors for e.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def usable(cell: Mapping[str, Any] | None) -> bool:
    """Whether a cell may take part in what is concluded: measured, steady, and its output right each time."""
    return cell is not None and "ms" in cell and bool(cell["steady"]) and cell["wrong"] is None


def ratio_of(cell: Mapping[str, Any], base: Mapping[str, Any], told: tuple[float, float, float]) -> dict[str, Any]:
    """Return the ratio of a cell to the base's on its device, its interval, and its noise.

    Parameters
    ----------
    cell, base
        As measured.
    told
        Ratio, low and high by the clock.

    Returns
    -------
    dict
        ``ratio``; ``low``, ``high`` and ``noise`` (half of the interval's width over the ratio), each None where one
        of the two is unsteady, or the rounds were too few for an interval.
    """
    ratio, low, high = told
    if not (usable(cell) and usable(base)) or not (low > 0 and math.isfinite(high)):
        return {"ratio": cell["ms"] / base["ms"], "low": None, "high": None, "noise": None}
    error = 1 + max(cell["split_half"], base["split_half"])
    low, high = min(low, ratio / error), max(high, ratio * error)
    return {"ratio": ratio, "low": low, "high": high, "noise": (high - low) / (2 * ratio)}
