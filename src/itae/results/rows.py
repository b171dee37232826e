"""What rows of the table can be held against each other: their metrics, and the settings that tell them apart."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from itae.base.errors import UserError, did_you_mean
from itae.base.names import choice_of
from itae.edits.detect import RULE_NUMBERS
from itae.edits.edit import ATTENTION, READS
from itae.edits.registers import RULES as EDIT_RULES
from itae.results.before import TASK
from itae.results.shown import Shown
from itae.results.table import FIRST, METRIC

_NUMBER = {"absolute": "threshold", "quantile": "quantile", "mad": "k", "ratio": "ratio", "std": "stds"}
NUMBERS = [f"detector.{name}" for name in (*_NUMBER.values(), "rate")]
"""What may be called the threshold of a run; which of them is, its rule says."""

NO_CONTROL = "itae.controls.NoControl"
_SHUFFLE = "itae.controls.Shuffle"
_RULE = "detector.rule"
_TASK = "task._target_"
KINDS = ("detector", "attenuator", "control", "edit", "clusterer", "voter", "corruption", "repair",
         "feedback", "user")  # fmt: skip
"""Groups of which a row is told by the name of its choice, as it stands on the command line."""
_MAIN = ("model_name", "dataset.name", "layers", "detector", "rule", *NUMBERS, "attenuator", "strength", "edit",
         "corruption")  # fmt: skip
_APART = ("kind", "backbone.", "dataset.", "clusterer", "corruption", "user", "task.")
"""Settings across which no metric compares; the first three have panels of their own."""
SEED = "seed"
"""What rows are repeated over, and no setting to choose."""


def with_values(table: pd.DataFrame, metric: str) -> str | None:
    """Return the column of the edited side (or, ``delta.x``, of the delta) that holds `metric`, if a row has it."""
    for name in (f"edited.{metric}.mean", f"edited.{metric}", f"{metric}.mean", metric):
        if name in table and METRIC.match(name) and table[name].notna().any():
            return name
    return None


def headline_of(table: pd.DataFrame, shown: Shown) -> str:
    """Return the metric that is drawn where none is asked for: the headline, or the first that some row has."""
    return next((name for name in (shown.headline, *shown.metrics) if with_values(table, name)), shown.headline)


def metric_names(table: pd.DataFrame, shown: Shown) -> list[str]:
    """Return the metrics that some row has, as `with_values` takes them: those that results tell of, and the edit's."""
    means = [re.fullmatch(r"edited\.([^.]+)\.mean", name) for name in table]
    names = dict.fromkeys([*shown.metrics, *(found[1] for found in means if found)])
    known = [*names, *(f"delta.{name}" for name in names), "bimodality"]
    return [name for name in known if with_values(table, name)]


def science(table: pd.DataFrame) -> pd.DataFrame:
    """Return the settings that results depend on, those numbers left empty that the row's rule does not read."""
    apart = ("runtime", "paths", "tracker", "task")
    names = [n for n in table if n not in FIRST and not METRIC.match(n) and n.partition(".")[0] not in apart]
    # Another task, or another setting of one, is another measure. Old runs have no value, and no value to differ by.
    measures = [n for n in table if (n == "kind" or n.startswith("task.")) and table[n].nunique() > 1]
    told = _TASK not in measures or table.groupby("kind")[_TASK].nunique().max() <= 1  # by its kind
    kept = table[[*names, *(n for n in measures if n != _TASK or not told)]].copy()
    if _TASK in kept:  # runs from before there were tasks are of clustering
        kept[_TASK] = kept[_TASK].fillna(TASK)
    if "control._target_" in kept:  # runs from before there were controls had none
        kept["control._target_"] = kept["control._target_"].fillna(NO_CONTROL)
    if "dataset.decode" in kept:  # runs from before there was a choice decoded all pixels
        kept["dataset.decode"] = kept["dataset.decode"].fillna("full")
    if "edit._target_" in kept:
        kept["edit._target_"] = kept["edit._target_"].fillna(ATTENTION)
        for target in kept["edit._target_"].unique():
            other = kept["edit._target_"] == target
            if "layers" in kept:
                other &= kept["layers"].astype("string").fillna("") != "none"  # no edit, whichever it is called
            groups = {"detector", "attenuator", "layers"} - set(READS.get(target, ()))
            _leave(kept, other, _of(groups, kept))
    if "edit.rule" in kept:
        for rule, number in EDIT_RULES.items():
            unread = [f"edit.{n}" for n in EDIT_RULES.values() if n and n != number and f"edit.{n}" in kept]
            _leave(kept, kept["edit.rule"] == rule, unread)
    if "detector.rule" in kept:
        targets = table.get("detector._target_", pd.Series("itae.", table.index)).astype("string").fillna("itae.")
        ours = targets.str.startswith("itae.")  # somebody's own may read any of the numbers
        for rule, own in RULE_NUMBERS.items():
            others = {number for numbers in RULE_NUMBERS.values() for number in numbers} - set(own)
            unread = [f"detector.{number}" for number in others if f"detector.{number}" in kept]
            drawn = [name for name in unread if "calibration" in name]
            here = ours & (kept["detector.rule"].astype("string") == rule).fillna(False)
            _leave(kept, here, [name for name in unread if name not in drawn])
            _leave(kept, here & ~_is(kept, "control", _SHUFFLE), drawn)  # its values are of these images
    _leave_empty(kept)
    classes = [f"{group}._target_" for group in KINDS]
    return with_choices(kept).drop(columns=["detector.vector", *classes], errors="ignore")


def _leave_empty(rows: pd.DataFrame) -> None:
    """Leave empty what a control puts something else in the place of, and how far views are moved where none is."""
    means = _is(rows, "control", "itae.controls.RegisterMean")
    if "layers" in rows:
        means &= rows["layers"].astype("string").fillna("") != "none"  # then it is no edit, either
    _leave(rows, means, _of({"detector", "attenuator", "layers", "edit"}, rows))
    if "attenuator._target_" in rows:  # its strength and its queries are those of the control
        _leave(rows, _is(rows, "control", "itae.controls.MeanValue", _SHUFFLE), ["attenuator._target_"])
    if {"edit.views", "edit.flip", "edit.shift"} <= set(rows):
        flipped = rows["edit.flip"].astype("boolean").fillna(False).astype(int)
        _leave(rows, (rows["edit.views"] <= 1 + flipped).fillna(False), ["edit.shift"])


def _leave(rows: pd.DataFrame, which: pd.Series, names: list[str]) -> None:
    """Leave some columns of some rows empty; pandas has a bug where there is no column."""
    if names:
        rows.loc[which, names] = pd.NA


def _is(rows: pd.DataFrame, group: str, *targets: str) -> pd.Series:
    name = f"{group}._target_"
    return rows[name].isin(targets) if name in rows else pd.Series(False, rows.index)


def _of(groups: set[str], rows: pd.DataFrame) -> list[str]:
    return [name for name in rows if name.partition(".")[0] in groups]


def with_choices(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with a column for each of `KINDS`, the name of the choice, before that of its class."""
    table = table.copy()
    for group in KINDS:
        if (target := f"{group}._target_") in table:
            vectors = table.get("detector.vector", pd.Series(None, table.index, dtype=object))
            names = pd.Series(list(map(_choice, table[target], vectors)), table.index, dtype="string")
            table.insert(list(table).index(target), group, names)
    return table


def _choice(target: Any, vector: Any) -> str | None:
    """Return what is written on the command line for a class: ``residual_norm``, ``value_norm``, ``mean_value``."""
    if pd.isna(target):
        return None
    if str(target) == "itae.detect.VectorNorm":
        return f"{vector}_norm"
    return choice_of(str(target))


def apart(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the rows of each task, backbone and data set, which nothing compares across, with a few words for them."""
    names = [name for name in rows if name.startswith(_APART[:3]) and rows[name].nunique(dropna=False) > 1]
    if not names:
        yield "", rows
        return
    named = labels(rows[names])
    for name in dict.fromkeys(named):
        yield name, rows[named == name]


def settings_of(rows: pd.DataFrame) -> list[str]:
    """Return the columns of what may be chosen."""
    return [name for name in rows if not name.startswith("_") and name != SEED]


def change_of(table: pd.DataFrame, metric: str, shown: Shown) -> str:
    """Return the metric whose delta is drawn: `metric`, or where it has none, one that compares across spaces."""
    known = (name for name in (metric, *shown.common) if with_values(table, f"delta.{name}"))
    return next(known, metric)


def measured(table: pd.DataFrame, metric: str, change: str | None = None) -> pd.DataFrame:
    """Return the rows that have the metric, settings that are equal once, with what figures draw beside them.

    Rows that differ in their seed alone are one, of their mean; its std is that within seeds and among them. The delta
    is that of `change`, by default of the same metric.

    That is ``_value``, ``_std``, ``_base``, ``_base_std``, ``_delta``, ``_delta_std``, ``_rate`` and ``_number``
    under ``_rule``: the number that the row's rule reads.
    """
    rows = science(table)
    column = with_values(table, metric) or ""
    base = column.replace("edited.", "baseline.", 1)
    delta = with_values(table, f"delta.{change or metric}") or ""
    drawn = {"_value": column, "_base": base, "_delta": delta}
    for name, source in drawn.items():
        rows[name] = table.get(source, np.nan)
        spread = re.sub(r"mean$", "std", source)
        rows[f"{name}_std"] = table[spread] if spread != source and spread in table else np.nan
    rows["_rate"] = table.get("artifact_rate", np.nan)
    rules = rows["detector.rule"].map(_NUMBER) if "detector.rule" in rows else pd.Series(pd.NA, rows.index)
    rows["_rule"] = rules.astype(object).where(rules.notna(), "rate")
    rows["_number"] = [row.get(f"detector.{row['_rule']}") for _, row in rows.iterrows()]
    rows["_number"] = pd.to_numeric(rows["_number"], errors="coerce")
    rows = rows[(table["status"] == "ok") & rows["_value"].notna()]
    settings = settings_of(rows)
    if SEED not in rows or rows[SEED].nunique() < 2:
        return rows.drop_duplicates(settings)
    return _over_seeds(rows.drop_duplicates([*settings, SEED]).drop(columns=SEED), settings)


def _over_seeds(rows: pd.DataFrame, settings: list[str]) -> pd.DataFrame:
    groups = rows.groupby(settings, dropna=False, sort=False)
    first = rows.loc[groups.head(1).index].copy()
    place = groups.ngroup()
    for name in ("_value", "_base", "_delta"):
        values = rows[name].groupby(place, sort=False)
        within = rows[f"{name}_std"].pow(2).groupby(place, sort=False).mean()
        first[f"{name}_std"] = np.sqrt(within.add(values.var(ddof=0), fill_value=0)).to_numpy()
        first[name] = values.mean().to_numpy()
    first["_rate"] = rows["_rate"].groupby(place, sort=False).mean().to_numpy()
    return first


def labels(rows: pd.DataFrame, drop: Sequence[str] = ()) -> pd.Series:
    """Return a few words for each row that tell its settings from the others', less those in `drop`.

    Of settings that change together, the one that says most is named.
    """
    names = [n for n in rows if not n.startswith("_") and n not in drop and rows[n].nunique(dropna=False) > 1]
    whole = len(rows[names].drop_duplicates()) if names else 1
    main = [n for n in names if n == "kind" or (not n.startswith("edit.") and any(n.endswith(m) for m in _MAIN))]
    # What some rows lack says less than what all have.
    least_first = sorted(names, key=lambda n: (n in NUMBERS, n in main, rows[n].notna().all()))
    for name in least_first:
        others = [other for other in names if other != name]
        enough = bool(others) and len(rows[others].drop_duplicates()) == whole
        # No row may be left without a word, and none that has one of its edit with that of its clusterer alone.
        enough = enough and rows[others].notna().any(axis=1).all()
        if enough and (_of_edit(rows, others) >= _of_edit(rows, names)).all():
            names = others
    numbers = [name for name in names if name in NUMBERS]
    words = []
    for _, row in rows.iterrows():
        fitted = numbers and _RULE not in names and row[numbers].isna().all() and pd.notna(row.get(_RULE))
        words.append(", ".join(_words(row[[*names, _RULE] if fitted else names])))
    return pd.Series(words, rows.index, dtype=object)


def _of_edit(rows: pd.DataFrame, names: Sequence[str]) -> pd.Series:
    """Return which rows these settings tell something of that is to be compared."""
    return rows[[name for name in names if not name.startswith(_APART)]].notna().any(axis=1)


def _words(row: pd.Series) -> Iterator[str]:
    for name, value in row.items():
        if pd.isna(value):
            continue
        group, _, short = str(name).removesuffix("._target_").rpartition(".")
        text = f"{value:g}" if isinstance(value, float) else str(value)
        if name in KINDS:
            yield text if name != "control" else f"control={text}"
        else:
            yield text if short == "model_name" else f"{group + ' ' if short == 'name' else ''}{short}={text}"


def in_order(layers: pd.Series) -> dict[str, int]:
    """Return the place of each set of blocks along x: none, last, last2, ..., lists, all."""
    return {name: i for i, name in enumerate(sorted(layers.unique(), key=_set_key))}


def _set_key(name: str) -> tuple[int, list[int]]:
    numbers = [int(number) for number in re.findall(r"-?\d+", name)]
    kind = 0 if name == "none" else 1 if name.startswith("last") else 3 if name == "all" else 2
    return kind, numbers


def choose(table: pd.DataFrame, best: str, shown: Shown) -> list[Any]:
    """Return the best row of each task, backbone, data set and clusterer; different ones can't be compared.

    Their ``selection`` in the table becomes what it is by that: ``oracle`` if `best` has seen labels, else ``proxy`` if
    it was ``fixed`` and there was a choice.

    Rows that differ in their seed alone stand and fall with their mean; the first of them is returned. A control is
    never the best: it is there to be held against.

    Raises
    ------
    UserError
        If neither higher nor lower values of `best` are better.
    """
    column, metric = with_values(table, best), shown.metric(best)
    if column is None:
        return []
    rows = table[table[column].notna() & ~is_control(table)]
    chosen = science(rows)
    values = (metric.sign * rows[column]).astype(float)
    settings = [chosen[name] for name in settings_of(chosen)]
    values = values.groupby(settings, dropna=False).transform("mean")  # over seeds
    winners = []
    for group in comparable(chosen):
        winner = values.loc[group].idxmax()
        winners.append(winner)
        if metric.labels:
            table.loc[winner, "selection"] = "oracle"
        elif table.loc[winner, "selection"] == "fixed" and tried(chosen.loc[group]) > 1:
            table.loc[winner, "selection"] = "proxy"  # one of several was chosen, if without labels
    return winners


def ranked(table: pd.DataFrame, best: str, shown: Shown) -> pd.DataFrame:
    """Return the rows that have a metric, the best first."""
    column = with_values(table, best)
    if column is None:
        return table.iloc[:0]
    return table[table[column].notna()].sort_values(column, ascending=shown.metric(best).sign < 0, kind="stable")


def is_control(table: pd.DataFrame) -> pd.Series:
    """Return which rows are controls."""
    if "control._target_" not in table:
        return pd.Series(False, table.index)
    return table["control._target_"].fillna(NO_CONTROL) != NO_CONTROL


def comparable(rows: pd.DataFrame) -> list[pd.Index]:
    """Return the rows of `science` in groups of one task, backbone, data set and clusterer, which can be compared."""
    names = [name for name in rows if name.startswith(_APART)]
    return list(rows.groupby(names, dropna=False, sort=False).groups.values()) if names else [rows.index]


def tried(rows: pd.DataFrame) -> int:
    """Return how many different settings there are in rows of `science`."""
    return len(rows[settings_of(rows)].drop_duplicates())


def check_metric(word: str, name: str | None, table: pd.DataFrame, shown: Shown) -> None:
    """Raise a `UserError` if no row has the metric that was asked for."""
    known = metric_names(table, shown)
    if word == "--metric":
        known = [one for one in known if not one.startswith("delta.") and one != "bimodality"]
    if name is None or name in known:
        return
    if not known:
        raise UserError(f"{word}={name}: no run here has ended well, so there is no metric yet.")
    raise UserError(f"{word}={name} is not a metric of these runs; they have {', '.join(known)}."
                    f"{did_you_mean(name, known)}")  # fmt: skip
