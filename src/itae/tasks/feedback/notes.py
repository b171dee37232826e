"""What to know before believing a number of simulated feedback."""

from __future__ import annotations

import numpy as np

from itae.tasks.feedback.found import Found
from itae.tasks.feedback.methods import CEILING, PSEUDO, RANDOM, named


def notes(found: Found) -> list[str]:
    """Return what to know, in sentences."""
    return [*_of_users(found), *_of_searches(found), *_of_rules(found)]


def _of_users(found: Found) -> list[str]:
    user = found.plan.user
    noise = f" A mark is the wrong one with probability {user.noise:g}." if getattr(user, "noise", 0) else ""
    return [
        f"The users are simulated (user={named(user)}): they judge every image of a page, by labels and attributes, "
        f"and nobody was asked.{noise} Scores are of what is left: judged images are never counted as found."
    ]


def _of_searches(found: Found) -> list[str]:
    searches, told = found.searches, []
    if searches.looked_at < searches.queries:
        used = searches.looked_at - searches.wishless - searches.hopeless
        told.append(f"{used:,} of {searches.queries:,} images are searched with, drawn by the seed (task.queries).")
    if searches.wishless or searches.hopeless:
        some = [f"{searches.wishless:,} have nothing to be searched for"] * bool(searches.wishless)
        some += [f"for {searches.hopeless:,} nothing in the collection is wanted"] * bool(searches.hopeless)
        told.append(f"Of {searches.looked_at:,} images that were drawn {', and '.join(some)}: these are left out.")
    for side in found.told_sides:
        lost = {
            (case.judged, case.round): int(np.isnan(found.column(side, case, "map_at_r")).sum())
            for case in found.cases if case.method == found.headline.method
        }  # fmt: skip
        some = [f"{count:,} after round {t} of {page} judged" for (page, t), count in lost.items() if count]
        if some:
            told.append(
                f"Searches of which all that was wanted had been judged have no score: {', '.join(some)} ({side}, rule "
                f"{found.headline.method})."
            )
    return told


def _of_rules(found: Found) -> list[str]:
    told = []
    counts = found.sides["baseline"].notes
    for (method, note), count in sorted(counts.items()):
        rule = next(one for one in found.plan.methods if one.name == method)
        if rule.kind not in (RANDOM, PSEUDO, CEILING):
            told.append(f"In {count:,} of {found.sides['baseline'].rounds:,} rounds: {note}")
    told.append(
        "Controls: random images judged in place of the first page; nobody judging, so that all of the page is a yes; "
        "and the mean of all that is wanted, which knows what no program does and is a ceiling for rules of one "
        "direction, not for all."
    )
    return told
