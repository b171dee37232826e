"""What the task of editing says of what it found: its metrics, the delta, details, notes, a table for the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from itae.knowledge.answers.vote import told
from itae.measure.intervals import by_group, mean_interval
from itae.measure.scores import summarise
from itae.results.shown import Metric, Shown
from itae.tasks.asked import Asked
from itae.tasks.editing.draws import Draw, Side, name_of
from itae.tasks.editing.scores import over_draws

_OF_ROWS = ("precision_at_wrong", "auroc")
_METRICS = (
    Metric("clean", "accuracy, clean labels"),
    Metric("noisy", "accuracy, wrong labels"),
    Metric("repaired", "accuracy, first n mended"),
    Metric("recovery", "recovery at n"),
    Metric("locality", "locality at n", better="lower"),
    Metric("changed_per_edit", "answers changed an edit", better=None),
)
_TABLE = ("clean", "noisy", "repaired", "recovery", "locality", *_OF_ROWS, "clean_k1", "noisy_k1", "repaired_k1",
          "recovery_k1")  # fmt: skip
_LITTLE = 0.01  # of accuracy
_AT = (0.1, 0.2, 0.4, 0.6)  # shares looked at, in the page's table


@dataclass(frozen=True, eq=False)
class Found:
    """All that is told of: what was asked on the untouched side, the draws, both sides, and the settings."""

    asked: Asked
    draws: Sequence[Draw]
    baseline: Side
    edited: Side
    corruption: Any
    repair: Any
    task: Any

    @property
    def rows(self) -> int:
        """How many rows vote."""
        return len(self.asked.memory.voters)

    @property
    def wrong(self) -> list[int]:
        """How many rows are wrong in each draw."""
        return [int(draw.wrong_M.sum()) for draw in self.draws]

    @property
    def shares(self) -> np.ndarray:
        """The share of the rows that is looked at, at each point of a curve."""
        return self.baseline.points / self.rows

    @property
    def sides(self) -> dict[str, Side]:
        """Both sides by name."""
        return {"baseline": self.baseline, "edited": self.edited}

    def told(self) -> dict[str, Any]:
        """Return what stands in ``result.json`` as ``editing``."""
        curves = {}
        for name, side in self.sides.items():
            means = side.curves[name_of(self.repair), ""]
            curves[name] = {"share": self.shares} | {
                metric: [_plain(mean) for mean, _ in over_draws(means[metric])] for metric in ("recovery", "locality")
            }
        return {
            "rows": self.rows,
            "queries": len(self.asked.truth_Q),
            "wrong": self.wrong,
            "voters": [told(draw.voter) for draw in self.draws],
            "repair_curve": curves,
        }


def shown(draws: int) -> Shown:
    """Return what the metrics are."""
    of_k1 = [Metric(f"{one.name}_k1", f"{one.title}, k 1", one.better) for one in _METRICS]
    ranking = [Metric("precision_at_wrong", "wrong among first n"), Metric("auroc", "AUROC of the ranking")]
    metrics = {one.name: one for one in (*_METRICS, *ranking, *of_k1)}
    return Shown("repaired", None, _TABLE, metrics, over=f"{draws} draws" if draws > 1 else None)


def paired(found: Found) -> dict[str, Any]:
    """Return edited minus baseline, draw by draw, each with its interval over images and draws, if it has one."""
    memory, delta = found.asked.memory, {}
    for name in found.baseline.scores[0]:
        pairs = [
            (one[name], other[name]) for one, other in zip(found.baseline.scores, found.edited.scores, strict=True)
        ]
        changes = summarise([{name: None if None in (a.value, b.value) else b.value - a.value} for a, b in pairs])[name]  # type: ignore[operator]
        if changes["mean"] is None:
            continue
        groups = memory.groups_M[memory.voters] if name in _OF_ROWS else found.asked.groups
        images = [b.images - a.images for a, b in pairs if a.images is not None and b.images is not None]
        ends = None
        if len(images) == len(pairs):
            ends = mean_interval(by_group(np.stack(images), np.unique(groups, return_inverse=True)[1]))
        delta[name] = changes | {"interval": None if ends is None else list(ends)}
    return delta


def image_values(found: Found) -> dict[str, np.ndarray]:
    """Return what each query adds to the scores of the edited side that every draw has, [D, Q].

    Scores of rows are among them where the rows are the queries.
    """
    values = {}
    for name in found.edited.scores[0]:
        each = [one[name].images for one in found.edited.scores]
        if (found.task.gallery is None or name not in _OF_ROWS) and all(one is not None for one in each):
            values[name] = np.stack(each)  # type: ignore[arg-type]
    return values


def details(found: Found) -> list[tuple[str, str]]:
    """Return what is told under the table: how many rows were wrong, who voted, in which order they were looked at."""
    text = f"{_range(found.wrong)} of {found.rows} rows ({name_of(found.corruption)}); n is their number"
    voters = Counter(told(draw.voter) for draw in found.draws)
    chosen = "; ".join(voter + f" (in {n} of {len(found.draws)} draws)" * (len(voters) > 1)
                       for voter, n in voters.most_common())  # fmt: skip
    return [("wrong", text), ("voter", chosen), ("repair", name_of(found.repair))]


def notes(found: Found) -> list[str]:
    """Return what to know before believing a number."""
    task, draws = found.task, found.draws
    said = [
        "The same rows are wrong on both sides, and have the same wrong labels.",
        "The voter is that of the untouched side's memory with its wrong labels, for both sides, anew for each draw; "
        "rows are ranked once a draw, and not again as labels are mended.",
    ]
    if getattr(found.corruption, "neighbours", False):
        said.append(
            "Wrong labels are drawn by neighbours in the space of the untouched backbone: rows that lie together there "
            "may lie apart on the edited side, and are found more easily for that alone."
        )
    if draws[0].sources is not None:
        said.append(
            f"Sources are planted: all wrong rows come in with the first of {task.sources} imports, with "
            f"{task.right_with_wrong:g} right ones for each."
        )
        if task.sources < 2:
            said.append("There is one source, with which nothing disagrees: rows are looked at in a drawn order.")
    if len(draws) > 1 and all(np.array_equal(draw.labels_M, draws[0].labels_M) for draw in draws):
        said.append("All draws have the same wrong labels, as this corruption draws nothing: their spread is of ties.")
    rate = getattr(found.corruption, "rate", None)
    if rate is not None and min(found.wrong) < round(rate * found.rows):
        said.append(f"There was no room for more wrong labels than {_range(found.wrong)}, fewer than the rate says.")
    return said + _of_the_loss(found) + _of_the_images(found)


def _of_the_loss(found: Found) -> list[str]:
    """Say where there was nothing to recover, or so little that a few images decide."""
    scores = [one for side in found.sides.values() for one in side.scores]
    losses = [(one["clean"].value or 0.0) - (one["noisy"].value or 0.0) for one in scores]
    said, none = [], sum(one["recovery"].value is None for one in scores)
    if none:
        said.append(
            f"In {none} of {len(scores)} cases (a draw on a side) wrong labels cost nothing: no recovery there."
        )
    if little := sum(0 < loss < _LITTLE for loss in losses):
        said.append(
            f"In {little} of {len(scores)} cases (a draw on a side) the chosen voter loses less than {_LITTLE:.0%} of "
            "accuracy to wrong labels: a few images decide what the recovery is; k 1 has more to lose."
        )
    return said


def _of_the_images(found: Found) -> list[str]:
    memory, said = found.asked.memory, []
    if unlabelled := len(memory) - found.rows:
        said.append(f"{unlabelled} images have no label: they don't vote and aren't asked.")
    if lacking := len(set(found.asked.truth_Q[found.asked.truth_Q >= len(memory.label_names)].tolist())):
        said.append(f"The gallery lacks {lacking} classes that queries have: these can't be answered rightly.")
    of_labels, _ = np.unique(np.stack([memory.labels_M, memory.groups_M])[:, memory.voters], axis=1)
    alone = int((np.bincount(of_labels) == 1).sum())
    if alone and found.task.gallery is None:
        said.append(
            f"{alone} classes have one image, or one group of them: nobody else votes for it, so it is never right."
        )
    biggest = max((getattr(draw.voter, "k", 0) or 0 for draw in found.draws), default=0)
    if biggest > found.rows:
        said.append(f"k {biggest} is over the {found.rows} rows that have a label: all of them vote.")
    return said


def parts(found: Found) -> list[dict[str, Any]]:
    """Return a table for the page: the recovery of each rule at a few shares of rows looked at."""
    at = [
        int(np.abs(found.baseline.points / found.rows - share).argmin()) for share in _AT if share <= found.task.budget
    ]
    rows = []
    for side, one in found.sides.items():
        for (rule, kind), metrics in one.curves.items():
            if not kind:
                rows.append([rule, side, *(_plain(over_draws(metrics["recovery"])[p][0]) for p in at)])
    columns = ["repair", "side", *(f"{found.shares[p]:.0%} looked at" for p in at)]
    return [{"kind": "table", "title": "Recovery", "columns": columns, "rows": sorted(rows, key=lambda row: row[0])}]


def _plain(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _range(counts: Sequence[int]) -> str:
    return str(counts[0]) if len(set(counts)) == 1 else f"{min(counts)} to {max(counts)}"
