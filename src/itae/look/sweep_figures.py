"""Pictures of many runs: what a metric does along each setting that varies among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from itae.look.figures import COLOURS, MARKERS, clean, save
from itae.look.style import legend, plain_style, short
from itae.results.rows import NUMBERS, apart, change_of, in_order, labels, measured
from itae.results.shown import Shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = ("metric_threshold", "metric_strength", "metric_layers", "delta_layers_threshold", "delta_artifact_rate")
LINES = 8  # in one panel
PANELS = 6  # in one figure
_LONG = 96  # letters of a name
_CLOSE = 0.05  # a spread of rates below this part of the largest tells nothing


@dataclass(frozen=True)
class _Panel:
    """One pair of axes: rows, the column along x, its name, the settings in it, and what the rows are of."""

    rows: pd.DataFrame
    x: str
    name: str
    drop: Sequence[str]
    about: str = ""


@plain_style()
def draw_sweep(
    table: pd.DataFrame, metric: str, folder: Path, shown: Shown, svg: bool = True
) -> tuple[list[Path], list[str]]:
    """Draw all figures that the rows of a table allow, as PNG and SVG.

    Parameters
    ----------
    table, shown
        As `itae.results.table.read_table` returns them.
    metric
        As in the table, without its side: ``acc``. Where it has no delta (two embedding spaces), the delta drawn is
        that of a metric that is measured in one.
    folder
        Where they go; what an earlier call drew there is removed.
    svg
        Whether as SVG as well.

    Returns
    -------
    figures, left out
        The PNGs, and a sentence for each figure that does not show every row.
    """
    for name in NAMES:
        for kind in ("png", "svg"):
            (folder / f"{name}.{kind}").unlink(missing_ok=True)
    change = change_of(table, metric, shown)
    rows = measured(table, metric, change)
    title, bars = shown.metric(metric).title, f"bars: std over {shown.unit}" if shown.unit else "bars: std"
    delta = shown.metric(f"delta.{change}").title
    makers = (
        lambda: _curves(_by_rule(rows), title, bars),
        lambda: _curves(_panel(rows, "attenuator.strength"), title, bars),
        lambda: _curves(_panel(rows, "layers"), title, bars),
        lambda: _maps(rows, delta),
        lambda: _scatter(rows, delta),
    )
    drawn: list[Path] = []
    told: list[str] = []
    for name, make in zip(NAMES, makers, strict=True):
        made = make()
        if made is None:
            continue
        figure, left_out = made
        drawn += save(figure, folder, name, svg)
        told += [f"{name}: {left_out}"] if left_out else []
    return drawn, told


def _by_rule(rows: pd.DataFrame) -> list[_Panel]:
    """Return one panel for each kind of number that has at least two values."""
    drop = [*NUMBERS, "detector.rule"]
    return [
        _Panel(part[part["_number"].notna()], "_number", f"detector.{kind}", drop, about)
        for about, some in apart(rows)
        for kind, part in some.groupby("_rule", sort=False)
        if part["_number"].nunique() > 1
    ]


def _panel(rows: pd.DataFrame, column: str) -> list[_Panel]:
    if column not in rows:
        return []
    return [
        _Panel(some[some[column].notna()], column, column, [column], about)
        for about, some in apart(rows)
        if some[column].nunique() > 1
    ]


def _axes(count: int, width: float = 4.6, height: float = 3.6) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    columns = min(2, count)
    lines = -(-count // columns)
    figure = Figure(figsize=(width * columns + 0.4, height * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for ax in axes[count:]:
        ax.set_axis_off()
    return figure, list(axes[:count])


def _curves(panels: list[_Panel], title: str, bars: str) -> tuple[Figure, str] | None:
    if not panels:
        return None
    shown = panels[:PANELS]
    figure, axes = _axes(len(shown), 5.6, 5.0)
    left = sum(_lines(ax, panel, title, bars) for ax, panel in zip(axes, shown, strict=True))
    told = [f"{left} more combinations of settings are only in the table"] if left else []
    told += [f"{len(panels) - PANELS} more panels are not drawn"] if len(panels) > PANELS else []
    return figure, "; ".join(told)


def _lines(ax: Axes, panel: _Panel, title: str, bars: str) -> int:
    """Draw one line for each combination of the other settings; return how many there was no place for."""
    named = labels(panel.rows, panel.drop)
    values = panel.rows.groupby(named, sort=False)[panel.x].nunique()
    lines = values.index[values > 1] if (values > 1).any() else values.index  # single points tell little
    shown = _spread(panel.rows["_value"].groupby(named).mean()[lines])
    sets = in_order(panel.rows[panel.x]) if panel.x == "layers" else None
    marks = []
    for i, name in enumerate(shown):
        rows = panel.rows[named == name]
        x = rows[panel.x].map(sets) + 0.05 * (i - (len(shown) - 1) / 2) if sets else rows[panel.x]
        points = pd.DataFrame({"x": x.astype(float), "y": rows["_value"], "std": rows["_value_std"]}).sort_values("x")
        mark = ax.errorbar(
            points["x"], points["y"], points["std"].fillna(0), label=short(name, _LONG) or "edited", color=COLOURS[i],
            marker=MARKERS[i], markersize=5, linewidth=1.2, capsize=2.5, linestyle=":" if sets else "-",
        )  # fmt: skip
        marks.append(mark)
    marks = _baselines(ax, panel.rows[named.isin(shown)]) + marks
    _x_axis(ax, panel, sets)
    more = len(values) - len(shown)
    told = [bars] if panel.rows["_value_std"].notna().any() else []
    told += [f"{len(shown)} of {len(values)} combinations, from the lowest to the highest"] if more else []
    ax.set_title(_title(panel.about, "; ".join(told)), fontsize=8, loc="left")
    ax.set_ylabel(title, fontsize=9)
    clean(ax)
    _legend(ax, marks)
    return more


def _title(*lines: str) -> str:
    return "\n".join(short(line, _LONG) for line in lines if line)


def _spread(values: pd.Series) -> list[Any]:
    """Return at most `LINES` of the index, spread evenly from the lowest value to the highest, in their order."""
    ranked = values.sort_values(kind="stable").index
    places = np.unique(np.linspace(0, len(ranked) - 1, min(LINES, len(ranked))).round().astype(int))
    kept = set(ranked[places])
    return [name for name in values.index if name in kept]


def _baselines(ax: Axes, rows: pd.DataFrame) -> list[Any]:
    """Draw the baseline of the rows and return it; where there are several, name the clusterer of each."""
    others = [name for name in rows if not name.startswith(("backbone.", "dataset.", "clusterer"))]
    named = labels(rows, others)
    bases = dict(zip(rows["_base"].round(9), named, strict=True))
    marks = []
    for (base, name), dashes in zip(bases.items(), cycle(("--", "-.", ":", (0, (6, 2))))):
        label = short(f"baseline {name}", _LONG) if len(bases) > 1 else "baseline (untouched backbone)"
        marks.append(ax.axhline(base, color="black", linestyle=dashes, linewidth=1, label=label))
    return marks


def _x_axis(ax: Axes, panel: _Panel, sets: dict[str, int] | None) -> None:
    ax.set_xlabel(panel.name, fontsize=9)
    if sets:
        long = max(map(len, sets)) * len(sets) > 60
        ax.set_xticks(list(sets.values()), list(sets), rotation=30 if long else 0, ha="right" if long else "center")
        ax.set_xlim(-0.5, len(sets) - 0.5)
        return
    places = sorted(panel.rows[panel.x].unique())
    if places[0] > 0 and places[-1] > 20 * places[0]:
        ax.set_xscale("log")
        places = places[:: -(-len(places) // 8)]
        ax.set_xticks(places, [f"{place:g}" for place in places])
        ax.minorticks_off()


def _legend(ax: Axes, marks: Sequence[Any]) -> None:
    """Put the legend under the axes, where long names have room, and make that room."""
    columns = 2 if max(len(mark.get_label()) for mark in marks) < 40 else 1
    kind = {"ncols": columns, "fontsize": 7, "frameon": False}
    if len(ax.figure.axes) == 1:
        legend(ax.figure, marks, loc="outside lower left", **kind)  # type: ignore[arg-type]
    else:
        legend(ax, marks, loc="upper left", bbox_to_anchor=(0.0, -0.14), borderaxespad=0.6, **kind)


def _maps(rows: pd.DataFrame, title: str) -> tuple[Figure, str] | None:
    """Draw the delta over layers and threshold, one map for each combination of the other settings."""
    if "layers" not in rows or rows["_delta"].isna().all():
        return None
    found: list[list[tuple[str, str, pd.DataFrame]]] = []
    for about, some in apart(rows):
        for kind, part in some[some["_number"].notna()].groupby("_rule", sort=False):
            if part[["_number", "layers"]].nunique().min() < 2:  # no map at all, whatever the other settings are
                continue
            named = labels(part, ["layers", *NUMBERS, "detector.rule"])
            grids = [(name, part[named == name].pivot_table(index="layers", columns="_number", values="_delta"))
                     for name in dict.fromkeys(named)]  # fmt: skip
            found.append([
                (f"detector.{kind}", _title(about, name), grid)
                for name, grid in grids if min(grid.shape) > 1
            ])  # fmt: skip
    panels = [one for some in zip_longest(*found) for one in some if one is not None]  # each kind has a turn
    if not panels:
        return None
    shown = panels[:PANELS]
    widest, tallest = max(grid.shape[1] for *_, grid in shown), max(grid.shape[0] for *_, grid in shown)
    figure, axes = _axes(len(shown), 1.8 + 0.62 * max(widest, 4), 1.3 + 0.42 * max(tallest, 3))
    most = max(float(np.nanmax(np.abs(grid.to_numpy()))) for *_, grid in shown) or 1e-9
    for ax, (x, about, grid) in zip(axes, shown, strict=True):
        picture = _map(ax, grid, most)
        ax.set_xlabel(x, fontsize=9)
        ax.set_title(about, fontsize=8)
    figure.colorbar(picture, ax=axes, aspect=30).set_label(title)
    left = len(panels) - len(shown)
    return figure, f"{left} more combinations of settings are only in the table" if left else ""


def _map(ax: Axes, grid: pd.DataFrame, most: float) -> Any:
    grid = grid.loc[list(in_order(pd.Series(grid.index)))]
    values = grid.to_numpy(float)
    ax.set_facecolor("#dddddd")  # where there is no run
    picture = ax.imshow(values, cmap="PuOr", vmin=-most, vmax=most, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            dark = abs(value) > 0.6 * most
            ax.text(j, i, f"{value:+.3f}", ha="center", va="center", fontsize=7, color="white" if dark else "black")
    ax.set_xticks(range(grid.shape[1]), [f"{number:g}" for number in grid.columns], fontsize=8)
    ax.set_yticks(range(grid.shape[0]), list(grid.index), fontsize=8)
    ax.set_ylabel("layers", fontsize=9)
    return picture


def _scatter(rows: pd.DataFrame, title: str) -> tuple[Figure, str] | None:
    """Draw the delta of each row against its share of flagged patches."""
    rows = rows[rows["_rate"].notna() & rows["_delta"].notna()]
    panels = [(about, some) for about, some in apart(rows) if np.ptp(some["_rate"]) > _CLOSE * some["_rate"].max()]
    if not panels:
        return None
    shown = panels[:PANELS]
    figure, axes = _axes(len(shown), 5.6, 4.6)
    left = sum(_points(ax, *panel, title) for ax, panel in zip(axes, shown, strict=True))
    left += sum(len(some) for _, some in panels[PANELS:])
    return figure, f"{left} rows are only in the table" if left else ""


def _points(ax: Axes, about: str, rows: pd.DataFrame, title: str) -> int:
    """Draw one panel, a colour for each combination of settings but numbers; return how many rows had no place."""
    named = labels(rows, [*NUMBERS, "attenuator.strength"])
    for name in ("layers", "detector", "attenuator"):  # too many for colours: then one setting is told
        if named.nunique() > LINES and name in rows:
            named = labels(rows[[name]])
    shown = list(dict.fromkeys(named))[:LINES]
    marks = []
    for i, name in enumerate(shown):
        part = rows[named == name]
        mark = ax.errorbar(
            100 * part["_rate"], part["_delta"], part["_delta_std"].fillna(0), label=short(name, _LONG) or "edited",
            color=COLOURS[i], marker=MARKERS[i], markersize=5, linestyle="", elinewidth=0.8, capsize=2, alpha=0.85,
        )  # fmt: skip
        marks.append(mark)
    ax.axhline(0, color="black", linewidth=0.8)
    left = int((~named.isin(shown)).sum())
    ax.set_xlabel("patches flagged, mean over the edited blocks (%)", fontsize=9)
    ax.set_ylabel(title, fontsize=9)
    told = f"{left} rows not shown" if left else ""
    ax.set_title(_title(about, told), fontsize=8, loc="left")
    clean(ax)
    if len(shown) > 1:
        _legend(ax, marks)
    return left
