"""The figure of edits and clusterers: what each edit adds to each clusterer's ACC, and what that was untouched."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).parents[1]))

from drawing import save

UNTOUCHED = "untouched"


def draw(rows: pd.DataFrame, path: Path) -> None:
    """Draw a table for each data set; a number stands out where its interval leaves zero out.

    An edit's controls come after it. Each table has a scale of its own.
    """
    sets = list(rows.loc[rows["edit"] != UNTOUCHED, "data"].unique())
    told = [edit for edit in rows["edit"].unique() if edit != UNTOUCHED]
    controls = {edit: [one for one in told if one.startswith(f"{edit}, ")] for edit in told if ", " not in edit}
    edits = [one for edit, of_it in controls.items() for one in (edit, *of_it)]
    figure = Figure(figsize=(7.2 * len(sets), 1.3 + 0.42 * (len(edits) + 1)), layout="constrained")
    for ax, data in zip(figure.subplots(1, len(sets), squeeze=False)[0], sets, strict=True):
        _table(ax, rows[rows["data"] == data], [UNTOUCHED, *edits])
        ax.set_title(data, fontsize=9, loc="left")
    figure.suptitle("ACC untouched, and what an edit adds (bold: its 95 % interval leaves 0 out)", fontsize=10)
    save(figure, path)


def _table(ax: Axes, rows: pd.DataFrame, edits: list[str]) -> None:
    clusterers = list(rows["clusterer"].unique())
    cells = rows.set_index(["edit", "clusterer"])
    shown = np.full((len(edits), len(clusterers)), np.nan)
    for i, edit in enumerate(edits):
        for j, clusterer in enumerate(clusterers):
            if (edit, clusterer) not in cells.index:
                continue
            cell = cells.loc[(edit, clusterer)]
            if edit == UNTOUCHED:
                ax.text(j, i, f"{cell['baseline_acc']:.3f}", ha="center", va="center", fontsize=7)
                continue
            low, high = cell["delta_acc_low"], cell["delta_acc_high"]
            sure = low > 0 or high < 0
            shown[i, j] = cell["delta_acc"]
            told = f"{cell['delta_acc']:+.3f}".replace("-0.000", "+0.000")
            ax.text(j, i, told, ha="center", va="center", fontsize=7, weight="bold" if sure else "normal")
    most = np.nanmax(np.abs(shown)) if np.isfinite(shown).any() else 1.0
    ax.imshow(shown, cmap="RdBu", vmin=-most * 1.6, vmax=most * 1.6, aspect="auto")
    ax.set_xticks(range(len(clusterers)), [name.replace("_", "\n") for name in clusterers], fontsize=7)
    ax.set_yticks(range(len(edits)), [_name(edit) for edit in edits], fontsize=7)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _name(edit: str) -> str:
    """Return what a row is called: a control is told by its name, under its edit."""
    name, _, control = edit.partition(", ")
    return (f"control: {control}" if control else name).replace("_", " ")
