"""Do devices rank networks alike, and as their MACs do? Spearman's rank correlation, over steady cells alone."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from itae.portable.cells.ratio import usable
from itae.portable.operators.table import devices_in

MACS = "MACs"
FEWEST = 5
"""Networks that a correlation needs: with fewer its interval says nothing."""
DRAWS = 2000


def correlations(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rank correlation of each pair of devices, and of each device with the MACs.

    Returns
    -------
    list of dict
        ``between`` two names, of devices or `MACS`; ``rho``, Spearman's rank correlation over the networks that are
        steady on both; ``low`` and ``high``, the 2.5th and 97.5th percentile of it over draws of as many networks with
        replacement; ``n``, how many networks. None for each of the three where there are fewer than `FEWEST`, or one
        side has one value for all.
    """
    rows, devices = result["rows"], devices_in(result)
    columns = {MACS: {row["name"]: float(row["macs"]) for row in rows}}
    for device in devices:
        cells = ((row["name"], row["cells"].get(device)) for row in rows)
        columns[device] = {name: cell["ms"] for name, cell in cells if usable(cell)}
    found = []
    for a, b in itertools.combinations([*devices, MACS], 2):
        both = [name for name in columns[a] if name in columns[b]]
        told = spearman([columns[a][name] for name in both], [columns[b][name] for name in both])
        found.append({"between": [a, b], **told, "n": len(both)})
    return found


def spearman(a: Sequence[float], b: Sequence[float]) -> dict[str, float | None]:
    """Return Spearman's rho of two rows of numbers, and its bootstrap interval, always of the same draws."""
    from scipy.stats import rankdata, spearmanr

    if len(a) < FEWEST or len(set(a)) == 1 or len(set(b)) == 1:
        return {"rho": None, "low": None, "high": None}
    rho = float(spearmanr(a, b).statistic)
    drawn_DN = np.random.default_rng(0).integers(len(a), size=(DRAWS, len(a)))
    ranks = [rankdata(np.asarray(side)[drawn_DN], axis=1) for side in (a, b)]
    one, other = (side - side.mean(1, keepdims=True) for side in ranks)
    scale = np.sqrt((one**2).sum(1) * (other**2).sum(1))
    each = (one * other).sum(1)[scale > 0] / scale[scale > 0]  # a draw of one network alone has no rank
    low, high = np.percentile(each, (2.5, 97.5))
    return {"rho": rho, "low": float(min(low, rho)), "high": float(max(high, rho))}
