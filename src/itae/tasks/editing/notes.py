"""What to know before believing a number of the task of editing."""

from __future__ import annotations

import numpy as np

from itae.tasks.editing.found import Found, range_of
from itae.tasks.notes import all_vote, alone

_LITTLE = 0.01  # of accuracy


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
    if nearest := sum(getattr(draw.voter, "k", None) == 1 for draw in draws):
        said.append(
            f"In {nearest} of {len(draws)} draws the nearest row alone votes, and locality is 0 there by construction: "
            "mending it changes only answers that it had made wrong."
        )
    rate = getattr(found.corruption, "rate", None)
    if rate is not None and min(found.wrong) < round(rate * found.rows):
        said.append(f"There was no room for more wrong labels than {range_of(found.wrong)}, fewer than the rate says.")
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
    if found.asked.own:
        said += alone([memory.labels_of(i) for i in memory.voters.tolist()], found.asked.groups.tolist())
    return said + all_vote(max(getattr(draw.voter, "k", 0) or 0 for draw in found.draws), found.rows)
