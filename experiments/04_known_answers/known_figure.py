"""The figure of the known answers, from results.csv and flags.csv."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

TITLES = {"digits": "digits ({:,} images)", "dinov2_s": "DINOv2-S ({:,} pictures)"}


def draw(results: pd.DataFrame, flags: pd.DataFrame, path: Path) -> None:
    """Draw, for each data set, what each edit won back of each variant, and what each rule found."""
    panels = list(results.groupby("data", sort=False))
    heights = [rows["variant"].nunique() + 5 for _, rows in panels]
    figure = Figure(figsize=(14.5, 1 + 0.29 * sum(heights)), layout="constrained")
    axes = figure.subplots(len(panels), 2, squeeze=False, height_ratios=heights, width_ratios=(1, 1.45))
    for (name, rows), (left, right) in zip(panels, axes, strict=True):
        title = TITLES[str(name)].format(rows["images"].iloc[0])
        _won_back(left, rows, title)
        _found(right, flags[flags["data"] == name], title)
    figure.savefig(path, dpi=110)


def _won_back(ax: Axes, rows: pd.DataFrame, title: str) -> None:
    rows = rows[rows["edit"] != "untouched"]
    planted = rows[rows["count"] > 0]
    grid = planted.pivot(index="variant", columns="edit", values="won_back")
    grid = grid.reindex(index=planted["variant"].unique(), columns=planted["edit"].unique())
    lost = planted.drop_duplicates("variant").set_index("variant")["nmi_lost"]
    harm = rows[rows["count"] == 0].set_index("edit")["harm_on_clean"]
    _cells(ax, 100 * grid.to_numpy(), "{:.0f}")
    ax.set_yticks(range(len(grid)), [f"{name} ({lost[name]:.3f})" for name in grid.index], fontsize=7.5)
    told = [f"{name} ({harm[name]:+.3f})" if name in harm else name for name in grid.columns]
    ax.set_xticks(range(grid.shape[1]), told, fontsize=7, rotation=60, ha="right", rotation_mode="anchor")
    ax.set_title(
        f"{title}: % of the lost NMI won back\n(in brackets: NMI lost to plant; to edit, on clean)", fontsize=9
    )


def _found(ax: Axes, flags: pd.DataFrame, title: str) -> None:
    flags = flags[flags["block"].astype(str) == "pooled"]
    grid = flags.pivot(index="variant", columns=["detector", "rule"], values="f1")
    grid = grid.reindex(
        index=flags["variant"].unique(), columns=list(dict.fromkeys(zip(flags["detector"], flags["rule"], strict=True)))
    )
    _cells(ax, 100 * grid.to_numpy(), "{:.0f}")
    ax.set_yticks(range(len(grid)), grid.index, fontsize=7.5)
    told = [f"{detector}: {rule}" for detector, rule in grid.columns]
    ax.set_xticks(range(grid.shape[1]), told, fontsize=7, rotation=60, ha="right", rotation_mode="anchor")
    for edge in range(4, grid.shape[1], 4):
        ax.axvline(edge - 0.5, color="white", linewidth=2.5)
    ax.set_title(f"{title}: F1 (%) of the flagged tokens, all blocks from the plant on", fontsize=9)


def _cells(ax: Axes, grid: np.ndarray, form: str) -> None:
    ax.imshow(np.clip(grid, 0, 100), cmap="viridis", vmin=0, vmax=100, aspect="auto")
    for (i, j), value in np.ndenumerate(grid):
        if not np.isnan(value):
            ax.text(j, i, form.format(value.round() + 0.0), ha="center", va="center", fontsize=6.3,
                    color="black" if value > 60 else "white")  # fmt: skip
    ax.tick_params(length=0)
