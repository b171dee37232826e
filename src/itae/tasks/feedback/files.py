"""What a run of simulated feedback leaves beside its result: all rules in one table, and each search."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from itae.tasks.csv_file import write_csv
from itae.tasks.feedback.found import MEASURES, SIDES, Found, Mean
from itae.tasks.feedback.simulate import NONE, SCORES
from itae.tasks.task import File

FILES = FEEDBACK, QUERIES = "feedback.csv", "queries.csv"


def files(found: Found) -> list[File]:
    """Return both tables."""
    return [File(FEEDBACK, partial(write_rules, found=found)), File(QUERIES, partial(write_queries, found=found))]


def write_rules(folder: Path, found: Found) -> None:
    """Write a row for each side and the delta, rule or control, size of a page and round.

    ``scored`` counts the searches that have something left to be found; ``none_`` is what similarity alone comes to on
    the same residual collection, ``zero_`` what is so of searches whose first page has nothing that is wanted.
    """
    columns = ["side", "rule", "judged", "round", "searches", "scored"]
    columns += [f"{name}{end}" for name in MEASURES for end in ("", "_low", "_high")]
    columns += [*NONE, "zero_searches", *(f"zero_{name}" for name in ("r_at_1", "map_at_r", "gain"))]
    write_csv(folder / FEEDBACK, columns, _rule_rows(found))


def _rule_rows(found: Found) -> Iterator[list[Any]]:
    count = len(found.searches.each)
    for case in found.cases:
        for side in SIDES:
            scored = int(np.isfinite(found.column(side, case, "map_at_r")).sum())
            none_S = found.nothing(side, case.judged)
            means = [found.mean(side, case, name) for name in MEASURES]
            zero = [found.mean(side, case, name, none_S).mean for name in ("r_at_1", "map_at_r", "gain")]
            alone = [found.mean(side, case, name).mean for name in NONE]
            head = [side, case.method, case.judged, case.round, count, scored]
            yield [*head, *_cells(means), *map(_cell, alone), int(none_S.sum()), *map(_cell, zero)]
        deltas = [found.delta(case, name) for name in MEASURES]
        yield ["delta", case.method, case.judged, case.round, count, "", *_cells(deltas), *[""] * (len(NONE) + 4)]


def _cells(means: list[Mean]) -> list[str]:
    return [_cell(value) for one in means for value in one]


def _cell(value: float | None) -> str:
    return "" if value is None or np.isnan(value) else f"{value:.6f}"


def write_queries(folder: Path, found: Found) -> None:
    """Write a row for each search, side, rule or control, size of a page and round.

    ``wanted`` counts what its user wants in the collection, ``judged_so_far`` and ``found`` what was judged and how
    much of that was wanted; a search of which nothing is left to be found has no scores.
    """
    columns = ["id", "wish", "wanted", "side", "rule", "judged", "round", "judged_so_far", "found", *SCORES, *NONE]
    write_csv(folder / QUERIES, columns, _query_rows(found))


def _query_rows(found: Found) -> Iterator[list[Any]]:
    each = found.searches.each
    for side in SIDES:
        for case in found.cases:
            counts = [found.column(side, case, name).astype(int).tolist() for name in ("judged", "found")]
            scores = [found.column(side, case, name).tolist() for name in (*SCORES, *NONE)]
            for s, one in enumerate(each):
                told = [one.id, one.wish, len(one.wanted), side, case.method, case.judged, case.round]
                yield [*told, *(some[s] for some in counts), *(_cell(some[s]) for some in scores)]
