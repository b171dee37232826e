"""What the task of editing says of what it found: its metrics, the delta, details, a table for the page."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from itae.knowledge.answers.vote import told
from itae.measure.intervals import by_group, mean_interval
from itae.measure.scores import summarise
from itae.results.shown import Metric, Shown
from itae.tasks.editing.draws import name_of
from itae.tasks.editing.figures import figures
from itae.tasks.editing.files import files
from itae.tasks.editing.found import Found, plain, range_of
from itae.tasks.editing.notes import notes
from itae.tasks.editing.scores import LOCALITY, over_draws
from itae.tasks.task import Outcome

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
_AT = (0.1, 0.2, 0.4, 0.6)  # shares looked at, in the page's table


def outcome(found: Found) -> Outcome:
    """Return what the task says of itself."""
    baseline, edited = (
        summarise([{name: one.value for name, one in scores.items()} for scores in side.scores])
        for side in found.sides.values()
    )
    return Outcome(
        baseline=baseline,
        edited=edited,
        delta=_paired(found),
        shown=_shown(len(found.draws)),
        result={"editing": found.told()},
        details=_details(found),
        notes=notes(found),
        files=files(found),
        figures=figures(found),
        parts=_parts(found),
        image_values=_image_values(found),
        image_groups=found.asked.groups,
    )


def _shown(draws: int) -> Shown:
    """Return what the metrics are."""
    of_k1 = [Metric(f"{one.name}_k1", f"{one.title}, k 1", one.better) for one in _METRICS if one.name != LOCALITY]
    ranking = [Metric("precision_at_wrong", "wrong among first n"), Metric("auroc", "AUROC of the ranking")]
    metrics = {one.name: one for one in (*_METRICS, *ranking, *of_k1)}
    return Shown("repaired", None, _TABLE, metrics, over=f"{draws} draws" if draws > 1 else None)


def _paired(found: Found) -> dict[str, Any]:
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


def _image_values(found: Found) -> dict[str, np.ndarray]:
    """Return what each query adds to the scores of the edited side that every draw has, [D, Q].

    Scores of rows are among them where the rows are the queries.
    """
    values = {}
    for name in found.edited.scores[0]:
        each = [one[name].images for one in found.edited.scores]
        if (found.task.gallery is None or name not in _OF_ROWS) and all(one is not None for one in each):
            values[name] = np.stack(each)  # type: ignore[arg-type]
    return values


def _details(found: Found) -> list[tuple[str, str]]:
    """Return what is told under the table: how many rows were wrong, who voted, in which order they were looked at."""
    text = f"{range_of(found.wrong)} of {found.rows} rows ({name_of(found.corruption)}); n is their number"
    voters = Counter(told(draw.voter) for draw in found.draws)
    chosen = "; ".join(voter + f" (in {n} of {len(found.draws)} draws)" * (len(voters) > 1)
                       for voter, n in voters.most_common())  # fmt: skip
    return [("wrong", text), ("voter", chosen), ("repair", name_of(found.repair))]


def _parts(found: Found) -> list[dict[str, Any]]:
    """Return a table for the page: the recovery of each rule at a few shares of rows looked at."""
    at = [
        int(np.abs(found.baseline.points / found.rows - share).argmin()) for share in _AT if share <= found.task.budget
    ]
    rows = []
    for side, one in found.sides.items():
        for (rule, kind), metrics in one.curves.items():
            if not kind:
                rows.append([rule, side, *(plain(over_draws(metrics["recovery"])[p][0]) for p in at)])
    columns = ["repair", "side", *(f"{found.shares[p]:.0%} looked at" for p in at)]
    return [{"kind": "table", "title": "Recovery", "columns": columns, "rows": sorted(rows, key=lambda row: row[0])}]
