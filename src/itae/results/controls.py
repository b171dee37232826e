"""Each edit against its matched random control: what is left of a delta that random patches would not have given.

A run with ``control=random`` is the control of the run with ``control=none`` and otherwise the same settings; several
draws (``control.seed``) are averaged. Both have the same images and seeds, so one image under one seed is held against
itself: the interval is over images and seeds (or what else a task repeats), and over the draws where there are
several. With one draw it is of that draw. Runs that have kept nothing of each image have their deltas for each seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

from itae.base.console import console
from itae.base.errors import UserError
from itae.measure.intervals import by_group, mean_interval
from itae.results.image_values import ImageValues, read_image_values
from itae.results.rows import labels, science, settings_of, with_choices, with_values
from itae.results.run import Run, read_run
from itae.results.shown import Shown, shown_of

AGAINST = "against_random"
OVER = f"{AGAINST}.over"
SEEDS = "seeds"
_SHOWN = 10


def against_random(table: pd.DataFrame, home: Path) -> pd.DataFrame:
    """Return the table with ``against_random.<metric>.mean``, ``.low`` and ``.high`` for runs that have a control.

    The interval is of 95 %, over what ``against_random.over`` names: images, seeds (of which KNN knows none) and draws,
    or, where a run has kept nothing of each image, seeds alone, as AMI has it.

    Parameters
    ----------
    table
        As `itae.results.table.read_table` returns it.
    home
        What the column ``folder`` is relative to.
    """
    if "control._target_" not in table:
        return table
    ok = table[table["status"] == "ok"]
    settings = science(ok)
    kinds = with_choices(ok)["control"].fillna("none")
    names = [name for name in settings if not name.startswith(("_", "control"))]
    made: dict[Any, dict[str, Any]] = {}
    for _, group in settings.groupby(names, dropna=False, sort=False):
        kind = kinds.loc[group.index]
        edits, controls = (group.index[(kind == name).to_numpy()] for name in ("none", "random"))
        if len(edits) and len(controls):
            draws = [read_run(home / ok.loc[i, "folder"]) for i in controls]
            made |= {i: _compare(read_run(home / ok.loc[i, "folder"]), draws) for i in edits}
    if not made:
        return table
    found = pd.DataFrame.from_dict(made, orient="index")
    return table.join(found.astype({name: "string" if name == OVER else "float64" for name in found}))


def _compare(edit: Run, draws: Sequence[Run]) -> dict[str, Any]:
    """Return mean and interval of each metric's difference, and what the intervals are over."""
    beyond = _by_seed(edit, draws)
    if not beyond:
        return {}
    unit = shown_of(edit.result).unit or SEEDS
    try:
        values, over = _by_image([read_image_values(run) for run in (edit, *draws)], unit)
    except UserError:
        values, over = beyond, unit
    row: dict[str, Any] = {OVER: over}
    for name, delta_S in beyond.items():
        low, high = (mean_interval(values[name]) if name in values else None) or (None, None)
        mean = float(values.get(name, delta_S).mean())
        row |= {f"{AGAINST}.{name}.mean": mean, f"{AGAINST}.{name}.low": low, f"{AGAINST}.{name}.high": high}
    return row


def _by_seed(edit: Run, draws: Sequence[Run]) -> dict[str, np.ndarray]:
    """Return the differences of the deltas, seed by seed."""
    own, *others = ({name: change["per_seed"] for name, change in (run.result["delta"] or {}).items()
                     if None not in change.get("per_seed", [None])} for run in (edit, *draws))  # fmt: skip
    found = {}
    for name, values in own.items():
        theirs = [other[name] for other in others if len(other.get(name, ())) == len(values)]
        if theirs:
            found[name] = np.subtract(values, np.mean(theirs, axis=0))
    return found


def _by_image(sides: Sequence[ImageValues], unit: str) -> tuple[dict[str, np.ndarray], str | None]:
    """Return the differences [draws, repeats, images] of each metric, of the edit and its draws, if they compare."""
    edit, *draws = sides
    own, *others = (one.values for one in sides)
    both = [name for name in own if all(name in other for other in others)]
    shapes = [{name: one[name].shape for name in both} for one in (own, *others)]
    if any(draw.images != edit.images for draw in draws) or any(one != shapes[0] for one in shapes):
        return {}, None  # the pictures have changed between the runs
    values = {name: by_group(own[name] - np.stack([other[name] for other in others]), edit.groups) for name in both}
    repeats = max((len(each) for each in own.values()), default=1)
    several = [name for name, count in ((unit, repeats), ("draws", len(draws))) if count > 1]
    return values, " and ".join(", ".join(["images", *several]).rsplit(", ", 1))


def print_controls(table: pd.DataFrame, metric: str, shown: Shown, home: Path) -> None:
    """Print each edit's delta, its control's, and the difference with its interval, the best first.

    Runs of each task have a table of their own; where they don't have the metric, by the headline of that task.
    """
    means = [name for name in table if name.startswith(f"{AGAINST}.") and name.endswith(".mean")]
    for rows, told in by_task(table[table[means].notna().any(axis=1)], metric, home):
        _print_controls(rows, told, shown)


def by_task(table: pd.DataFrame, metric: str, home: Path) -> Iterator[tuple[pd.DataFrame, str]]:
    """Yield the rows of each task, and the metric that they are told by: `metric` if they have it, else their own."""
    for _, rows in table.groupby("kind", sort=False, dropna=False):
        yield rows, metric if with_values(rows, metric) else _own_headline(home / rows["folder"].iloc[0])


def _own_headline(folder: Path) -> str:
    return shown_of(read_run(folder).result).headline


def _print_controls(table: pd.DataFrame, metric: str, shown: Shown) -> None:
    column = f"{AGAINST}.{metric}.mean"
    if column not in table:
        return
    lower = shown.metric(metric).better == "lower"
    rows = table[table[column].notna()].sort_values(column, ascending=lower, kind="stable")
    named = labels(science(rows)[settings_of(science(rows))])
    found = Table(title=f"delta {metric} against as many random patches", title_justify="left")
    found.caption, found.caption_justify = _caption(rows.head(_SHOWN)), "left"
    for name in ("settings", "delta", "random", "difference", "95 %", "over"):
        found.add_column(name, justify="left" if name in ("settings", "over") else "right")
    for i, row in rows.head(_SHOWN).iterrows():
        delta, beyond = row[f"delta.{metric}.mean"], row[column]
        low, high = (row[f"{AGAINST}.{metric}.{end}"] for end in ("low", "high"))
        span, over = ("", "") if pd.isna(low) else (f"{low:+.4f} to {high:+.4f}", row[OVER])
        cells = (named[i], f"{delta:+.4f}", f"{delta - beyond:+.4f}", f"{beyond:+.4f}", span, over)
        found.add_row(*cells)
    console(200).print(found)


def _caption(rows: pd.DataFrame) -> str:
    told = "difference: the same images under the same seeds, 95 % interval over what the last column names"
    if (~rows[OVER].dropna().str.startswith("images")).any():
        told += "; one not over images says nothing of other images: those runs kept nothing of each, run them again"
    if rows[OVER].isna().any():
        told += "; none where the images have changed between the two runs"
    return told
