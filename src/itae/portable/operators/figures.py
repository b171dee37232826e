"""Pictures of the study: a heat map of ratios, rank correlations, and MACs against time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.look.figures import COLOURS, MARKERS, clean
from itae.look.style import legend, plain_numbers, plain_style, short
from itae.portable.cells.ratio import usable
from itae.portable.operators.correlations import MACS
from itae.portable.operators.table import devices_in, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LONGEST = 28  # letters of a name in a picture
_GREY = "#e3e3e3"


@plain_style()
def heat_map(result: Mapping[str, Any]) -> Figure | None:
    """Draw each change on each device as the logarithm of its time over the base's; unsteady cells are hatched."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    devices = devices_in(result)
    rows = [row for row in result["rows"] if row["name"] != result["base"]]
    if not devices or not rows:
        return None
    base = next(row for row in result["rows"] if row["name"] == result["base"])
    values_RD = np.array([[_ratio(row, device) for device in devices] for row in rows])
    known = np.log2(values_RD[np.isfinite(values_RD)])
    most = max(0.25, float(np.abs(known).max())) if known.size else 1.0
    figure = Figure(figsize=(2.6 + 0.92 * (len(devices) + 1), 1.5 + 0.36 * len(rows)), layout="constrained")
    ax = figure.subplots()
    ax.set_facecolor(_GREY)
    macs_R = np.array([row["macs"] / base["macs"] for row in rows])
    shown_RC = np.column_stack([values_RD, macs_R])
    drawn = ax.imshow(np.log2(shown_RC), cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto")
    for i, row in enumerate(rows):
        for j, value in enumerate(shown_RC[i]):
            dark = np.isfinite(value) and abs(np.log2(value)) > 0.65 * most
            told = percent(value) if np.isfinite(value) else "-"
            letters = ax.text(j, i, told, ha="center", va="center", fontsize=8, color="white" if dark else "black")
            if j < len(devices) and np.isfinite(value) and not _known(row, base, devices[j]):
                letters.set(color="black", bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})  # on the hatches
                ax.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, hatch="////", edgecolor="#555", lw=0))
    ax.axvline(len(devices) - 0.5, color="white", linewidth=4)
    ax.set_xticks(
        range(len(devices) + 1), [*(short(name, _LONGEST) for name in devices), MACS], rotation=35, ha="right"
    )
    ax.set_yticks(range(len(rows)), [short(row["told"], _LONGEST) for row in rows])
    ax.tick_params(length=0, labelsize=9)
    ax.spines[:].set_visible(False)
    bar = figure.colorbar(drawn, ax=ax, pad=0.02)
    marks = [mark for mark in (-2, -1, -0.5, 0, 0.5, 1, 2) if abs(mark) <= most]
    bar.set_ticks(marks, labels=[percent(2.0**mark) for mark in marks])
    bar.ax.tick_params(labelsize=8)
    ax.set_title("time against the base; hatched: unsteady, grey: not measured", fontsize=9)
    return figure


@plain_style()
def correlation_matrix(result: Mapping[str, Any]) -> Figure | None:
    """Draw the rank correlation of each pair of devices, and of each with the MACs."""
    from matplotlib.figure import Figure

    names = [*devices_in(result), MACS]
    if not any(pair["rho"] is not None for pair in result["correlations"]):
        return None
    rho_NN = np.eye(len(names))
    for pair in result["correlations"]:
        i, j = (names.index(name) for name in pair["between"])
        rho_NN[i, j] = rho_NN[j, i] = np.nan if pair["rho"] is None else pair["rho"]
    side = 2.0 + 0.72 * len(names)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    ax = figure.subplots()
    ax.set_facecolor(_GREY)
    drawn = ax.imshow(rho_NN, cmap="RdBu", vmin=-1, vmax=1)
    for i, j in np.ndindex(rho_NN.shape):
        value = rho_NN[i, j]
        told = f"{value:.2f}" if np.isfinite(value) else "-"
        ax.text(j, i, told, ha="center", va="center", fontsize=8, color="white" if abs(value) > 0.65 else "black")
    labels = [short(name, _LONGEST) for name in names]
    ax.set_xticks(range(len(names)), labels, rotation=35, ha="right")
    ax.set_yticks(range(len(names)), labels)
    ax.tick_params(length=0, labelsize=9)
    ax.spines[:].set_visible(False)
    figure.colorbar(drawn, ax=ax, shrink=0.8, pad=0.02).ax.tick_params(labelsize=8)
    ax.set_title("Spearman's rank correlation over steady cells", fontsize=9)
    return figure


@plain_style()
def macs_and_time(result: Mapping[str, Any]) -> Figure | None:
    """Draw the time of each network against its MACs, a colour a device; unsteady cells are hollow."""
    from matplotlib.figure import Figure

    devices = devices_in(result)
    if not devices:
        return None
    figure = Figure(figsize=(8.2, 4.6), layout="constrained")
    ax = figure.subplots()
    marks = []
    for i, device in enumerate(devices):
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[(i + i // len(COLOURS)) % len(MARKERS)]
        marks.append(_points(ax, result, device, colour, marker))
    ax.set_xscale("log")
    ax.set_yscale("log")
    plain_numbers(ax.xaxis, ax.yaxis)
    ax.set_xlabel("GMAC of a picture", fontsize=9)
    ax.set_ylabel(f"milliseconds ({result['statistic']})", fontsize=9)
    clean(ax)
    ax.set_title("MACs and time, both logarithmic; hollow: unsteady", fontsize=9)
    legend(figure, marks, loc="outside right upper", fontsize=8, frameon=False)
    return figure


def _points(ax: Axes, result: Mapping[str, Any], device: str, colour: str, marker: str) -> Any:
    cells = [
        (row["macs"] / 1e9, row["cells"][device]) for row in result["rows"] if "ms" in row["cells"].get(device, {})
    ]
    for steady in (True, False):
        some = [(x, cell["ms"]) for x, cell in cells if usable(cell) is steady]
        x, y = zip(*some, strict=True) if some else ((), ())
        ax.plot(x, y, marker, color=colour, markerfacecolor=colour if steady else "none", markersize=5, alpha=0.8)
    (mark,) = ax.plot([], [], marker, color=colour, markersize=5, label=short(device, _LONGEST))
    return mark


def _ratio(row: Mapping[str, Any], device: str) -> float:
    value = row["cells"].get(device, {}).get("ratio")
    return np.nan if value is None else float(value)


def _known(row: Mapping[str, Any], base: Mapping[str, Any], device: str) -> bool:
    return usable(row["cells"].get(device)) and usable(base["cells"].get(device))


FIGURES: dict[str, tuple[str, Callable[[Mapping[str, Any]], Figure | None]]] = {
    "ratios": (
        "What each change costs on each device: its time against the base network's, as a difference in percent. "
        "Hatched cells are unsteady and take no part in what is concluded; the last column is what the "
        "multiply-accumulates say.",
        heat_map,
    ),
    "ranks": (
        "How alike devices rank these networks, by Spearman's rank correlation over the networks that are steady on "
        "both, and how well their MACs rank them.",
        correlation_matrix,
    ),
    "macs": (
        "Time and multiply-accumulates of each network. On one device points near each other have the same MACs and "
        "may differ in time; what they differ by is what MACs don't say.",
        macs_and_time,
    ),
}
"""The pictures of a run by name: a caption, and what draws it of a result."""
