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
_COARSER = 4  # bins of the kept histogram that make one bar


def signal_figure(
    diagnostics: Mapping[str, np.ndarray], layers: list[dict[str, Any]], edit: Mapping[str, Any], folder: Path
) -> list[Path]:
    """Draw the detector's signal in each edited block, with its threshold, as PNG and SVG.

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
        _one_block(ax, diagnostics["signal"][i], diagnostics["signal_edges"], row, edit["detector"].get("side"))
    for ax in axes[len(layers) :]:
        ax.set_axis_off()
    name = edit["detector"].get("vector") or edit["detector"]["class"].rpartition(".")[2]
    figure.supxlabel(f"signal: {name}, {edit['detector'].get('rule', 'drawn at random')}")
    figure.supylabel("patches (log scale)")
    folder.mkdir(parents=True, exist_ok=True)
    for kind in ("png", "svg"):
        figure.savefig(folder / f"signal.{kind}", dpi=130)
    return [folder / "signal.png"]


def _one_block(ax: Axes, counts: np.ndarray, edges: np.ndarray, row: Mapping[str, Any], side: str | None) -> None:
    from matplotlib.ticker import FuncFormatter

    counts, edges = counts.reshape(-1, _COARSER).sum(axis=1), edges[::_COARSER]
    seen = np.flatnonzero(counts)
    shown = slice(max(0, seen[0] - 1), seen[-1] + 2)
    counts, lefts, rights = counts[shown], edges[:-1][shown], edges[1:][shown]
    threshold = row["threshold"]
    beyond = np.zeros(len(counts), bool)
    if threshold is not None and side is not None:
        middles = np.sqrt(lefts * rights)
        beyond = middles <= threshold if side == "low" else middles >= threshold
        ax.axvline(threshold, color="black", linestyle="--", linewidth=1)
    colours = np.where(beyond, FLAGGED, KEPT)
    ax.bar(lefts, counts, width=rights - lefts, align="edge", color=colours, log=True)
    ax.set_xscale("log")
    ax.set_title(f"block {row['layer']}: {100 * row['artifact_rate']:.2f} % flagged", fontsize=9)
    ax.tick_params(labelsize=7)
    ax.tick_params(which="minor", labelsize=6)
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    ax.xaxis.set_major_formatter(plain)
    ax.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "235" else ""))
