"""What a run of the task of editing leaves beside its result: the curves of all rules, and a ranking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from itae.tasks.csv_file import write_csv
from itae.tasks.editing.found import Found
from itae.tasks.editing.scores import over_draws
from itae.tasks.task import File

FILES = CURVE, RANKING = "curve.csv", "ranking.csv"


def files(found: Found) -> list[File]:
    """Return the curves of all rules, and the ranking of the first draw."""
    return [
        File(CURVE, lambda folder: _write(folder / CURVE, _curve_rows(found))),
        File(RANKING, lambda folder: _write(folder / RANKING, _ranking_rows(found))),
    ]


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    write_csv(path, list(rows[0]), (list(row.values()) for row in rows))


def _curve_rows(found: Found) -> list[dict[str, Any]]:
    rows = []
    for side, one in found.sides.items():
        for (rule, kind), metrics in one.curves.items():
            means = {metric: over_draws(values) for metric, values in metrics.items()}
            for p, count in enumerate(one.points.tolist()):
                row = {"side": side, "repair": rule, "voter": "k 1" if kind else "chosen", "looked_at": count,
                       "share": round(count / found.rows, 6)}  # fmt: skip
                for metric, values in means.items():
                    row |= {metric: _cell(values[p][0]), f"{metric}_std": _cell(values[p][1])}
                rows.append(row)
    return rows


def _ranking_rows(found: Found) -> list[dict[str, Any]]:
    memory, draw = found.asked.memory, found.draws[0]
    place = {i: n for n, i in enumerate(memory.voters.tolist())}
    ranks = {}
    for name, side in found.sides.items():
        ranks[name] = {i: rank for rank, i in enumerate(side.first[1].tolist(), 1)}
    rows = []
    for i in found.baseline.first[1].tolist():
        row = {"id": memory.ids[i], "label": memory.label_names[memory.labels_M[i]],
               "given": memory.label_names[draw.labels_M[i]], "wrong": int(draw.wrong_M[i])}  # fmt: skip
        row |= {} if draw.sources is None else {"source": draw.sources[i]}
        for name, side in found.sides.items():
            row |= {f"rank_{name}": ranks[name][i], f"score_{name}": _cell(side.first[0][place[i]])}
        rows.append(row)
    return rows


def _cell(value: float | None) -> float | str:
    return "" if value is None else round(float(value), 6)
