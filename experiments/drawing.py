"""The figures of the experiments, each from its results.csv."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from itae.look.figures import COLOURS, MARKERS, clean

DPI = 130
BOTH = "planted digits ({:,} images)", "DINOv2-S ({:,} pictures)"
SIGNALS = ("value_norm", "key_norm", "query_norm", "residual_norm", "cls_attention")


def parts(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return the rows of each data set, under the title of its panel."""
    digits = rows["data"] == "digits"
    both = [(title, rows[mine]) for title, mine in zip(BOTH, (digits, ~digits), strict=True)]
    return [(title.format(part["images"].iloc[0]), part) for title, part in both if len(part)]


def untouched(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw the baseline with its spread."""
    base, std = rows[["baseline_acc", "baseline_acc_std"]].iloc[0]
    ax.axhspan(base - std, base + std, color="black", alpha=0.08, linewidth=0)
    ax.axhline(base, color="black", linestyle="--", linewidth=1, label="untouched (band: std)")


def save(figure: Figure, path: Path) -> None:
    """Write the figure as a PNG of few colours, which is a third of the size."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=DPI)
    Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


# --- 01: which blocks


def layers(rows: pd.DataFrame, path: Path) -> None:
    """Draw ACC of each single block and of the last n, and the share of patches that were flagged."""
    panels = parts(rows)
    figure = Figure(figsize=(5.2 * len(panels), 4.6), layout="constrained")
    axes = figure.subplots(2, len(panels), squeeze=False, sharex="col", height_ratios=(3, 1))
    for (title, part), (top, bottom) in zip(panels, axes.T, strict=True):
        places = {name: i for i, name in enumerate(part["layers"].unique())}
        for i, (side, some) in enumerate(part.groupby("side", sort=False)):
            _blocks(top, bottom, some, places, i, f"{side} value norms removed")
        untouched(top, part)
        _between(top, bottom, places)
        top.set_title(title, fontsize=9, loc="left")
        top.legend(fontsize=7.5, frameon=False)
        clean(top)
        clean(bottom)
    axes[0, 0].set_ylabel("ACC (bars: std)", fontsize=9)
    axes[1, 0].set_ylabel("flagged (%)", fontsize=9)
    save(figure, path)


def _blocks(top: Axes, bottom: Axes, rows: pd.DataFrame, places: dict[str, int], i: int, label: str) -> None:
    """Draw one side: two lines, one of single blocks and one of the last n, that meet at the last block."""
    x = rows["layers"].map(places) + 0.1 * i
    single = rows["layers"].str.startswith("[") | (rows["layers"] == "last")
    last = ~rows["layers"].str.startswith("[")
    for which, line in ((single, "-"), (last, ":")):
        style = {"color": COLOURS[i], "marker": MARKERS[i], "markersize": 5, "linewidth": 1.2, "linestyle": line}
        named = {"label": label} if which is single else {}
        top.errorbar(x[which], rows["edited_acc"][which], rows["edited_acc_std"][which], capsize=2.5, **style, **named)
        bottom.plot(x[which], 100 * rows["flagged"][which], **style | {"markersize": 4})


def _between(top: Axes, bottom: Axes, places: dict[str, int]) -> None:
    ends = [name.strip("[]") for name in places]
    bottom.set_xticks(list(places.values()), ends)
    bottom.set_xlabel("one block  |  the last n blocks", fontsize=9)
    for ax in (top, bottom):
        ax.axvline(places["last"], color="grey", linewidth=0.6)


# --- 02: which signal and rule


def thresholds(rows: pd.DataFrame, path: Path) -> None:
    """Draw a map for each data set: signals down, rules across, the change of ACC in each cell."""
    panels = parts(rows)
    cuts = list(dict.fromkeys(map(_cut, rows[rows["rule"].notna()].itertuples())))
    sizes = [len(_lines(part)) for _, part in panels]
    figure = Figure(figsize=(10.2, 1.1 * len(panels) + 0.42 * sum(sizes)), layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=sizes)[:, 0]
    for ax, (title, part) in zip(axes, panels, strict=True):
        _map(ax, part, cuts)
        told = f"{title}: change of ACC from {part['baseline_acc'].iloc[0]:.3f} (share flagged)"
        ax.set_title(f"{told}; bold: more than its std over seeds", fontsize=9, loc="left")
    save(figure, path)


def _cut(row: object) -> str:
    # The control is drawn under the quantiles: it flags the same shares.
    rule = "quantile" if pd.isna(row.rule) else row.rule  # type: ignore[attr-defined]
    return rule if pd.isna(row.number) else f"{rule}\n{row.number:g}"  # type: ignore[attr-defined]


def _line(row: object) -> str:
    name = row.detector.replace("_", " ")  # type: ignore[attr-defined]
    return name if pd.isna(row.side) else f"{name}, {row.side}"  # type: ignore[attr-defined]


def _lines(rows: pd.DataFrame) -> list[str]:
    """Return the signals in one order, the control last."""
    order = {name: i for i, name in enumerate(SIGNALS)}
    ranked = sorted(rows.itertuples(), key=lambda row: (order.get(row.detector, 9), row.side != "low"))
    return list(dict.fromkeys(map(_line, ranked)))


def _map(ax: Axes, rows: pd.DataFrame, cuts: Sequence[str]) -> None:
    lines = _lines(rows)
    grid = np.full((len(lines), len(cuts)), np.nan)
    for row in rows.itertuples():
        i, j = lines.index(_line(row)), cuts.index(_cut(row))
        grid[i, j] = row.delta_acc
    most = float(np.nanmax(np.abs(grid))) or 1e-9
    ax.set_facecolor("#e4e4e4")  # where there is no run
    ax.imshow(grid, cmap="PuOr", vmin=-most, vmax=most, aspect="auto")
    for row in rows.itertuples():
        i, j = lines.index(_line(row)), cuts.index(_cut(row))
        told = f"{row.delta_acc:+.3f}\n({100 * row.flagged:.2g} %)".replace("0.", ".", 1)
        weight = "bold" if abs(row.delta_acc) > row.delta_acc_std else "normal"
        colour = "white" if abs(row.delta_acc) > 0.6 * most else "black"
        ax.text(j, i, told, ha="center", va="center", fontsize=6.5, color=colour, weight=weight)
    ax.set_xticks(range(len(cuts)), cuts, fontsize=7.5)
    ax.set_yticks(range(len(lines)), lines, fontsize=8)
    ax.tick_params(length=0)


# --- 03: which attenuator, how strong


def strength(rows: pd.DataFrame, path: Path) -> None:
    """Draw ACC along the strength, a line for each attenuator, a panel for each set of rows or blocks."""
    panels = [
        (f"{title}, {_place(*place)}", some)
        for title, part in parts(rows)
        for place, some in part.groupby(["layers", "queries"], sort=False)
    ]
    figure = Figure(figsize=(9.6, 3.4 * -(-len(panels) // 2) + 0.4), layout="constrained")
    axes = figure.subplots(-(-len(panels) // 2), 2, squeeze=False, sharex=True, sharey="row")
    names = list(rows["attenuator"].unique())
    for ax, (title, part) in zip(axes.flat, panels, strict=True):
        for name, some in part.groupby("attenuator", sort=False):
            i = names.index(str(name))
            ax.errorbar(
                some["strength"] + 0.012 * (i - 2.5), some["edited_acc"], some["edited_acc_std"],
                label=str(name).replace("_", " "), color=COLOURS[i], marker=MARKERS[i], markersize=4.5, linewidth=1.2,
                capsize=2, elinewidth=0.8,
            )  # fmt: skip
        untouched(ax, part)
        ax.set_title(title, fontsize=9, loc="left")
        ax.set_xticks(sorted(rows["strength"].unique()))
        clean(ax)
    for ax in axes[-1]:
        ax.set_xlabel("strength", fontsize=9)
    for ax in axes[:, 0]:
        ax.set_ylabel("ACC (bars: std)", fontsize=9)
    handles, told = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, told, loc="outside lower center", ncols=len(told), fontsize=7.5, frameon=False)
    save(figure, path)


def _place(blocks: str, queries: str) -> str:
    where = {"all": "all blocks", "last": "last block"}.get(blocks, f"last {blocks.removeprefix('last')} blocks")
    return where if blocks == "last" else f"{where}, {'CLS row' if queries == 'cls' else 'all rows'}"


# --- 05: is it the artifacts?

_CONTROLS = {
    "NoControl": "the edit",
    "Random": "random: as many others",
    "OtherSide": "other side of the signal",
    "MeanValue": "mean value: content alone",
}


def controls(rows: pd.DataFrame, path: Path) -> None:
    """Draw the delta of ACC of the edit and of each of its controls, with its 95 % interval; of each random draw."""
    panels = parts(rows)
    figure = Figure(figsize=(4.9 * len(panels), 3.3), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for ax, (title, part) in zip(axes, panels, strict=True):
        for i, side in enumerate(("low", "high")):
            some = part[part["side"] == side]
            draw = some["control_seed"].fillna(0)
            y = np.array([list(_CONTROLS).index(name) for name in some["control"]]) + 0.36 * i + 0.07 * draw - 0.15
            reach = np.abs(some[["delta_acc_low", "delta_acc_high"]].to_numpy().T - some["delta_acc"].to_numpy())
            ax.errorbar(
                some["delta_acc"], y, xerr=reach, linestyle="none", color=COLOURS[i], marker=MARKERS[i], markersize=4.5,
                capsize=2, elinewidth=1, label=f"{side} value norms, and as many at random",
            )  # fmt: skip
        ax.axvline(0, color="black", linestyle="--", linewidth=1)
        ax.set_title(f"{title}: ACC {part['baseline_acc'].iloc[0]:.3f}", fontsize=9, loc="left")
        ax.set_xlabel("change of ACC (bars: 95 %)", fontsize=9)
        clean(ax)
    axes[0].set_yticks(np.arange(len(_CONTROLS)) + 0.1, list(_CONTROLS.values()), fontsize=8)
    axes[0].invert_yaxis()
    handles, told = axes[-1].get_legend_handles_labels()
    figure.legend(handles, told, loc="outside lower center", ncols=len(told), fontsize=7.5, frameon=False)
    save(figure, path)


FIGURES = {"01_layers": layers, "02_thresholds": thresholds, "03_strength": strength, "05_controls": controls}
