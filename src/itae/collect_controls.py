"""Each edit against its matched random control: what is left of a delta that random patches would not have given.

A run with ``control=random`` is the control of the run with ``control=none`` and otherwise the same settings. Their
deltas are paired seed by seed; several draws (``control.seed``) are averaged first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from itae.collect_rows import labels, science, settings_of, with_choices
from itae.metrics import METRICS, interval
from itae.runs import load_run

AGAINST = "against_random"
_SHOWN = 10


def against_random(table: pd.DataFrame, home: Path) -> pd.DataFrame:
    """Return the table with ``against_random.<metric>.mean``, ``.low`` and ``.high`` for runs that have a control.

    Parameters
    ----------
    table
        As `itae.collect_table.read_table` returns it.
    home
        What the column ``folder`` is relative to.
    """
    if "control._target_" not in table:
        return table
    ok = table[table["status"] == "ok"]
    settings = science(ok)
    kinds = with_choices(ok)["control"].fillna("none")
    names = [name for name in settings if not name.startswith(("_", "control"))]
    made: dict[Any, dict[str, float | None]] = {}
    for _, group in settings.groupby(names, dropna=False, sort=False):
        kind = kinds.loc[group.index]
        edits, controls = (group.index[(kind == name).to_numpy()] for name in ("none", "random"))
        if len(edits) and len(controls):
            draws = [_deltas(home / ok.loc[i, "folder"]) for i in controls]
            made |= {i: _compare(_deltas(home / ok.loc[i, "folder"]), draws) for i in edits}
    if not made:
        return table
    return table.join(pd.DataFrame.from_dict(made, orient="index").astype("float64"))


def _deltas(folder: Path) -> dict[str, list[float]]:
    delta = load_run(folder).result["delta"] or {}
    return {name: delta[name]["per_seed"] for name in METRICS if name in delta and None not in delta[name]["per_seed"]}


def _compare(edit: dict[str, list[float]], draws: list[dict[str, list[float]]]) -> dict[str, float | None]:
    row: dict[str, float | None] = {}
    for name, values in edit.items():
        theirs = [draw[name] for draw in draws if len(draw.get(name, ())) == len(values)]
        if not theirs:
            continue
        beyond = np.subtract(values, np.mean(theirs, axis=0))
        low, high = interval(beyond.tolist()) or (None, None)
        row |= {f"{AGAINST}.{name}.{end}": value for end, value in zip(
            ("mean", "low", "high"), (float(beyond.mean()), low, high), strict=True)}  # fmt: skip
    return row


def print_controls(table: pd.DataFrame, metric: str, console: Console) -> None:
    """Print each edit's delta, its control's, and the difference with its interval over seeds, the largest first."""
    metric = metric if f"{AGAINST}.{metric}.mean" in table else "acc"
    column = f"{AGAINST}.{metric}.mean"
    if column not in table:
        return
    rows = table[table[column].notna()].sort_values(column, ascending=False, kind="stable")
    named = labels(science(rows)[settings_of(science(rows))])
    shown = Table(title=f"delta {metric} against as many random patches", title_justify="left")
    shown.caption, shown.caption_justify = "difference: paired over seeds, 95 % interval over seeds", "left"
    for name in ("settings", "delta", "random", "difference", "95 %"):
        shown.add_column(name, justify="left" if name == "settings" else "right")
    for i, row in rows.head(_SHOWN).iterrows():
        delta, beyond = row[f"delta.{metric}.mean"], row[column]
        ends = [row[f"{AGAINST}.{metric}.{end}"] for end in ("low", "high")]
        span = "" if pd.isna(ends[0]) else f"{ends[0]:+.4f} to {ends[1]:+.4f}"
        shown.add_row(*map(escape, (named[i], f"{delta:+.4f}", f"{delta - beyond:+.4f}", f"{beyond:+.4f}", span)))
    console.print(shown)
