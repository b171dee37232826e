"""What a run of incremental learning leaves beside its result: all accuracy matrices, and the last answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from itae.knowledge.records.snapshot import NONE
from itae.measure.forgetting import accuracy_matrix
from itae.tasks.csv_file import write_csv
from itae.tasks.incremental.grown import Grown
from itae.tasks.task import File

FILES = MATRIX, PREDICTIONS = "matrix.csv", "predictions.csv"


def files(sides: Mapping[str, Grown], protocol: str) -> list[File]:
    """Return the matrices of all methods, and what the final memory tells of each query."""
    matrix = ("order", "method", "side", "i", "j", "accuracy")
    told = ("order", "id", "label", "baseline", "edited")
    return [
        File(MATRIX, lambda folder: write_csv(folder / MATRIX, matrix, _matrix_rows(sides, protocol))),
        File(PREDICTIONS, lambda folder: write_csv(folder / PREDICTIONS, told, _prediction_rows(sides, protocol))),
    ]


def matrices_of(side: Grown, protocol: str, method: str) -> Iterator[tuple[int, np.ndarray]]:
    """Yield each order and the accuracy matrix of a method in it."""
    for order, right_SQ in enumerate(side.right(method, protocol)):
        yield order, accuracy_matrix(right_SQ, side.arrivals.task_OQ[order], side.arrivals.tasks)


def _matrix_rows(sides: Mapping[str, Grown], protocol: str) -> Iterator[Sequence[Any]]:
    """Yield R of each order, method and side, counted from 0, from each task's own step on."""
    for name, side in sides.items():
        for method in side.told:
            for order, matrix in matrices_of(side, protocol, method):
                for i, j in np.argwhere(np.isfinite(matrix)).tolist():
                    yield order, method, name, i, j, f"{matrix[i, j]:.6f}"


def _prediction_rows(sides: Mapping[str, Grown], protocol: str) -> Iterator[Sequence[Any]]:
    """Yield what the final memory tells; where no task is given that is the same for every order, and is told once."""
    before, after = sides.values()
    for order in range(len(before.arrivals.task_OQ) if protocol == "task" else 1):
        last = [side.answers("memory", protocol)[order, -1].tolist() for side in (before, after)]
        for id_, truth, *answers in zip(before.ids, before.truth_Q.tolist(), *last, strict=True):
            yield order, id_, before.names[truth], *("" if one == NONE else before.names[one] for one in answers)
