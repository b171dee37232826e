"""What rows of the table can be held against each other: their metrics, and the settings that tell them apart."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from itae.collect_table import FIRST, METRIC
from itae.detect import RULE_NUMBERS

_NUMBER = {"absolute": "threshold", "quantile": "quantile", "mad": "k", "ratio": "ratio"}
NUMBERS = [f"detector.{name}" for name in ("threshold", "quantile", "k", "ratio", "rate")]
"""What may be called the threshold of a run; which of them is, its rule says."""

_RULE = "detector.rule"
_MAIN = ("model_name", "dataset.name", "layers", "vector", "rule", *NUMBERS, "attenuator._target_", "strength")


def with_values(table: pd.DataFrame, metric: str) -> str | None:
    """Return the column of the edited side (or, ``delta.x``, of the delta) that holds `metric`, if a row has it."""
    for name in (f"edited.{metric}.mean", f"edited.{metric}", f"{metric}.mean", metric):
        if name in table and METRIC.match(name) and table[name].notna().any():
            return name
    return None


def metric_names(table: pd.DataFrame) -> list[str]:
    """Return the metrics that some row has, as `with_values` takes them."""
    found = [name for name in table if name.startswith(("edited.", "delta.")) and with_values(table, name)]
    plain = [re.sub(r"^edited\.|\.mean$", "", name) for name in found if not name.endswith((".std", ".n", ".k"))]
    extra = ["bimodality"] if with_values(table, "bimodality") else []
    return [re.sub(r"\.mean$", "", name) for name in plain if "lowest_inertia" not in name] + extra


def science(table: pd.DataFrame) -> pd.DataFrame:
    """Return the settings that results depend on, those numbers left empty that the row's rule does not read."""
    apart = ("runtime", "paths", "tracker", "task")
    names = [n for n in table if n not in FIRST and not METRIC.match(n) and n.partition(".")[0] not in apart]
    kept = table[names].copy()
    if "detector.rule" in kept:
        for rule, own in RULE_NUMBERS.items():
            others = {number for numbers in RULE_NUMBERS.values() for number in numbers} - set(own)
            unread = [f"detector.{number}" for number in others if f"detector.{number}" in kept]
            kept.loc[kept["detector.rule"] == rule, unread] = pd.NA
    return kept


def change_of(table: pd.DataFrame, metric: str) -> str:
    """Return the metric whose delta is drawn: `metric`, or where it has none, one that compares across spaces."""
    return metric if with_values(table, f"delta.{metric}") else "silhouette_common"


def measured(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return the rows that have the metric, settings that are equal once, with what figures draw beside them.

    That is ``_value``, ``_std``, ``_base``, ``_base_std``, ``_delta``, ``_delta_std``, ``_rate`` and ``_number``
    under ``_rule``: the number that the row's rule reads.
    """
    rows = science(table)
    change = change_of(table, metric)
    column = with_values(table, metric) or ""
    base = column.replace("edited.", "baseline.", 1)
    delta = with_values(table, f"delta.{change}") or ""
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
    settings = [name for name in rows if not name.startswith("_")]
    return rows[(table["status"] == "ok") & rows["_value"].notna()].drop_duplicates(settings)


def labels(rows: pd.DataFrame, drop: Sequence[str] = ()) -> pd.Series:
    """Return a few words for each row that tell its settings from the others', less those in `drop`.

    Of settings that change together, the one that says most is named.
    """
    names = [n for n in rows if not n.startswith("_") and n not in drop and rows[n].nunique(dropna=False) > 1]
    whole = len(rows[names].drop_duplicates()) if names else 1
    least_first = sorted(names, key=lambda n: (n in NUMBERS, any(n.endswith(m) for m in _MAIN), "_target_" in n))
    for name in least_first:
        others = [other for other in names if other != name]
        enough = bool(others) and len(rows[others].drop_duplicates()) == whole
        if enough and rows[others].notna().any(axis=1).all():  # no row may be left without a word
            names = others
    numbers = [name for name in names if name in NUMBERS]
    words = []
    for _, row in rows.iterrows():
        fitted = numbers and _RULE not in names and row[numbers].isna().all() and pd.notna(row.get(_RULE))
        words.append(", ".join(_words(row[[*names, _RULE] if fitted else names])))
    return pd.Series(words, rows.index, dtype=object)


def _words(row: pd.Series) -> Iterator[str]:
    for name, value in row.items():
        if pd.isna(value):
            continue
        group, _, short = str(name).rpartition(".")
        text = f"{value:g}" if isinstance(value, float) else str(value)
        if short == "_target_":
            yield text.rpartition(".")[2]
        else:
            yield text if short == "model_name" else f"{group + ' ' if short == 'name' else ''}{short}={text}"


def in_order(layers: pd.Series) -> dict[str, int]:
    """Return the place of each set of blocks along x: none, last, last2, ..., lists, all."""
    return {name: i for i, name in enumerate(sorted(layers.unique(), key=_set_key))}


def _set_key(name: str) -> tuple[int, list[int]]:
    numbers = [int(number) for number in re.findall(r"-?\d+", name)]
    kind = 0 if name == "none" else 1 if name.startswith("last") else 3 if name == "all" else 2
    return kind, numbers


def title_of(metric: str) -> str:
    """Return a metric as it is written on an axis."""
    return metric.upper() if len(metric) == 3 else metric.replace("_", " ")
