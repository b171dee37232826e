"""What is written of a classification beside its scores: CSV files, and tables for the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from itae.knowledge.records.snapshot import NONE
from itae.tasks.csv_file import write_csv
from itae.tasks.knn.answers import Answers
from itae.tasks.knn.galleries import SIDES
from itae.tasks.knn.queries import Queries
from itae.tasks.knn.scores import Scored
from itae.tasks.knn.sweep import Tried
from itae.tasks.task import File

PREDICTIONS, RECALLS, SWEEP, TURNED = "predictions.csv", "recalls.csv", "sweep.csv", "turned.csv"
FILES = (PREDICTIONS, RECALLS, SWEEP, TURNED, *(f"confusion_{side}.csv" for side in SIDES))
WAYS = {True: "wrong to right", False: "right to wrong"}
_AND = " | "  # between several labels or ids of a cell
_MOST = 40  # rows of a table on a page


def files(
    queries: Queries, found: Scored, rows: Sequence[Tried], turned: Sequence[tuple[int, int, str]],
    recalls: Sequence[Sequence[Any]],
) -> list[File]:  # fmt: skip
    """Return answers, recalls, the sweep, what the edit turned, and both confusions where each query has one label."""
    written = [
        File(PREDICTIONS, partial(write_predictions, queries=queries, found=found)),
        File(RECALLS, partial(write_recalls, rows=recalls)),
        File(SWEEP, partial(write_sweep, rows=rows)),
        File(TURNED, partial(write_turned, queries=queries, found=found, rows=turned)),
    ]
    if found.single:
        written += [File(f"confusion_{side}.csv", partial(write_confusion, found=found, side=side))
                    for side in SIDES]  # fmt: skip
    return written


def write_predictions(folder: Path, queries: Queries, found: Scored) -> None:
    """Write a row for each query.

    Its id and labels; what each side told, with its share and p; of which classes it is (``scored``, ``unknown``, or
    nothing for one without a label to be scored by); the rows of its bytes.
    """
    state = np.full(len(queries.ids), "", object)
    state[found.asked[found.unknown]] = "unknown"
    state[found.at] = "scored"
    columns = ["id", "label", *(f"{side}{what}" for side in SIDES for what in ("", "_share", "_p")), "of", "known"]
    answers = [found.answers[side] for side in SIDES]

    def rows() -> Iterable[list[Any]]:
        for q, id_ in enumerate(queries.ids):
            told = [
                cell
                for one in answers
                for cell in (_label(one, int(one.told[q, 0])), f"{one.share[q]:.6f}", f"{one.p[q]:.6g}")
            ]
            yield [id_, _AND.join(queries.truth[q]), *told, state[q], _AND.join(answers[0].twins.get(q, []))]

    write_csv(folder / PREDICTIONS, columns, rows())


def _label(answers: Answers, code: int) -> str:
    return "" if code == NONE else answers.label_names[code]


def recall_rows(found: Scored, seed: int) -> list[list[Any]]:
    """Return a row for each class that has queries: images, and recall with both ends of its interval on each side."""
    found_C = {side: (found.recalls(side), found.recall_intervals(side, seed)) for side in SIDES}
    return [
        [found.names[c], float(found.sizes[c]),
         *(cell for side in SIDES for cell in (float(found_C[side][0][c]), *map(float, found_C[side][1][c])))]
        for c in np.flatnonzero(found.sizes > 0).tolist()
    ]  # fmt: skip


def write_recalls(folder: Path, rows: Sequence[Sequence[Any]]) -> None:
    """Write the rows of `recall_rows`; a query of m labels is 1/m of one in each of its classes."""
    columns = ["label", "queries", *(f"{side}{what}" for side in SIDES for what in ("", "_low", "_high"))]
    write_csv(
        folder / RECALLS, columns, ([name, f"{size:g}", *(f"{x:.6f}" for x in cells)] for name, size, *cells in rows)
    )


def write_confusion(folder: Path, found: Scored, side: str) -> None:
    """Write how many queries of a class, by row, got each answer; the last column is no answer."""
    counts = found.confusion(side)
    some = np.flatnonzero(found.sizes > 0).tolist()
    rows = ([found.names[c], *counts[c].tolist()] for c in some)
    write_csv(folder / f"confusion_{side}.csv", ["label", *found.names, ""], rows)


def write_sweep(folder: Path, rows: Sequence[Tried]) -> None:
    """Write a row for each setting that was tried."""
    each = [row.plain() for row in rows]
    write_csv(folder / SWEEP, list(each[0]), ([_cell(value) for value in row.values()] for row in each))


def _cell(value: Any) -> Any:
    return "" if value is None else f"{value:.6f}" if isinstance(value, float) else value


def turned(found: Scored) -> list[tuple[int, int, str]]:
    """Return the queries that are right on one side alone: place among the scored, number, and which way it went."""
    before, after = (found.right(side) for side in SIDES)
    return [(i, int(found.at[i]), WAYS[bool(after[i])]) for i in np.flatnonzero(before != after).tolist()]


def write_turned(folder: Path, queries: Queries, found: Scored, rows: Sequence[tuple[int, int, str]]) -> None:
    """Write the first neighbours, on both sides, of each query whose answer the edit made right or wrong."""
    columns = ["id", "label", "turned", "side", "told", "rank", "neighbour", "neighbour_label", "similarity"]

    def lines() -> Iterable[list[Any]]:
        for _, q, way in rows:
            for side in SIDES:
                one = found.answers[side]
                head = [queries.ids[q], _AND.join(queries.truth[q]), way, side, _label(one, int(one.told[q, 0]))]
                for rank, (id_, label, similar) in enumerate(_neighbours(one, q)):
                    yield [*head, rank, id_, label, f"{similar:.6f}"]

    write_csv(folder / TURNED, columns, lines())


def _neighbours(answers: Answers, q: int) -> list[tuple[str, str, float]]:
    return [
        (answers.rows.ids[i], _AND.join(answers.rows.labels[i]), similar)
        for i, similar in zip(answers.near[q].tolist(), answers.similar[q].tolist(), strict=True)
        if i >= 0
    ]


def turned_counts(rows: Sequence[tuple[int, int, str]]) -> str:
    """Return how many answers the edit turned each way."""
    ways = [way for _, _, way in rows]
    return f"{', '.join(f'{ways.count(way)} {way}' for way in WAYS.values())}; each in {TURNED}"


def turned_table(queries: Queries, found: Scored, rows: Sequence[tuple[int, int, str]]) -> dict[str, Any] | None:
    """Return the queries that the edit turned as a part of a page, as many of each way; None where there are none."""
    if not rows:
        return None
    half = [[row for row in rows if row[2] == way] for way in WAYS.values()]
    pairs = zip(half, half[::-1], strict=True)
    shown = [row for some, others in pairs for row in some[: max(_MOST // 2, _MOST - len(others))]]
    cells = []
    for _, q, way in shown:
        cell = [queries.ids[q], _AND.join(queries.truth[q]), way]
        for side in SIDES:
            one = found.answers[side]
            near = _neighbours(one, q)
            first = f"{near[0][0]} ({near[0][1]}, {near[0][2]:.3f})" if near else ""
            cell += [_label(one, int(one.told[q, 0])), first]
        cells.append(cell)
    title = "Answers that the edit turned" + f" ({len(shown)} of {len(rows)})" * (len(shown) < len(rows))
    columns = ["image", "label", "turned", *(f"{side}{what}" for side in SIDES for what in ("", ": nearest row"))]
    return {"kind": "table", "title": title, "columns": columns, "rows": cells}


def recall_table(rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """Return the recalls as a part of a page, of many classes those that are lowest on the edited side."""
    shown = rows if len(rows) <= _MOST else sorted(rows, key=lambda row: row[5])[:_MOST]
    title = "Recall by class" if len(shown) == len(rows) else f"Recall of the {_MOST} lowest of {len(rows)} classes"
    cells = [
        [name, f"{size:g}", before, f"{low:.3f} to {high:.3f}", after, f"{low_2:.3f} to {high_2:.3f}"]
        for name, size, before, low, high, after, low_2, high_2 in shown
    ]
    columns = ["class", "images", "baseline", "95 %", "edited", "95 %"]
    return {"kind": "table", "title": title, "columns": columns, "rows": cells}
