"""``itae collect``: many runs become one table, a few figures and the best setting by a label-free criterion.

It reads ``result.json`` files alone, and needs neither Hydra nor torch.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

from itae.base.console import console, say
from itae.base.errors import UserError
from itae.base.place import at_home
from itae.look.sweep_figures import draw_sweep
from itae.results.agreements import AGREEMENTS, Agreements, agreements, write_agreements
from itae.results.controls import against_random, by_task, print_controls
from itae.results.find import RESULT, find_results
from itae.results.rows import (
    SEED,
    check_metric,
    choose,
    headline_of,
    is_control,
    labels,
    metric_names,
    ranked,
    science,
    tried,
    with_values,
)
from itae.results.shown import Shown
from itae.results.table import OF_ITS_OWN, read_table, write_table

_TOP = 5
_UNRANKED = 20
_NAMED = 5  # damaged files


def main(argv: Sequence[str]) -> int:
    """Run ``itae collect`` with what stands after it; return the exit status."""
    options = _parser().parse_args(argv)
    paths = [at_home(path) for path in options.paths]
    out = at_home(options.out) if options.out else _home(paths[0])
    files = find_results(paths)
    table, damaged, shown = read_table(files, out)
    if table.empty:
        file, reason = next(iter(damaged.items()))
        raise UserError(f"No {RESULT} of {len(files)} found can be read ({file}: {reason}); give folders with runs.")
    for word, name in (("--metric", options.metric), ("--best", options.best)):
        check_metric(word, name, table, shown)
    metric, best = options.metric or headline_of(table, shown), options.best or shown.criterion
    table = against_random(table, out)
    winners = choose(table, best, shown) if best else []
    written = write_table(table, out)
    agree = agreements(table, out)
    if agree:
        written.append(write_agreements(agree, out / AGREEMENTS))
    else:
        (out / AGREEMENTS).unlink(missing_ok=True)  # of an earlier call, which collected other runs
    figures, left_out = _figures(table, metric, out / "figures", shown)
    if best is None:
        _tell_unranked(table, metric, shown, out)
    else:
        _tell_ranking(table, winners, best, metric, shown)
    print_controls(table, metric, shown, out)
    _tell_agreements(agree, out)
    _tell_files(table, damaged, written, _drawn(figures, table, metric), left_out)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="itae collect", description="Gather runs into one table (results.parquet, results.csv) and figures."
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="runs, sweeps, or folders with some")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the table goes (the first PATH)")
    parser.add_argument(
        "--metric", help="what the figures show (the task's headline; of clustering acc, without labels inertia)"
    )
    parser.add_argument(
        "--best", metavar="METRIC",
        help="what chooses the best row (the task's criterion; of clustering silhouette); with labels it is an oracle",
    )  # fmt: skip
    return parser


def _home(path: Path) -> Path:
    return path.parent if path.is_file() else path


def _figures(table: pd.DataFrame, metric: str, folder: Path, shown: Shown) -> tuple[list[Path], list[str]]:
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    try:
        return draw_sweep(table, metric, folder, shown) if with_values(table, metric) else ([], [])
    except OSError as error:
        raise UserError(f"{folder} can't be written ({error.strerror}); the table was; give another --out.") from error


def _tell_ranking(table: pd.DataFrame, winners: list[Any], best: str, metric: str, shown: Shown) -> None:
    """Print the top rows, then the best by name and how it was chosen."""
    rows, column = ranked(table, best, shown), with_values(table, best)
    if column is None:
        say(f"best       no run has {best}, so none is called best; choose another with --best")
        return
    chosen, criterion = science(rows), shown.metric(best)
    named = labels(chosen)
    title = f"best by {best}, {min(_TOP, len(rows))} of {len(rows)} rows"
    _print_rows(rows.head(_TOP), named, winners, {best: column} | _deltas(rows, metric, shown), title)
    named = labels(chosen, [SEED])
    kind = " (oracle: chosen with labels, so its score says nothing about unseen data)" if criterion.labels else ""
    for winner in winners:
        value = f"{best}={rows.loc[winner, column]:.4f}"
        words = " ".join(filter(None, (named[winner], f"in {rows.loc[winner, 'folder']}")))
        say(f"best       {words}: {value}, of {tried(chosen[~is_control(rows)])} settings tried{kind}")
    if criterion.space == "common" and not best.startswith("delta."):
        _tell_common(rows.loc[winners], best, shown)
    if criterion.space == "own":
        say(f"note       {best} is measured in each edit's own embedding space: rows do not compare well")
    if left := int((table["status"] == "ok").sum()) - len(rows):
        say(f"note       {left} runs have no {best} and are not ranked")
    if len(winners) > 1:
        each = "task, backbone, data set and clusterer" if "kind" in chosen else "backbone, data set and clusterer"
        say(f"note       one best row for each {each}: across them nothing compares")


def _deltas(rows: pd.DataFrame, metric: str, shown: Shown) -> dict[str, str]:
    """Return the columns that stand beside what chose: the metric, its delta and the headline's."""
    names = (metric, f"delta.{metric}", f"delta.{shown.headline}")
    return {name: column for name in names if (column := with_values(rows, name))}


def _tell_common(winners: pd.DataFrame, best: str, shown: Shown) -> None:
    say(f"note       {best} is measured in the space of the baseline, which favours small changes")
    change = with_values(winners, f"delta.{best}")
    if change is None or not (shown.metric(best).sign * winners[change] > 0).any():
        say("note       by this criterion no setting is better than the baseline, the untouched backbone")


def _tell_unranked(table: pd.DataFrame, metric: str, shown: Shown, home: Path) -> None:
    """Print the rows of tasks that name no criterion, in their order, and what they can be ranked by."""
    rows = table[table["status"] == "ok"]
    several = rows["kind"].nunique() > 1
    for some, told in by_task(rows, metric, home):
        task = f"{some['kind'].iloc[0]}, " if several else ""
        title = f"{task}not ranked, {min(_UNRANKED, len(some))} of {len(some)} rows"
        _print_rows(some.head(_UNRANKED), labels(science(some)), [], _deltas(some, told, shown), title)
    names = [name for name in metric_names(table, shown) if shown.metric(name).better is not None]
    choice = f"; choose by one with --best: {', '.join(names)}" if names else ""
    say(f"best       none: these runs name no criterion that needs no labels{choice}")


def _print_rows(rows: pd.DataFrame, named: pd.Series, winners: list[Any], shown: dict[str, str], title: str) -> None:
    table = Table(title=title, title_justify="left")
    for name in ("settings", *shown, "flagged", "selection", "folder"):
        table.add_column(name, justify="right" if name in (*shown, "flagged") else "left")
    for index, row in rows.iterrows():
        cells = [_cell(row[source], "+" if name.startswith("delta.") else "") for name, source in shown.items()]
        flagged = "" if pd.isna(row["artifact_rate"]) else f"{100 * row['artifact_rate']:.2f} %"
        words = [named[index], *cells, flagged, "" if pd.isna(row["selection"]) else row["selection"], row["folder"]]
        table.add_row(*words, style="bold" if index in winners else None)
    console(200).print(table)


def _cell(value: float, sign: str) -> str:
    return "" if pd.isna(value) else f"{value:{sign}.4f}"


def _drawn(figures: list[Path], table: pd.DataFrame, metric: str) -> str:
    """Say which figures there are, or why there is none."""
    if figures:
        return f"{figures[0].parent}: {', '.join(path.stem for path in figures)}, as PNG and SVG"
    if not with_values(table, metric):
        return f"none: no run has {metric}" if (table["status"] == "ok").any() else "none: no run has ended well"
    return (
        "none: they are drawn along the number of detector.rule, attenuator.strength, layers and, where there is a "
        "delta, the share of flagged patches, and none of these tells apart runs that compare"
    )


def _tell_agreements(found: Agreements | None, out: Path) -> None:
    """Say how much runs of several clusterers agree: the pair that does least, and where all pairs are."""
    if found is None:
        return
    i, j = map(int, np.unravel_index(np.argmin(found.ari), found.ari.shape))
    say(
        f"agreement  of {len(found.names)} runs' clusters of the same images, without labels: the least ARI is "
        f"{found.ari[i, j]:.4f}, of {found.names[i]} and {found.names[j]}; all pairs in {out / AGREEMENTS}"
    )
    for note in found.notes:
        say(f"note       agreement: {note}")


def _tell_files(
    table: pd.DataFrame,
    damaged: dict[Path, str],
    written: list[Path],
    drawn: str,
    left_out: list[str],
) -> None:
    states = ", ".join(f"{count} {state}" for state, count in table["status"].value_counts().items())
    say(f"table      {len(table)} rows ({states}): {', '.join(map(str, written))}")
    say(f"figures    {drawn}")
    for line in left_out:
        say(f"note       {line}")
    for file, reason in list(damaged.items())[:_NAMED]:
        say(f"{'left out' if reason == OF_ITS_OWN else 'damaged':10} {file}: {reason}")
    if count := sum(reason != OF_ITS_OWN for reason in damaged.values()):
        say(f"damaged    {count} {RESULT} files could not be read and are left out")
