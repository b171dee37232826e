"""What a memory that grew comes to: scores of all methods, paired, with their table, notes, files and figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from itae.knowledge.answers.vote import told
from itae.measure.forgetting import accuracy_by_step, image_values, paired, summary
from itae.results.shown import Metric, Shown
from itae.tasks.incremental.figures import figures
from itae.tasks.incremental.files import files, matrices_of
from itae.tasks.incremental.grown import Grown
from itae.tasks.incremental.notes import notes
from itae.tasks.task import Outcome

_METRICS = {
    one.name: one
    for one in (
        Metric("final", "final accuracy"),
        Metric("final_by_task", "final accuracy, mean over tasks"),
        Metric("average", "average incremental accuracy"),
        Metric("backward_transfer", "backward transfer"),
        Metric("forgetting", "forgetting", better="lower"),
    )
}


def outcome(protocol: str, before: Grown, after: Grown) -> Outcome:
    """Return what came out of both sides under a protocol."""
    sides = {"baseline": before, "edited": after}
    values = {name: _values(side, protocol) for name, side in sides.items()}
    numbers = {
        side: {name: summary(each.mean(axis=1)) for name, each in found.items()} for side, found in values.items()
    }
    matrices = {name: _mean_matrix(side, protocol) for name, side in sides.items()}
    curves = {name: {method: _by_step(side, protocol, method) for method in side.told} for name, side in sides.items()}
    return Outcome(
        baseline=numbers["baseline"],
        edited=numbers["edited"],
        delta=paired(values["baseline"], values["edited"], before.groups_Q),
        shown=_shown(protocol, before, values["baseline"]),
        result={"incremental": _result(protocol, before, matrices, curves)},
        details=[("voter", _how(before))],
        notes=notes(protocol, before, after),
        files=files(sides, protocol),
        figures=figures(matrices, curves),
        parts=[_table(side, found, before.told) for side, found in numbers.items()],
        image_values=values["edited"],
        image_groups=before.groups_Q,
    )


def _how(side: Grown) -> str:
    """Return which voter answered, and where it was chosen."""
    chosen = "; in the whole memory of the untouched side, for both" if side.choice.tried else ""
    return f"{side.choice.note or told(side.choice.voter)}{chosen}"


def _values(side: Grown, protocol: str) -> dict[str, np.ndarray]:
    """Return what each query adds to each score of each method, [O, Q]: the memory's plain, others' by their name."""
    found: dict[str, np.ndarray] = {}
    for method in side.told:
        each = image_values(side.right(method, protocol), side.arrivals.task_OQ, side.arrivals.tasks)
        prefix = "" if method == "memory" else f"{method}_"
        found |= {f"{prefix}{name}": each[name] for name in _METRICS if name in each}
    return found


def _shown(protocol: str, side: Grown, values: Mapping[str, Any]) -> Shown:
    plain = [one for one in _METRICS.values() if one.name in values]
    metrics = {one.name: one for one in plain}
    for method in list(side.told)[1:]:
        title = method.replace("_", " ")
        metrics |= {f"{method}_{one.name}": Metric(f"{method}_{one.name}", f"{title}: {one.title}", one.better)
                    for one in plain}  # fmt: skip
    table = [name for name in metrics if name in _METRICS or name.endswith(("_final", "_forgetting"))]
    orders, steps = len(side.arrivals.task_OQ), side.arrivals.steps
    over = f"{orders} orders" if orders > 1 else None
    return Shown("final", None, table, metrics, f"{protocol}-incremental, {steps} step{'s' * (steps > 1)}", over)


def _result(
    protocol: str, side: Grown, matrices: Mapping[str, np.ndarray], curves: Mapping[str, Any]
) -> dict[str, Any]:
    step_OC = side.arrivals.step_OC
    steps, orders = range(side.arrivals.steps), None
    if step_OC is not None:
        codes = [[np.flatnonzero(step_C == step).tolist() for step in steps] for step_C in step_OC]
        orders = [[[side.names[code] for code in some] for some in order] for order in codes]
    return {
        "protocol": protocol,
        "steps": side.arrivals.steps,
        "voter": told(side.choice.voter),
        "queries": len(side.ids),
        "rows": int(side.rows.sum()),
        "orders": orders,
        "matrix": {name: _plain(matrix) for name, matrix in matrices.items()},
        "accuracy": {name: {method: _plain(each) for method, each in found.items()} for name, found in curves.items()},
    }


def _plain(values: np.ndarray) -> list[list[float | None]]:
    return [[None if np.isnan(value) else value for value in row] for row in values.tolist()]


def _mean_matrix(side: Grown, protocol: str) -> np.ndarray:
    """Return the memory's accuracy matrix, the mean over orders of those that have queries there."""
    each = np.array([matrix for _, matrix in matrices_of(side, protocol, "memory")])
    there = np.isfinite(each)
    return np.divide(
        np.where(there, each, 0).sum(axis=0), there.sum(axis=0), out=np.full(each.shape[1:], np.nan),
        where=there.any(axis=0),
    )  # fmt: skip


def _by_step(side: Grown, protocol: str, method: str) -> np.ndarray:
    right_OSQ, task_OQ = side.right(method, protocol), side.arrivals.task_OQ
    return np.array([accuracy_by_step(*one) for one in zip(right_OSQ, task_OQ, strict=True)])


def _table(side: str, numbers: Mapping[str, Any], methods: Mapping[str, Any]) -> dict[str, Any]:
    there = [name for name in _METRICS if name in numbers]
    rows = [
        [method.replace("_", " "), *(numbers[name if method == "memory" else f"{method}_{name}"] for name in there)]
        for method in methods
    ]
    return {"kind": "table", "title": f"What is known in the end, and what was lost: {side}",
            "columns": ["method", *(_METRICS[name].title for name in there)], "rows": rows}  # fmt: skip
