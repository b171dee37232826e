"""Pictures of the study: what each device restores, how the network learned, which blurs it undoes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from itae.look.figures import COLOURS, MARKERS, clean
from itae.look.style import legend, plain_numbers, plain_style, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LONGEST = 24  # letters of a name in a picture
_GREY = "#888888"


@plain_style()
def devices(result: Mapping[str, Any]) -> Figure | None:
    """Draw PSNR over the blurred input's against time, a point a device, with its interval over photographs."""
    from matplotlib.figure import Figure

    cells = result["rows"][0]["cells"] if result["rows"] else {}
    there = [name for name, cell in cells.items() if "ms" in cell and result["devices"][name]["quality"]["psnr"]]
    if not there:
        return None
    figure = Figure(figsize=(8.2, 4.2), layout="constrained")
    ax = figure.subplots()
    marks = []
    for i, name in enumerate(there):
        gain, cell = result["devices"][name]["quality"]["gain_db"], cells[name]
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        if gain["low"] is not None:
            ax.plot([cell["ms"]] * 2, [gain["low"], gain["high"]], color=colour, linewidth=1, alpha=0.5)
        (mark,) = ax.plot(cell["ms"], gain["mean"], marker, color=colour, markersize=7, label=short(name, _LONGEST),
                          markerfacecolor=colour if cell["steady"] else "none", linestyle="none")  # fmt: skip
        marks.append(mark)
    _line(ax, 0, "the blurred input")
    if result["quality"]["wiener"] is not None:
        _line(ax, result["quality"]["wiener"]["gain_db"]["mean"], "Wiener, told the PSF")
    ax.set_xscale("log")
    plain_numbers(ax.xaxis)
    ax.set_xlabel(f"milliseconds ({result['statistic']})", fontsize=9)
    ax.set_ylabel("PSNR over the blurred input, dB", fontsize=9)
    clean(ax)
    legend(figure, marks, loc="outside right upper", fontsize=8, frameon=False)
    return figure


@plain_style()
def curve(result: Mapping[str, Any]) -> Figure | None:
    """Draw the PSNR on photographs of validation against the CPU seconds of the training."""
    from matplotlib.figure import Figure

    points = result["training"]["curve"]
    if len(points) < 2:
        return None
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    ax = figure.subplots()
    ax.plot([each["seconds"] for each in points], [each["validation_psnr"] for each in points], "o-",
            color=COLOURS[0], markersize=3)  # fmt: skip
    _line(ax, result["training"]["blurred_psnr"], "the blurred input")
    ax.set_xlabel("CPU seconds of training", fontsize=9)
    ax.set_ylabel("PSNR on validation, dB", fontsize=9)
    clean(ax)
    return figure


@plain_style()
def lengths(result: Mapping[str, Any]) -> Figure | None:
    """Draw by how much PSNR is above the blurred input's, by the length of the blur."""
    from matplotlib.figure import Figure

    parts = result["quality"]["by_length"]
    if len(parts) < 2:
        return None
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    ax = figure.subplots()
    for i, part in enumerate(parts):
        ax.plot(i, part["gain"]["mean"], "o", color=COLOURS[0])
        if part["gain"]["low"] is not None:
            ax.plot([i, i], [part["gain"]["low"], part["gain"]["high"]], color=COLOURS[0], linewidth=1, alpha=0.5)
    ax.axhline(0, color=_GREY, linestyle="--", linewidth=1)
    ax.set_xticks(
        range(len(parts)), [f"{part['low']:.1f} to {part['high']:.1f}\n{part['pairs']} pairs" for part in parts]
    )
    ax.set_xlabel("pixels of the blur's path", fontsize=9)
    ax.set_ylabel("dB above the blurred input", fontsize=9)
    clean(ax)
    return figure


def _line(ax: Axes, height: float, told: str) -> None:
    ax.axhline(height, color=_GREY, linestyle="--", linewidth=1)
    ax.annotate(told, (1, height), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=8,
                color=_GREY)  # fmt: skip


FIGURES: dict[str, tuple[str, Callable[[Mapping[str, Any]], Figure | None]]] = {
    "devices": (
        "What each device restores, and how long that takes: PSNR over the blurred input's on photographs of the test, "
        "with its interval over them, and times of this machine's runtimes, which stand in for phones. Hollow: "
        "unsteady. Lines: doing nothing, and a filter that is told the blur.",
        devices,
    ),
    "curve": (
        "How the network learned: PSNR on photographs of validation against the processor's seconds; the line is doing "
        "nothing.",
        curve,
    ),
    "lengths": (
        "Which blurs are undone: PSNR above the blurred input's, by the length of the blur, which was made and not "
        "found, with its interval over photographs of the test.",
        lengths,
    ),
}
"""Of each figure its caption, and what draws it."""
