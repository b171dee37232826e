"""Why a query gets its label: the rows that voted, whose they are, and what would have to go for another answer."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from itae.knowledge.answers.choose import refuse_unlabelled
from itae.knowledge.answers.classify import Answer, ask, label_of
from itae.knowledge.answers.turn import MOST, turn
from itae.knowledge.records.similarity import unit
from itae.knowledge.records.snapshot import SEVERAL, Snapshot

_TOLD = ("source", "place", "group", "time")


@dataclass(frozen=True)
class Why:
    """An answer explained.

    Parameters
    ----------
    answer
        As `itae.knowledge.classify.classify` gives it.
    neighbours
        Its neighbours, each with its source, place, group and time.
    sources
        ``{source, share, rows}``: how much of the vote came from each source, by how many rows; most first.
    turn
        ``{label, fewest, rows: [{id, label, source, ...}]}``: the rows without which the label is another, whether
        fewer are proved not to do, and what it is then. None where up to `itae.knowledge.answers.turn.MOST` don't turn
        it.
    notes
        What else has to be said, a sentence each.
    """

    answer: Answer
    neighbours: list[dict[str, Any]]
    sources: list[dict[str, Any]]
    turn: dict[str, Any] | None
    notes: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it: the answer's fields, and more."""
        return self.answer.plain() | {name: value for name, value in asdict(self).items() if name != "answer"}


def why(
    snapshot: Snapshot, query_E: np.ndarray, digest: bytes | None = None, voter: Any = None, device: str = "auto"
) -> Why:
    """Return why a query gets its label; parameters as of `itae.knowledge.classify.classify`.

    That the rows of `turn` do turn the answer has been seen by voting again without them.
    """
    refuse_unlabelled(snapshot)
    query_E = unit(query_E[None], snapshot.vectors_ME.shape[1])[0]
    asked = ask(snapshot, query_E[None], [digest], voter, device=device)
    (answer,), rows = asked.answers, snapshot.voters
    if asked.excluded is not None:
        rows = rows[asked.excluded.codes_M[rows] != asked.excluded.codes_Q[0]]
    found = turn(snapshot, query_E, asked.voter, rows)
    told = None
    if found is not None:
        gone = [about(snapshot, i) for i in found.positions]
        told = {"label": found.label, "fewest": found.fewest, "rows": gone}
    voted = asked.ballot.positions_QK[0].tolist()  # none is missing: the query is alone
    neighbours = [row | about(snapshot, i) for row, i in zip(answer.neighbours, voted, strict=True)]
    notes = answer.notes if told or answer.label is None else (*answer.notes, _stays(snapshot, rows))
    return Why(answer, neighbours, _sources(neighbours), told, notes)


def about(snapshot: Snapshot, i: int) -> dict[str, Any]:
    """Return what a page or a list tells of the row at a position: id, label, source, place, group, time."""
    told = {name: snapshot.column(name, i) for name in _TOLD}
    if told["time"] is not None:
        told["time"] = told["time"].isoformat()
    return {"id": snapshot.ids[i], "label": label_of(snapshot, i), **told}


def _stays(snapshot: Snapshot, rows: np.ndarray) -> str:
    codes = np.unique(snapshot.labels_M[rows])
    if len(codes) == 1 and codes[0] != SEVERAL:
        return "there is no other label in this base"
    return f"no removal of up to {MOST} rows was found that turns the answer"


def _sources(neighbours: list[dict[str, Any]]) -> list[dict[str, Any]]:
    shares: dict[str, list[float]] = {}
    for row in neighbours:
        shares.setdefault(row["source"], []).append(row["share"])
    told = [{"source": name, "share": float(sum(some)), "rows": len(some)} for name, some in shares.items()]
    return sorted(told, key=lambda source: (-source["share"], source["source"]))
