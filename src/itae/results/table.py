"""One tidy table of many runs: a row a job, its settings under dotted names, its metrics beside them.

The record of a run is its ``result.json``; nothing else is asked, no tracker and no log. A damaged one is named
and left out, a failed or unfinished run is a row with its status and its error.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from itae.base.checks import is_number
from itae.base.errors import UserError
from itae.base.names import public_target
from itae.results.run import ALONE, mean_artifact_rate
from itae.results.shown import Shown, kind_of, merged, shown_of

FIRST = ("folder", "status", "error", "selection", "kind")
_GROUPS = (
    *("backbone", "dataset", "detector", "attenuator", "control", "layers", "edit"),
    *("task", "clusterer", "voter", "corruption", "repair", "feedback", "user", "seed", "runtime", "paths", "tracker"),
)
_FLOATS = {"detector.threshold", "detector.quantile", "detector.k", "detector.ratio", "detector.rate"}
_FLOATS |= {"attenuator.strength", "edit.threshold", "edit.k"}
METRIC = re.compile(
    r"(baseline|edited|delta|against_random|timing)\.|(artifact_rate|bimodality|passes|images|classes)$"
)
_EXACT = 2**53  # beyond, a whole number is text: no float holds it, and a table may turn one into the other

OF_ITS_OWN = "a run of itae portable, which has a table and a page of its own"
"""Why a run that is whole stands in no table with others."""


def read_table(files: Iterable[Path], home: Path) -> tuple[pd.DataFrame, dict[Path, str], Shown]:
    """Return one row for each file, what is wrong with those that could not be read, and what the metrics are.

    Parameters
    ----------
    files
        The ``result.json`` files.
    home
        Where the table will lie; the column ``folder`` is relative to it where it can be.

    Returns
    -------
    table, damaged, shown
        Columns in one order whatever the runs' order: `FIRST`, the settings by group and name, then the metrics in the
        order of `shown`, which is of all runs. Numbers are Int64 or float64, lists are text (``[8,9,-1]``), what a run
        does not have is missing.
    """
    rows, damaged, told = [], {}, []
    for file in files:
        try:
            result = json.loads(file.read_bytes())
            if result.get("kind") in ALONE:
                damaged[file] = OF_ITS_OWN
                continue
            rows.append({"folder": _folder(file.parent, home.resolve())} | _row(result))
            told += [shown_of(result)] if result["status"] == "ok" else []
        except (OSError, ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError) as error:
            damaged[file] = f"{type(error).__name__}: {_text(error)}"
    names = {name for row in rows for name in row} | set(FIRST)
    shown = merged(told)
    columns = sorted(names, key=lambda name: _place(name, list(shown.metrics)))
    table = pd.DataFrame({name: _column(name, [row.get(name) for row in rows]) for name in columns})
    return table, damaged, shown


def _folder(folder: Path, home: Path) -> str:
    return _text(folder.relative_to(home) if folder.is_relative_to(home) else folder)


def _row(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result as one flat row; what is not shaped as a result raises."""
    settings = dict(result.get("settings") or {})
    for group in set(_GROUPS) - {"layers", "seed"}:
        if not isinstance(settings.get(group) or {}, Mapping):
            raise TypeError(f"settings.{group} is no group")
    fixed = {"status": _text(result["status"]), "error": result.get("error")}
    fixed["selection"] = result.get("selection") or settings.pop("selection", None)
    fixed["kind"] = kind_of(result) if result["status"] == "ok" else None
    settings.pop("selection", None)
    row = {name: value for name, value in _flat(settings) if name not in FIRST and not METRIC.match(name)}
    row |= {name: None if value is None else _text(value) for name, value in fixed.items()}
    return row | (_metrics(result) if result["status"] == "ok" else {})


def _flat(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            yield f"{prefix}{key}", _text(json.dumps(value, separators=(",", ":")))
        else:
            text = isinstance(value, str)
            yield f"{prefix}{key}", _text(public_target(value) if key == "_target_" else value) if text else value


def _metrics(result: Mapping[str, Any]) -> dict[str, float | None]:
    row: dict[str, Any] = {}
    for side in ("baseline", "edited"):
        row |= _numbers(side, result[side])
    row |= _in_common(row, shown_of(result).common) | _numbers("delta", result["delta"] or {})
    row["artifact_rate"] = mean_artifact_rate(result)
    row["bimodality"] = _number(result.get("bimodality"))
    row |= {"passes": _number(result["passes"])} if "passes" in result else {}  # results of before don't say it
    row |= {"images": _number(result["images"]["n"]), "classes": _number(result["images"]["classes"])}
    return row | _numbers("timing", result["timing"])


def _in_common(row: Mapping[str, Any], metrics: Iterable[str]) -> dict[str, float]:
    """Return the deltas of metrics that both sides have in one space, so that their difference says something."""
    found = {}
    for name in (f"{metric}{end}" for metric in metrics for end in ("", ".mean")):
        before, after = (row.get(f"{side}.{name}") for side in ("baseline", "edited"))
        if before is not None and after is not None:
            found[f"delta.{name}"] = after - before
    return found


def _numbers(prefix: str, values: Mapping[str, Any]) -> dict[str, float | None]:
    """Return mean and spread of what has one, and plain numbers; lists (per seed) and words are left out."""
    found: dict[str, float | None] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            kept = ("mean", "std") if "mean" in value else [key for key in value if _is_number(value[key])]
            if value.get("interval"):
                low, high = value["interval"]
                found |= {f"{prefix}.{name}.low": _number(low), f"{prefix}.{name}.high": _number(high)}
            found |= {f"{prefix}.{name}.{key}": _number(value.get(key)) for key in kept}
        elif _is_number(value):
            found[f"{prefix}.{name}"] = _number(value)
    return found


def _is_number(value: Any) -> bool:
    return value is None or is_number(value)


def _number(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _text(value: Any) -> str:
    return str(value).encode("utf-8", "replace").decode()  # what is no text elsewhere can't be written either


def _place(name: str, metrics: Sequence[str]) -> tuple[int, int, int, str]:
    """Return what a column is sorted by: kind, group, metric, name."""
    if name in FIRST:
        return 0, FIRST.index(name), 0, ""
    head, _, rest = name.partition(".")
    if not METRIC.match(name):
        return 1, _GROUPS.index(head) if head in _GROUPS else len(_GROUPS), 0, name
    parts = (
        "baseline",
        "edited",
        "delta",
        "against_random",
        "artifact_rate",
        "bimodality",
        "passes",
        "images",
        "classes",
        "timing",
    )
    metric = rest.split(".")[0]
    return 2, parts.index(head), metrics.index(metric) if metric in metrics else len(metrics), name


def _column(name: str, values: list[Any]) -> pd.Series:
    """Return values as one column of one type; a column that mixes numbers and words is text."""
    kinds = {type(value) for value in values if value is not None}
    whole = [value for value in values if isinstance(value, int)]
    if METRIC.match(name) or (name in _FLOATS and kinds <= {int, float}):
        dtype = "float64"
    elif kinds == {bool}:
        dtype = "boolean"
    elif not kinds or not kinds <= {int, float} or any(abs(value) > _EXACT for value in whole):
        dtype = "string"
        values = [value if value is None or isinstance(value, str) else str(value) for value in values]
    else:
        dtype = "Int64" if kinds == {int} else "float64"
    return pd.Series(values, dtype=dtype)


def write_table(table: pd.DataFrame, folder: Path) -> list[Path]:
    """Write ``results.parquet`` and ``results.csv``, each whole or not at all; a `UserError` says why not."""
    writers = {"parquet": table.to_parquet, "csv": partial(table.to_csv, mode="wb", encoding="utf-8")}
    made = []
    for kind, write in writers.items():
        path, unfinished = folder / f"results.{kind}", folder / f".results.{kind}.tmp"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with unfinished.open("wb") as file:  # by its name pyarrow takes none that isn't UTF-8
                write(file, index=False)
            unfinished.replace(path)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise UserError(f"{path} can't be written ({reason}); give --out a folder you may write to.") from error
        made.append(path)
    return made
