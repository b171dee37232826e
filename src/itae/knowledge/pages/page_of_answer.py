"""What the page of one answer tells, gathered from why a query gets its label."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any

from itae.knowledge.answers.vote import told
from itae.knowledge.pages.shown_rows import details, looks_of, place_of
from itae.look.page.knowledge_data import AboutAnswer, Neighbour, Picture, Turn

if TYPE_CHECKING:
    from itae.knowledge.answers.why import Why
    from itae.knowledge.base import KnowledgeBase
    from itae.knowledge.records.snapshot import Snapshot


def page_of_answer(
    base: KnowledgeBase, snapshot: Snapshot, found: Why, voter: Any, image: str, abstain: float | None = None
) -> tuple[AboutAnswer, Picture]:
    """Return what the page of an answer tells, and how rows look: what `write_why_page` takes.

    Parameters
    ----------
    base, snapshot
        What was asked, and the version of it.
    found
        As `itae.knowledge.why.why` returns it.
    voter
        That gave it, with all its settings (`itae.knowledge.choose.choose`).
    image
        The path of the picture that was asked about.
    abstain
        The p below which there is no answer.
    """
    answer, image = found.answer, os.path.abspath(image)
    turn = None
    if found.turn is not None:
        turn = Turn(tuple(row["id"] for row in found.turn["rows"]), found.turn["label"], found.turn["fewest"])
    neighbours = [Neighbour(row["id"], row["similarity"], row["share"]) for row in found.neighbours]
    ids = [*(turn.ids if turn else ()), *(one.id for one in neighbours)]
    about = AboutAnswer(
        base=os.path.basename(place_of(base).rstrip("/")),
        place=place_of(base),
        version=answer.version,
        root=answer.root,
        image=image,
        label=answer.label,
        scores=answer.scores,
        voter=told(voter),
        again=["itae", "knowledge", "why", place_of(base), image, *_words(voter), "--at", str(answer.version)],
        p=answer.p,
        abstain=abstain,
        known=[(row["id"], _one(row["label"])) for row in answer.known],
        neighbours=neighbours,
        turn=turn,
        details=details(snapshot, ids),
        notes=found.notes,
    )
    return about, looks_of(base, snapshot)


def _one(label: str | list[str] | None) -> str | None:
    return ", ".join(label) if isinstance(label, list) else label


def _words(voter: Any) -> list[str]:
    """Return the words of the config that ask for just this voter."""
    name = told(voter).partition(",")[0]
    values = [(field.name, getattr(voter, field.name)) for field in dataclasses.fields(voter)]
    return [f"voter={name}", *(f"voter.{key}={value}" for key, value in values if value is not None)]
