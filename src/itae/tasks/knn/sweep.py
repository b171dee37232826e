"""Many voters and many k on the same neighbours: how much hangs on a setting that somebody chose.

The best of such a table is picked by the labels of the queries, so it says nothing of others: an oracle. The setting
that the run's scores are of is marked.

Shapes: O options, N scored queries, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from itae.knowledge.answers.vote import ClassMean, Distance, Plurality, Rank, Softmax, Voter, told
from itae.measure.intervals import by_group, mean_interval
from itae.tasks.knn.galleries import SIDES
from itae.tasks.knn.scores import Scored, codes_in

VOTERS: dict[str, type] = {"plurality": Plurality, "softmax": Softmax, "rank": Rank, "distance": Distance,
          "class_mean": ClassMean}  # fmt: skip
"""What ``task.voters`` may name."""


@dataclass(frozen=True)
class Tried:
    """One setting, and what came of it.

    Parameters
    ----------
    voter, k, temperature
        The setting; None where the voter has no such thing.
    baseline, edited
        Top-1 accuracy.
    delta, low, high
        Edited minus baseline, paired, and its 95 % interval, None where there is none.
    baseline_balanced, edited_balanced
        Balanced accuracy.
    chosen
        Whether it is the setting that the run's scores are of.
    """

    voter: str
    k: int | None
    temperature: float | None
    baseline: float
    edited: float
    delta: float
    low: float | None
    high: float | None
    baseline_balanced: float
    edited_balanced: float
    chosen: bool

    @property
    def told(self) -> str:
        """The setting in words."""
        more = [f"{name} {value}" for name, value in (("k", self.k), ("temperature", self.temperature)) if value]
        return ", ".join([self.voter, *more])

    def plain(self) -> dict[str, Any]:
        """Return it as a file has it."""
        return asdict(self)


def options_of(
    voters: Sequence[str], ks: Sequence[int], temperature: float, rows: int, voter: Any
) -> tuple[list[Any], list[int]]:
    """Return the voters of a sweep, that of the run among them, and the k that are left out: more than there are rows.

    Where all are, the smallest stays: then all rows vote.
    """
    kept = [k for k in sorted(set(ks)) if k <= rows] or [min(ks)]
    options: list[Any] = []
    for name in dict.fromkeys(voters):
        kind = VOTERS[name]
        more = {"temperature": temperature} if "temperature" in {field.name for field in fields(kind)} else {}
        options += [kind(k=k, **more) for k in kept] if issubclass(kind, Voter) else [kind(**more)]
    return [*options, *([] if voter in options else [voter])], [k for k in sorted(set(ks)) if k not in kept]


def tried(found: Scored, options: Sequence[Any], voter: Any) -> list[Tried]:
    """Return what came of each option, in their order."""
    from scipy.sparse import csr_array

    n, count = len(found.at), len(found.names)
    each = [{code} for code in found.truth.tolist()] if isinstance(found.truth, np.ndarray) else found.truth
    truth_NC = np.zeros((n, count + 1), bool)  # the last is no answer
    for i, codes in enumerate(each):
        truth_NC[i, list(codes)] = True
    weights_NC = csr_array(truth_NC[:, :count] / truth_NC.sum(axis=1, keepdims=True))
    there = found.sizes > 0
    top_ON, balanced_O = {}, {}
    for side, answers in found.answers.items():
        won_ON = codes_in(answers, found.names)[answers.won[:, found.at]]
        top_ON[side] = truth_NC[np.arange(n), won_ON].astype(np.float64)
        balanced_O[side] = ((top_ON[side] @ weights_NC)[:, there] / found.sizes[there]).mean(axis=1)
    rows = []
    for o, option in enumerate(options):
        before, after = (top_ON[side][o] for side in SIDES)
        low, high = mean_interval(by_group(after - before, found.groups)) or (None, None)
        rows.append(
            Tried(
                told(option).partition(",")[0], getattr(option, "k", None), getattr(option, "temperature", None),
                float(before.mean()), float(after.mean()), float((after - before).mean()), low, high,
                float(balanced_O["baseline"][o]), float(balanced_O["edited"][o]), option == voter,
            )
        )  # fmt: skip
    return rows


def oracle_note(rows: Sequence[Tried], how: str, side: str = "edited") -> str:
    """Say what the best of a sweep is worth, beside the run's own setting and `how` that came about."""
    best = max(rows, key=lambda row: getattr(row, side))
    own = next(row for row in rows if row.chosen)
    return (
        f"The best of the sweep on the {side} side ({best.told}: {getattr(best, side):.4f}) is an oracle: it is picked "
        "by the labels of the images that it is scored on. "
        f"The run's own, {own.told} ({getattr(own, side):.4f}), {how}."
    )


def sweep_table(rows: Sequence[Tried]) -> dict[str, Any]:
    """Return the sweep as a part of a page."""
    columns = ["voter", "k", "baseline", "edited", "delta", "95 %", ""]
    cells = [
        [row.voter if row.temperature is None else f"{row.voter}, T {row.temperature:g}", row.k or "", row.baseline,
         row.edited, f"{row.delta:+.4f}", "" if row.low is None else f"{row.low:+.4f} to {row.high:+.4f}",
         "the run's own" if row.chosen else ""]
        for row in rows
    ]  # fmt: skip
    return {"kind": "table", "title": "Top-1 accuracy by voter and k", "columns": columns, "rows": cells}
