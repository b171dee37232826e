"""What an edit does to predictions, before it is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from itae.knowledge.answers.ballot import Ballot
from itae.knowledge.answers.choose import choose
from itae.knowledge.answers.vote import Auto, told
from itae.knowledge.near.held_out import draw, sample_size
from itae.knowledge.near.neighbours import Excluded
from itae.knowledge.records.snapshot import NONE, Snapshot


@dataclass(frozen=True)
class Turned:
    """Predictions that are not the same in two versions.

    Parameters
    ----------
    rows
        ``{id, before, after}`` of each; a label is None where nothing may vote.
    of
        How many rows were asked.
    note
        What has to be said of it, or an empty string.
    voter_note
        That another voter, or other settings of it, would be chosen after the edit, or an empty string.
    """

    rows: list[dict[str, Any]]
    of: int
    note: str = ""
    voter_note: str = ""


def turned(before: Snapshot, after: Snapshot, voter: Any = None, device: str = "auto") -> Turned:
    """Return the predictions that turn between two versions: of rows in both, each one's group left out.

    What of the voter isn't given is chosen in each version, as it is for an answer of that version; where the earlier
    one has no labelled row, there is nothing to compare. Of many rows a fixed draw is asked, and the note says so.
    """
    if not len(before.voters):
        return Turned([], 0, "nothing could be predicted before")
    asked_for = Auto() if voter is None else voter
    first = choose(before, asked_for, device).voter
    then = choose(after, asked_for, device).voter if len(after.voters) else first
    both = np.array([i for i in before.live.tolist() if before.ids[i] in after.position], np.int64)
    asked = draw(before, both, sample_size(len(both), before.vectors_ME.shape[1])) if len(both) else both
    ids = [before.ids[i] for i in asked.tolist()]
    there = np.array([after.position[id_] for id_ in ids], np.int64)
    was, is_ = _labels(before, asked, first, device), _labels(after, there, then, device)
    rows = [
        {"id": id_, "before": one, "after": other}
        for id_, one, other in zip(ids, was, is_, strict=True)
        if one != other
    ]
    note = f"{len(asked)} of {len(both)} rows, a fixed draw" if len(asked) < len(both) else ""
    another = "" if then == first else f"{told(then)} would be chosen to vote, in place of {told(first)}"
    return Turned(rows, len(asked), note, another)


def _labels(snapshot: Snapshot, rows: np.ndarray, voter: Any, device: str) -> list[str | None]:
    if not len(rows) or not len(snapshot.voters):
        return [None] * len(rows)
    groups = Excluded(snapshot.groups_M, snapshot.groups_M[rows])
    ballot: Ballot = voter.ballot(snapshot, snapshot.vectors_ME[rows], excluded=groups, device=device)
    return [None if code == NONE else snapshot.label_names[code] for code in ballot.winners.tolist()]
