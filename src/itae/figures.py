"""Pictures of a run, for the people who look before they read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Blue and vermilion of Okabe and Ito: told apart by colour-blind people and in grey.
KEPT, FLAGGED = "#0072B2", "#D55E00"
_COLUMNS = 4
_BARS = 48  # at most about so many


def signal_figure(
    diagnostics: Mapping[str, np.ndarray], layers: list[dict[str, Any]], edit: Mapping[str, Any], folder: Path
) -> list[Path]:
    """Draw the detector's signal in each edited block, flagged patches and mean threshold marked, as PNG and SVG.

    Parameters
    ----------
    diagnostics
        As kept beside the vectors.
    layers
        Rows of `itae.diagnostics.by_layer`.
    edit
        The edit's spec.
    folder
        Where ``signal.png`` and ``signal.svg`` go.

    Returns
    -------
    list of Path
        The PNG; nothing where there is no edited block.
    """
    if not layers:
        return []
    from matplotlib.figure import Figure

    columns = min(_COLUMNS, len(layers))
    rows = math.ceil(len(layers) / columns)
    figure = Figure(figsize=(3.2 * columns + 0.4, 2.4 * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for i, (row, ax) in enumerate(zip(layers, axes, strict=False)):
        counts = np.stack([diagnostics["signal"][i], diagnostics["signal_flagged"][i]])
        _one_block(ax, counts, diagnostics["signal_edges"], row)
    for ax in axes[len(layers) :]:
        ax.set_axis_off()
    name = edit["detector"].get("vector") or edit["detector"]["class"].rpartition(".")[2]
    rule = edit["detector"].get("rule", "drawn at random")
    signal = f"signal: {name} norm" if "vector" in edit["detector"] else name
    line = "mean of the images' thresholds" if rule in ("quantile", "mad", "ratio") else "threshold"
    figure.supxlabel(f"{signal}; rule: {rule}; dashed: {line}", fontsize=9)
    figure.supylabel("patches (log scale); orange: flagged", fontsize=9)
    folder.mkdir(parents=True, exist_ok=True)
    for kind in ("png", "svg"):
        figure.savefig(folder / f"signal.{kind}", dpi=130)
        figure.set_layout_engine("none")  # it was laid out for the first, which takes as long as drawing
    return [folder / "signal.png"]


def _one_block(ax: Axes, counts: np.ndarray, edges: np.ndarray, row: Mapping[str, Any]) -> None:
    """Draw one histogram; `counts` [2, bins] are those of all patches and of the flagged ones."""
    from matplotlib.ticker import FuncFormatter, NullLocator

    seen = np.flatnonzero(counts[0])
    first, last = max(0, seen[0] - 2), min(len(edges) - 2, seen[-1] + 2)
    step = max(1, round((last - first + 1) / _BARS))
    starts = np.arange(first, last + 1, step)
    every, flagged = np.add.reduceat(counts[:, : last + 1], starts, axis=1)
    lefts, rights = edges[starts], edges[np.minimum(starts + step, last + 1)]
    for heights, colour in ((every, KEPT), (flagged, FLAGGED)):
        ax.stairs(heights, [*lefts, rights[-1]], baseline=0.5, fill=True, color=colour)
    ax.set_yscale("log")
    ax.set_ylim(bottom=0.5)
    if row["threshold"] is not None and lefts[0] <= row["threshold"] <= rights[-1]:
        ax.axvline(row["threshold"], color="black", linestyle="--", linewidth=1)
    ax.set_xscale("log")
    ax.set_title(f"block {row['layer']}: {100 * row['artifact_rate']:.2f} % flagged", fontsize=9)
    ax.tick_params(labelsize=7)
    ax.tick_params(which="minor", labelsize=6)
    ax.yaxis.set_minor_locator(NullLocator())
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "235" else ""))
