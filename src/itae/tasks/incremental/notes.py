"""What to know before believing a number of incremental learning."""

from __future__ import annotations

import numpy as np

from itae.tasks.incremental.grown import Grown
from itae.tasks.incremental.trained import PARTS
from itae.tasks.notes import all_vote, alone

_MEANING = {
    "class": "A memory changes no parameter and loses no row: what it forgets are new confusions, queries to which "
    "rows of a class that came later are nearer now. Such numbers don't compare with task-incremental ones.",
    "task": "Each query's task was given, and it was told among that task's classes alone, so that nothing that comes "
    "later can change an answer of the memory: its forgetting is 0 by construction. Such numbers don't compare with "
    "class-incremental ones.",
    "sample": "All queries are asked from the first step on, so there are no tasks that could be forgotten: see the "
    "accuracy after each step.",
}


def notes(protocol: str, before: Grown, after: Grown) -> list[str]:
    """Return what to know, in sentences."""
    every = [_MEANING[protocol], _classes(protocol, before), _left_out(before)]
    if before.own:
        every += alone(((before.names[code],) for code in before.truth_Q.tolist()), before.groups_Q.tolist())
    every += all_vote(getattr(before.choice.voter, "k", None), int(before.rows.sum()))
    every += [_trained(before), *(_early(name, before, after) for name in before.early)]
    return [one for one in every if one]


def _classes(protocol: str, side: Grown) -> str:
    step_OC = side.arrivals.step_OC
    if step_OC is None:
        return ""
    sizes = np.bincount(step_OC[0], minlength=side.arrivals.steps)
    first = " The first order is the data set's." if len(step_OC) > 1 else ""
    if protocol == "task" and sizes.min() == 1:
        alone = int((sizes == 1).sum())
        return f"{alone} of {len(sizes)} tasks have one class, among which there is nothing to tell apart.{first}"
    if sizes.min() < sizes.max():
        return f"The {len(step_OC[0])} classes arrive {', '.join(map(str, sizes))} at a step.{first}"
    return first.strip()


def _left_out(side: Grown) -> str:
    without = int((np.bincount(side.truth_Q, minlength=len(side.names)) == 0).sum())
    parts = [f"{side.left_out} images have no label that the memory has, and were not asked." * (side.left_out > 0)]
    parts += [f"{without} of {len(side.names)} classes have no query." * (without > 0)]
    return " ".join(filter(None, parts))


def _trained(side: Grown) -> str:
    if not side.early or not side.own:
        return ""
    return (
        f"What is trained ({', '.join(side.early).replace('_', ' ')}) is not fitted anew without each image in turn, "
        f"which would take days: images are dealt into {PARTS} parts by group, and each is told by what learnt "
        f"from the others, {100 - 100 // PARTS} % of the rows."
    )


def _early(name: str, before: Grown, after: Grown) -> str:
    early = before.early[name] + after.early[name]
    told = f"{early} fits of {name.replace('_', ' ')} ended before they had converged, after the most iterations."
    return told if early else ""
