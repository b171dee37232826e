"""What a run of the task of neighbours says: scores, what to know of them, files, figures and parts of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from itae.images.walk import listed
from itae.knowledge.answers.choose import Choice
from itae.knowledge.answers.vote import told
from itae.results.shown import Shown
from itae.tasks.knn import files
from itae.tasks.knn.figures import figures
from itae.tasks.knn.galleries import SIDES
from itae.tasks.knn.queries import Queries
from itae.tasks.knn.scores import METRICS, Scored, scores
from itae.tasks.knn.sweep import Tried, oracle_note, sweep_table
from itae.tasks.notes import all_vote, alone
from itae.tasks.task import Outcome


@dataclass(frozen=True)
class Done:
    """All that was done.

    Parameters
    ----------
    queries, found
        What was asked, and the answers that are scored.
    rows, left_out
        The sweep, and its k that are more than there are rows.
    choice
        The voter of the scores.
    bases
        The place of each side's base and its version, or None.
    own
        Whether the queries are the rows.
    seed
        Of the run.
    """

    queries: Queries
    found: Scored
    rows: Sequence[Tried]
    left_out: Sequence[int]
    choice: Choice
    bases: Mapping[str, str] | None
    own: bool
    seed: int

    @property
    def how(self) -> str:
        """How the voter came about, and what that makes of the scores."""
        if not self.choice.tried:
            return "was not chosen, as no row has another that is not of its group" if self.choice.note else "was given"
        known, asked = len(self.found.answers["baseline"].twins), len(self.queries.ids)
        if not self.own and known < asked:
            seen = f", but for {known} of these {asked} images, which it has too" if known else ""
            return f"was chosen inside the gallery of the untouched side, without these labels{seen}"
        return (
            "was chosen by the untouched side's own scores, as the gallery is these very images: that flatters the "
            "scores, most of all the baseline's; give voter=... and voter.k=..., or a gallery, for none of it"
        )


def outcome(done: Done) -> Outcome:
    """Return what the task says of itself."""
    queries, found, rows, choice = done.queries, done.found, done.rows, done.choice
    score, turned, recalls = scores(found), files.turned(found), files.recall_rows(found, done.seed)
    known = {name: METRICS[name] for name in METRICS if name in score.baseline}
    parts = [files.turned_table(queries, found, turned), files.recall_table(recalls), sweep_table(rows)]
    return Outcome(
        baseline=score.baseline,
        edited=score.edited,
        delta=score.delta,
        shown=Shown("top_1", None, tuple(known), known, told(choice.voter)),
        result=_result(done),
        details=[
            ("voter", choice.note or told(choice.voter)),
            ("gallery", _gallery(done)),
            ("turned", files.turned_counts(turned)),
        ],
        notes=[*_notes(done), oracle_note(rows, done.how)],
        files=files.files(queries, found, rows, turned, recalls),
        figures=figures(found, rows),
        parts=[part for part in parts if part],
        image_values=score.image_values,
        image_groups=found.groups,
    )


def _result(done: Done) -> dict[str, Any]:
    found, choice = done.found, done.choice
    galleries = {side: dict(one.facts) for side, one in found.answers.items()}
    for side, facts in galleries.items():
        if done.bases:
            facts["base"] = done.bases[side]
        else:
            del facts["version"], facts["root"]
    tried = [list(one) for one in choice.tried]
    return {
        "voter": {"told": told(choice.voter), "how": done.how, "note": choice.note, "tried": tried},
        "gallery": galleries,
        "queries": {
            "asked": len(done.queries.ids),
            "scored": len(found.at),
            "unknown": int(found.unknown.sum()),
            "known": len(found.answers["baseline"].twins),
        },
        "unknown": list(done.queries.held_out),
    }


def _gallery(done: Done) -> str:
    facts = {side: one.facts for side, one in done.found.answers.items()}
    rows = {side: f"{one['rows']:,} labelled rows of {one['classes']:,} classes" for side, one in facts.items()}
    if done.bases is None:
        whose = "the images themselves, each left out with its group" if done.own else "other images"
        return f"{rows['baseline']}, {whose}"
    return "; ".join(
        f"{side}: {place}, version {facts[side]['version']}, root {facts[side]['root'][:16]}, {rows[side]}"
        for side, place in done.bases.items()
    )


def _notes(done: Done) -> list[str]:
    """Return what is to be known before a score is believed."""
    return [
        *done.found.answers["baseline"].notes,
        *_of_queries(done.queries, done.found, done.own),
        *_of_galleries(done),
    ]


def _of_queries(queries: Queries, found: Scored, own: bool) -> list[str]:
    n, notes = len(queries.ids), []
    if queries.held_out:
        notes.append(f"Held out of the gallery as unknown: {listed(queries.held_out)}; these are in the AUROC alone.")
    if lost := n - len(found.asked):
        notes.append(f"{lost} of {n} images have no label to be scored by: they are left out of all scores.")
    if found.lacking:
        notes.append(
            f"No row is of {len(found.lacking)} of the classes ({listed(found.lacking)}): their images count as wrong, "
            "and as unknown in the AUROC."
        )
    if nothing := int((found.told["baseline"][:, 0] < 0).sum()):
        notes.append(f"{nothing} images have no answer, as all rows are of their own group: they count as wrong.")
    if own:
        notes += alone(queries.said.labels, queries.groups().tolist(), queries.held_out)
    if not found.single:
        notes.append("There are images of several labels: any of these is right, and there is no confusion matrix.")
    return notes


def _of_galleries(done: Done) -> list[str]:
    baseline, edited = (done.found.answers[side] for side in SIDES)
    n, rows, notes = len(done.queries.ids), baseline.facts["rows"], []
    if twins := len(baseline.twins):
        notes.append(
            f"The bytes of {twins} of {n} images are in the gallery, too: these rows and their group do not vote on "
            "them."
        )
    notes += all_vote(getattr(done.choice.voter, "k", None), rows)
    if done.left_out:
        left_out = ", ".join(map(str, done.left_out))
        notes.append(f"Left out of the sweep, as there are {rows} labelled rows: k {left_out}.")
    same = baseline.rows is edited.rows or set(baseline.rows.ids) == set(edited.rows.ids)
    if not same or rows != edited.facts["rows"]:
        notes.append("The two galleries have not the same rows, so that a delta is not of the edit alone.")
    return notes
