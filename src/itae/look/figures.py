"""Pictures of a run, for the people who look before they read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.base.names import choice_of
from itae.look.style import plain_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito, told apart by colour-blind people and in grey, with a grey for their yellow, which is lost on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#888888")
MARKERS = "osD^vPX*"
KEPT, FLAGGED = COLOURS[:2]
_COLUMNS = 4
_BARS = 48  # at most about so many
_NONE = 0.5  # where an empty bar ends on a logarithmic axis


@plain_style()
def signal_figure(
    diagnostics: Mapping[str, np.ndarray], layers: list[dict[str, Any]], edit: Mapping[str, Any] | None
) -> Figure | None:
    """Draw the detector's signal in each edited block, flagged patches and mean threshold marked.

    Parameters
    ----------
    diagnostics
        As kept beside the vectors.
    layers
        Rows of `itae.embed.diagnostics.flags.by_layer`.
    edit
        The edit's spec.

    Returns
    -------
    Figure or None
        None where there is no edited block.
    """
    if not layers or edit is None or not diagnostics["signal"].any():  # perhaps nobody who saw it is left
        return None
    from matplotlib.figure import Figure

    columns = min(_COLUMNS, len(layers))
    rows = math.ceil(len(layers) / columns)
    width, height = 3.2 * columns + 0.4, 2.4 * rows + 0.6
    figure = Figure(figsize=(width, height))
    # Laid out by hand: matplotlib's own layouts draw everything once more to measure it.
    figure.subplots_adjust(
        left=0.75 / width, right=1 - 0.15 / width, bottom=0.65 / height, top=1 - 0.35 / height, wspace=0.22, hspace=0.34
    )
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for i, (row, ax) in enumerate(zip(layers, axes, strict=False)):
        counts = np.stack([diagnostics["signal"][i], diagnostics["signal_flagged"][i]])
        _one_block(ax, counts, diagnostics["signal_edges"], row)
    for ax in axes[len(layers) :]:
        ax.set_axis_off()
    rule = edit["detector"].get("rule", "drawn at random")
    signal = f"signal: {_signal_of(edit['detector'])}"
    line = "mean of the images' thresholds" if rule in ("quantile", "mad", "ratio") else "threshold"
    apart = ";\n" if columns == 1 else "; "
    told = f"{signal}; rule: {rule}{apart}dashed: {line}"
    figure.text(0.5, 0.12 / height, told, ha="center", fontsize=9 if columns > 1 else 7.5)
    figure.text(
        0.1 / width, 0.5, "patches (log scale); orange: flagged", va="center", ha="left", rotation=90, fontsize=9
    )
    return figure


def _signal_of(detector: Mapping[str, Any]) -> str:
    """Return what a detector looks at, in words."""
    if "vector" in detector:
        return f"{detector['vector']} norm"
    if "signals" in detector:
        return f"{' and '.join(detector['signals'])} norm, each over its median (root mean square)"
    return choice_of(detector["class"]).replace("_", " ")


def save(figure: Figure | None, folder: Path, name: str, svg: bool = True) -> list[Path]:
    """Write a figure as PNG and SVG into a folder that is made if need be; return the PNG, nothing for no figure."""
    if figure is None:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    with plain_style():
        if layout := figure.get_layout_engine():
            layout.execute(figure)  # once for both; by itself each of them would draw everything one time more for it
            figure.set_layout_engine(None)  # "none" leaves one that does nothing, and counts
        figure.savefig(folder / f"{name}.png", dpi=130, pil_kwargs={"compress_level": 3})  # a hair larger, sooner done
        if svg:
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    return [folder / f"{name}.png"]


def clean(ax: Axes) -> None:
    """Leave of the axes what is read: no frame, a faint grid, small numbers."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25, linewidth=0.6)
    ax.tick_params(labelsize=8)


def _one_block(ax: Axes, counts: np.ndarray, edges: np.ndarray, row: Mapping[str, Any]) -> None:
    """Draw one histogram, both axes logarithmic; `counts` [2, bins] are those of all patches and of the flagged ones.

    The axes hold logarithms and get a few ticks that are chosen here: many figures are drawn in a sweep, and
    most of the time would go into ticks.
    """
    seen = np.flatnonzero(counts[0])
    first, last = max(0, seen[0] - 2), min(len(edges) - 2, seen[-1] + 2)
    step = max(1, round((last - first + 1) / _BARS))
    starts = np.arange(first, last + 1, step)
    stacks = np.add.reduceat(counts[:, : last + 1], starts, axis=1)
    places = np.log10(edges[[*starts, min(starts[-1] + step, last + 1)]])
    for heights, colour in zip(stacks, (KEPT, FLAGGED), strict=True):
        ax.stairs(np.log10(np.maximum(heights, _NONE)), places, baseline=np.log10(_NONE), fill=True, color=colour)
    if row["threshold"] is not None and row["threshold"] > 0 and places[0] <= np.log10(row["threshold"]) <= places[-1]:
        ax.axvline(np.log10(row["threshold"]), color="black", linestyle="--", linewidth=1)
    top = np.log10(stacks.max()) * 1.08
    ax.set_xlim(places[0], places[-1])
    ax.set_ylim(np.log10(_NONE), max(top, 0.3))
    ax.set_xticks(*_ticks(places[0], places[-1], (1, 2, 3, 5, 7), 5))
    ax.set_yticks(*_ticks(0, top, (1,), 5))
    ax.set_title(f"block {row['layer']}: {100 * row['artifact_rate']:.2f} % flagged", fontsize=9)
    ax.tick_params(labelsize=7)


def _ticks(low: float, high: float, digits: tuple[int, ...], most: int) -> tuple[list[float], list[str]]:
    """Return places and labels of a few round numbers between two logarithms."""
    values = [digit * 10.0**k for k in range(math.floor(low), math.ceil(high) + 1) for digit in digits]
    values = [value for value in values if low <= math.log10(value) <= high]
    values = values[:: math.ceil(len(values) / most) or 1]
    return [math.log10(value) for value in values], [f"{value:g}" for value in values]
