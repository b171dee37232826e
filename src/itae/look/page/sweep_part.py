"""What a page says of many runs: a table of all of them, what to plot it by, and the best by a named criterion."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from itables import options, to_html_datatable
from itables.javascript import generate_init_offline_itables_html

from itae.look.page.pictures import address
from itae.look.page.run_part import commands
from itae.look.sweep_figures import draw_sweep
from itae.measure.scores import told_interval
from itae.results.agreements import agreements, as_rows
from itae.results.report import with_std
from itae.results.rows import (
    SEED,
    apart,
    choose,
    comparable,
    headline_of,
    labels,
    ranked,
    science,
    tried,
    with_values,
)
from itae.results.shown import Shown
from itae.results.table import FIRST, METRIC

_CAPTIONS = {
    "metric_threshold": "The metric along each rule's number; a line for each combination of the other settings.",
    "metric_strength": "The metric along the strength.",
    "metric_layers": "The metric by edited blocks.",
    "delta_layers_threshold": "Edited minus baseline, by edited blocks and threshold.",
    "delta_artifact_rate": "Edited minus baseline against the share of patches that was flagged.",
}
_TOP = 10
_SIDES = ("delta", "edited", "baseline")


def sweep_part(table: pd.DataFrame, home: Path, best: str | None, shown: Shown) -> dict[str, Any]:
    """Return all that a page shows of many runs.

    Parameters
    ----------
    table, shown
        As `itae.results.table.read_table` returns them.
    home
        The folder that the table's column ``folder`` is relative to.
    best
        The metric that chooses; None where there is none.

    Returns
    -------
    dict
        Plain values; ``winners`` are the folders of the best runs, one for each task, backbone, data set and clusterer.
    """
    winners = choose(table, best, shown) if best else []
    column = with_values(table, best) if best else None
    columns, settings, metrics, same = _columns(table, column, shown)
    ok = science(table[table["status"] == "ok"])
    about = {index: name for name, rows in apart(ok) for index in rows.index} if len(ok) else {}
    words = labels(ok, [SEED])
    named = {index: ", ".join(dict.fromkeys(filter(None, (about[index], words[index])))) for index in ok.index}
    top = _top(table, best, shown, winners) if best else []
    return {
        "n": len(table),
        "states": table["status"].value_counts().to_dict(),
        "best": best,
        "oracle": bool(best) and shown.metric(best or "").labels,
        "own_space": bool(best) and shown.metric(best or "").space == "own",
        "headline": shown.metrics[shown.headline].title,
        "unit": shown.unit,
        "tried": tried(ok),
        "rivals": next((tried(ok.loc[group]) for group in comparable(ok) if winners and winners[0] in group), 0),
        "groups": len(winners),
        "kinds": bool(table["kind"].nunique() > 1),
        "unranked": len(ok) - (0 if column is None else int(table.loc[ok.index, column].notna().sum())),
        "chosen": named[winners[0]] if winners else "",
        "winners": [str(home / table.loc[row, "folder"]) for row in winners],
        "tied": int((table[column].round(4) == round(table.loc[winners[0], column], 4)).sum()) if winners else 0,
        "top": [_row(table.loc[i], column or "", shown.headline, named[i], i in winners) for i in top],
        "same": same,
        "again": _again(home),
        "failed": table.loc[table["status"] != "ok", ["folder", "error"]].fillna("").to_dict("records"),
        "figures": _figures(table, headline_of(table, shown), shown),
        "agreement": as_rows(agree) if (agree := agreements(table, home)) else None,
        "table": _interactive(columns),
        "explore": {
            "columns": {name: _plain(columns[name]) for name in columns},
            "settings": settings,
            "metrics": metrics,
            "first": f"delta.{shown.headline}",
        },
    }


def _columns(
    table: pd.DataFrame, column: str | None, told: Shown
) -> tuple[pd.DataFrame, list[str], list[str], dict[str, str]]:
    """Return the table as it is shown, its columns of settings that vary and of metrics, and settings that don't."""
    chosen = science(table)
    vary = [name for name in chosen if chosen[name].nunique(dropna=False) > 1]
    same = {name: str(chosen[name].iloc[0]) for name in chosen if name not in vary and chosen[name].notna().any()}
    names = [f"{side}.{name}" for name in dict.fromkeys([*told.table, *told.metrics]) for side in _SIDES]
    wanted = [f"{name}.mean" if f"{name}.mean" in table else name for name in names]
    wanted += ["artifact_rate", "bimodality", "timing.total_s"]
    wanted += ["passes"] if "passes" in table and table["passes"].nunique() > 1 else []
    found = [name for name in wanted if name in table and METRIC.match(name) and table[name].notna().any()]
    found.sort(key=lambda name: name != column)  # what chose stands first
    metrics = {name: name.removesuffix(".mean") for name in found}
    shown = pd.concat([chosen[vary], table[found].rename(columns=metrics)], axis=1)
    # The table's column filters take a title for markup (itables 2.9.1); names of settings have no use for these.
    safe = {name: re.sub(r"""[<>&"']""", "_", name) for name in vary}
    shown, vary = shown.rename(columns=safe), list(safe.values())
    for name in reversed(FIRST):  # folder, status, error and selection come first where they tell runs apart
        if name == "folder" or (name not in shown and table[name].nunique(dropna=False) > 1):
            shown.insert(0, name, table[name])
    return shown, vary, list(metrics.values()), same


def _top(table: pd.DataFrame, best: str, shown: Shown, winners: Sequence[Any]) -> list[Any]:
    """Return the rows that are shown as the best: all winners, then the next by the criterion, up to `_TOP`."""
    others = (index for index in ranked(table, best, shown).index if index not in winners)
    return [*winners, *others][: max(_TOP, len(winners))]


def _row(row: pd.Series, column: str, headline: str, name: str, winner: bool) -> dict[str, Any]:
    """Return a run's settings, what it was ranked by, and the headline's delta with the interval."""
    mean, std, low, high = (_value(row.get(f"delta.{headline}.{end}")) for end in ("mean", "std", "low", "high"))
    delta = None if mean is None else {"mean": mean, "std": std, "interval": None if low is None else [low, high]}
    return {
        "settings": name or "the one setting",
        "value": f"{row[column]:.4f}",
        "delta": with_std(delta, "+"),
        "interval": told_interval(delta),
        "flagged": "" if pd.isna(row["artifact_rate"]) else f"{100 * row['artifact_rate']:.2f} %",
        "folder": row["folder"],
        "winner": winner,
    }


def _figures(table: pd.DataFrame, metric: str, shown: Shown) -> list[dict[str, str]]:
    if not with_values(table, metric):
        return []
    with tempfile.TemporaryDirectory() as folder:
        drawn, told = draw_sweep(table, metric, Path(folder), shown, svg=False)
        found = {path.stem: address(path.read_bytes(), "png") for path in drawn}
    more = dict(line.split(": ", 1) for line in told)
    return [
        {"name": name, "caption": " ".join(filter(None, (_CAPTIONS[name], more.get(name, "")))), "source": source}
        for name, source in found.items()
    ]


def _plain(column: pd.Series) -> list[Any]:
    return list(map(_value, column.astype(object)))


def _value(value: Any) -> Any:
    return None if pd.isna(value) else value


def _interactive(shown: pd.DataFrame) -> str:
    """Return the table as HTML that sorts and filters itself (DataTables, by itables); what is in it is escaped."""
    rounded = shown.copy()
    for name in rounded.select_dtypes("float"):
        rounded[name] = rounded[name].round(4)
    for name in rounded.columns[rounded.isna().any()]:  # blank, as numbers beside it still sort as numbers then
        column = rounded[name]
        rounded[name] = column.astype(object).where(column.notna(), "")
    setup = generate_init_offline_itables_html(options.dt_bundle)
    return setup + to_html_datatable(
        rounded,
        connected=False,
        allow_html=False,
        showIndex=False,
        table_id="runs-table",
        display_logo_when_loading=False,
        maxBytes=0,
        classes="display compact nowrap",
        column_filters="footer",
        text_in_header_can_be_selected=False,  # a click on it sorts
        lengthMenu=[25, 100, 500],
        scrollX=True,
        # Not in itables' own order, in which it leaves the search out where all rows fit.
        layout={"topStart": "search", "topEnd": "pageLength", "bottomStart": "info", "bottomEnd": "paging"},
    )


def _again(home: Path) -> str | None:
    """Return what a shell runs the sweep again with, if it is one sweep that Hydra has run."""
    file = home / "multirun.yaml"
    if not file.is_file():
        return None
    try:
        hydra = yaml.safe_load(file.read_text(encoding="utf-8"))["hydra"]
        words = [word for word in hydra["overrides"]["hydra"] if word != "hydra.mode=MULTIRUN"]
        sources = hydra["runtime"].get("config_sources", ())
        config_dir = next((one["path"] for one in sources if one["provider"] == "command-line"), None)
        return commands(hydra["runtime"]["cwd"], ["-m", *words, *hydra["overrides"]["task"]], config_dir)
    except (OSError, yaml.YAMLError, LookupError, TypeError, ValueError, RecursionError):
        return None
