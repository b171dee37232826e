"""Pictures of a search: fronts, what one's best costs on another, times, predictions, the supernet's order.

Each is drawn of a whole result, or of the summary in it alone, as far as that goes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.look.figures import COLOURS, MARKERS, clean
from itae.look.style import legend, plain_style, short
from itae.portable.deploy.figures import lengths

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LONGEST, _LONGEST_TITLE = 24, 18  # letters of a name in a picture, and over one of several side by side
_GREY = "#e3e3e3"
_COLUMNS = 3
SEARCHED, BY_HAND, PORTABLE = COLOURS[0], COLOURS[1], COLOURS[2]


def _summary(result: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = result.get("search", result)
    return found


@plain_style()
def fronts(result: Mapping[str, Any]) -> Figure | None:
    """Draw quality against time on each device: networks with intervals, the front as steps, the portable set."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    result = _summary(result)
    devices = result["devices"]
    if not devices:
        return None
    columns = min(_COLUMNS, len(devices))
    rows = math.ceil(len(devices) / columns)
    figure = Figure(figsize=(1.2 + 3.1 * columns, 0.9 + 2.5 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for (name, of), ax in zip(devices.items(), axes, strict=False):
        _front(ax, name, of, result)
    for ax in axes[len(devices) :]:
        ax.set_axis_off()
    figure.supxlabel("milliseconds of a picture", fontsize=9)
    figure.supylabel("dB over the blurred input", fontsize=9)
    marks = [
        Line2D([], [], marker="o", color=SEARCHED, label="front of the search"),
        Line2D([], [], marker="o", color=SEARCHED, alpha=0.35, linestyle="", label="other searched"),
        Line2D([], [], marker="s", color=BY_HAND, linestyle="", label="made by hand"),
        Line2D([], [], marker="o", color=PORTABLE, markerfacecolor="none", markersize=10, linestyle="",
               label="portable set"),
        Line2D([], [], color="#777", linestyle=":", label="blurred input"),
    ]  # fmt: skip
    legend(figure, marks, loc="outside upper center", ncols=len(marks) if columns > 1 else 2, fontsize=8, frameon=False)
    return figure


def _front(ax: Axes, device: str, of: Mapping[str, Any], result: Mapping[str, Any]) -> None:
    """Draw one device; unsteady networks are hollow."""
    for name, cell in of["nets"].items():
        by_hand, on = result["nets"][name]["role"] == "hand_made", name in of["front"]
        colour, x, y = BY_HAND if by_hand else SEARCHED, cell["ms"], cell["gain_db"]
        strong = 1.0 if on or by_hand else 0.35
        reach = [[x["value"] - x["low"]], [x["high"] - x["value"]]], [[y["value"] - y["low"]], [y["high"] - y["value"]]]
        ax.errorbar(
            x["value"], y["value"], yerr=reach[1], xerr=reach[0], color=colour, alpha=0.3 * strong, lw=1, zorder=1
        )
        ax.plot(
            x["value"], y["value"], "s" if by_hand else "o", color=colour, markersize=4.5, alpha=strong,
            markerfacecolor=colour if cell["steady"] else "none",
        )  # fmt: skip
        if name in result["portable"]["nets"]:
            ax.plot(x["value"], y["value"], "o", color=PORTABLE, markerfacecolor="none", markersize=10, mew=1.4)
    points = [(of["nets"][name]["ms"]["value"], of["nets"][name]["gain_db"]["value"]) for name in of["front"]]
    ax.step(*zip(*points, strict=True), where="post", color=SEARCHED, lw=1.2)
    ax.axhline(0, color="#777", lw=1, linestyle=":")
    _plain_log(ax, "x")
    clean(ax)
    gain = of["hypervolume"]["gain"]
    told = "" if gain["value"] is None else f": area {_percent(gain['value'], '+')} over hand-made"
    ax.set_title(short(device, _LONGEST_TITLE) + told, fontsize=9)


@plain_style()
def regret(result: Mapping[str, Any]) -> Figure | None:
    """Draw the area that each device's front loses on each other, with how much longer it takes at equal PSNR."""
    from matplotlib.figure import Figure

    result = _summary(result)
    names = list(result["devices"])
    if len(names) < 2:
        return None
    told = [*result["regret"], *result["portable"]["regret"]]
    rows = [*names, "portable"]
    share_RD, times_RD = (np.full((len(rows), len(names)), np.nan) for _ in range(2))
    for one in told:
        at = rows.index(one["best_of"]), names.index(one["on"])
        share_RD[at] = np.nan if one["share"] is None else one["share"]
        times_RD[at] = np.nan if one["times"] is None else one["times"]
    most = max(0.05, float(np.nanmax(share_RD, initial=0)))
    figure = Figure(figsize=(2.8 + 0.95 * len(names), 1.9 + 0.5 * len(rows)), layout="constrained")
    ax = figure.subplots()
    ax.set_facecolor(_GREY)
    drawn = ax.imshow(share_RD, cmap="Reds", vmin=0, vmax=most, aspect="auto")
    for i, j in np.ndindex(share_RD.shape):
        share, times = float(share_RD[i, j]), float(times_RD[i, j])
        line = "-" if np.isnan(share) else f"{_percent(share)}\n{'-' if np.isnan(times) else f'x{times:.2f}'}"
        dark = np.isfinite(share) and share > 0.6 * most
        ax.text(j, i, line, ha="center", va="center", fontsize=8, color="white" if dark else "black")
    ax.axhline(len(names) - 0.5, color="white", linewidth=4)
    ax.set_xticks(range(len(names)), [short(name, _LONGEST) for name in names], rotation=35, ha="right")
    ax.set_yticks(range(len(rows)), [short(name, _LONGEST) for name in names] + ["the portable set"])
    ax.set_xlabel("run on", fontsize=9)
    ax.set_ylabel("best of", fontsize=9)
    ax.tick_params(length=0, labelsize=9)
    ax.spines[:].set_visible(False)
    bar = figure.colorbar(drawn, ax=ax, pad=0.02)
    bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    bar.ax.tick_params(labelsize=8)
    ax.set_title("area lost; below it, time at equal PSNR", fontsize=9)
    return figure


def _percent(share: float, sign: str = "-") -> str:
    """Return a share, without a minus before nothing."""
    return format(0.0 if abs(share) < 0.005 else share, f"{sign}.0%")


@plain_style()
def macs_and_time(result: Mapping[str, Any]) -> Figure | None:
    """Draw the time of each network against its MACs, a colour a device; unsteady ones are hollow."""
    from matplotlib.figure import Figure

    result = _summary(result)
    if not result["devices"]:
        return None
    figure = Figure(figsize=(8.2, 4.6), layout="constrained")
    ax = figure.subplots()
    marks = []
    for i, (device, of) in enumerate(result["devices"].items()):
        colour, marker = _look(i)
        for name, cell in of["nets"].items():
            ax.plot(
                result["nets"][name]["macs"] / 1e9, cell["ms"]["value"], marker, color=colour, markersize=5, alpha=0.8,
                markerfacecolor=colour if cell["steady"] else "none",
            )  # fmt: skip
        marks += ax.plot([], [], marker, color=colour, markersize=5, label=short(device, _LONGEST))
    for axis in ("x", "y"):
        _plain_log(ax, axis)
    ax.set_xlabel("GMAC of a picture", fontsize=9)
    ax.set_ylabel("milliseconds of a picture", fontsize=9)
    clean(ax)
    ax.set_title("MACs and time, both logarithmic; hollow: unsteady", fontsize=9)
    legend(figure, marks, loc="outside right upper", fontsize=8, frameon=False)
    return figure


@plain_style()
def predictions(result: Mapping[str, Any]) -> Figure | None:
    """Draw predicted against measured times of networks that the predictor was not fitted on, a colour a device.

    Hollow are those that were measured afterwards.
    """
    from matplotlib.figure import Figure

    result = _summary(result)
    if not result["predictor"]:
        return None
    figure = Figure(figsize=(8.2, 6.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    marks, ends = [], []
    for i, (device, of) in enumerate(result["predictor"].items()):
        colour, marker = _look(i)
        told = f"{short(device, _LONGEST)}: {of['mean_error'][0]:.1%} off"
        for some, fill in ((of, colour), (of.get("afterwards"), "none")):
            if some:
                measured, predicted = np.array(some["measured_ms"]), np.array(some["predicted_ms"])
                for ax, values in ((above, predicted), (below, predicted / measured)):
                    ax.plot(measured, values, marker, color=colour, markersize=4.5, alpha=0.75, markerfacecolor=fill)
                ends += [*measured, *predicted]
        if later := of.get("afterwards"):
            told += f", then {later['mean_error'][0]:.1%}"
        marks += above.plot([], [], marker, color=colour, markersize=5, label=told)
    line = np.array([min(ends), max(ends)])
    for ax, values in ((above, line), (below, np.ones(2))):
        ax.plot(line, values, color="#777", lw=1)
        ax.fill_between(line, values / 1.1, values * 1.1, color="#777", alpha=0.15, lw=0)
        clean(ax)
    _plain_log(above, "x")
    _plain_log(above, "y")
    below.set_xlabel("measured milliseconds", fontsize=9)
    above.set_ylabel("predicted milliseconds", fontsize=9)
    below.set_ylabel("predicted over measured", fontsize=9)
    above.set_title("networks that the fit never saw; hollow: measured afterwards; band: 10 %", fontsize=9)
    legend(figure, marks, loc="outside right upper", fontsize=8, frameon=False)
    return figure


@plain_style()
def supernet_ranks(result: Mapping[str, Any]) -> Figure | None:
    """Draw what the supernet says of networks against what training each by itself came to."""
    from matplotlib.figure import Figure

    found = result.get("ranks")
    if not found or len(found["nets"]) < 2:
        return None
    figure = Figure(figsize=(5.6, 4.2), layout="constrained")
    ax = figure.subplots()
    ours, theirs = ([net[by] for net in found["nets"]] for by in ("by_supernet", "by_training"))
    ax.plot(ours, theirs, "o", color=COLOURS[0], markersize=5)
    ax.set_xlabel("by the supernet, PSNR on validation (dB)", fontsize=9)
    ax.set_ylabel("trained by itself, PSNR on validation (dB)", fontsize=9)
    clean(ax)
    rho = found["spearman"]
    told = "none can be told" if rho is None or rho != rho else f"{rho:.2f} ({found['low']:.2f} to {found['high']:.2f})"
    ax.set_title(f"Spearman's rank correlation: {told}", fontsize=9)
    return figure


def blur_lengths(result: Mapping[str, Any]) -> Figure | None:
    """Draw by how much PSNR is above the blurred input's, by the length of the blur, where that is told."""
    return lengths(result) if result.get("quality", {}).get("by_length") else None


def _look(i: int) -> tuple[str, str]:
    return COLOURS[i % len(COLOURS)], MARKERS[(i + i // len(COLOURS)) % len(MARKERS)]


def _plain_log(ax: Axes, which: str) -> None:
    """Make an axis logarithmic, with a few numbers told as numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    getattr(ax, f"set_{which}scale")("log")
    axis = getattr(ax, f"{which}axis")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


FIGURES: dict[str, tuple[str, Callable[[Mapping[str, Any]], Figure | None]]] = {
    "fronts": (
        "Quality and time of each network on each device, after conversion. Intervals are over test photographs, of "
        "differences to the blurred input, since photographs differ by far more than networks do. The front was chosen "
        "on validation photographs, so here it may step down. Area is counted between a front and the blurred input, "
        "in dB times halvings of the time of the slowest network made by hand. Hollow: unsteady. Processors' runtimes "
        "stand in for phones.",
        fronts,
    ),
    "regret": (
        "What it costs to run on one device the networks that are best on another: the share of its own front's area "
        "that is lost, and below it how much longer they take there than what restores as well. The last row is one "
        "set of networks for all devices. Below 0 %, the other's networks turned out better on test photographs.",
        regret,
    ),
    "searched_macs": (
        "Time and multiply-accumulates of the networks that were measured. On one device points near each other have "
        "the same MACs and may differ in time; what they differ by is what MACs don't say.",
        macs_and_time,
    ),
    "predicted": (
        "Predicted against measured times of networks that the fit never saw, and the mean of absolute errors: filled, "
        "each of those measured first, predicted from all others; hollow, those measured afterwards, made by hand and "
        "chosen by the search. The chosen were chosen for being predicted fast, so predictions of them tend to be low. "
        "A predictor decides which networks are measured, never which of these is best.",
        predictions,
    ),
    "supernet_ranks": (
        "What the supernet says of some networks, with the weights that all of them share, against what training each "
        "by itself came to. What matters is their order; that the latter restore more is as it should be.",
        supernet_ranks,
    ),
    "lengths": (
        "Which blurs the portable set undoes, by its network that was best on validation: PSNR above the blurred "
        "input's, by the length of the blur, which was made and not found, with its interval over photographs of the "
        "test.",
        blur_lengths,
    ),
}
"""The pictures of a search by name: a caption, and what draws it of a result."""
