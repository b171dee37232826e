"""Answers: which label a query gets, by which rows, and how unusual it is.

Shapes: Q queries, E embedding width, M positions of a snapshot, K neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from itae.base.checks import number
from itae.base.errors import UserError
from itae.knowledge.answers.ballot import Ballot
from itae.knowledge.answers.choose import choose, refuse_unlabelled
from itae.knowledge.answers.vote import Auto
from itae.knowledge.near.neighbours import INDEX, MISSING, Excluded, nearest
from itae.knowledge.near.unusual import never_below, unusual
from itae.knowledge.records.similarity import unit
from itae.knowledge.records.snapshot import Snapshot


@dataclass(frozen=True)
class Answer:
    """What a base says of one query.

    Parameters
    ----------
    label
        None where the query is too unusual to be given one, or nothing may vote.
    p
        How unusual the query is, from 0 to 1; small is unusual. See `itae.knowledge.near.unusual`.
    known
        ``{id, label}`` of each live row of the query's bytes; they don't vote. A row of several labels has a list.
    scores
        The share of each label, best first.
    neighbours
        ``{id, label, similarity, share}`` of the rows that voted, nearest first.
    notes
        What else has to be said, a sentence each.
    version, root
        Of the base.
    """

    label: str | None
    p: float
    known: list[dict[str, Any]]
    scores: dict[str, float]
    neighbours: list[dict[str, Any]]
    notes: tuple[str, ...]
    version: int
    root: str

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


def classify(
    snapshot: Snapshot,
    queries_QE: np.ndarray,
    digests: Sequence[bytes | None] | None = None,
    voter: Any = None,
    abstain: float | None = None,
    hold_out_groups: bool = False,
    device: str = "auto",
) -> list[Answer]:
    """Return an answer for each query; one alone gets the same as among others.

    Parameters
    ----------
    snapshot
        The base.
    queries_QE
        Vectors of its space, of any length but 0.
    digests
        The sha256 of each query's bytes, 32 bytes. Rows of these bytes are told first, and stay out of the vote.
    voter
        Of `itae.knowledge.answers.vote`; by default all is chosen inside the base.
    abstain
        Of a p below this, from 0 to 1, the label is None.
    hold_out_groups
        Whether the whole group of such rows stays out, too: so in evaluations.
    device
        See `itae.knowledge.near.neighbours.nearest`.

    Raises
    ------
    UserError
        When the base is empty or no row has a label; when a query is no direction; when `voter` is none.
    """
    return ask(snapshot, queries_QE, digests, voter, abstain, hold_out_groups, device).answers


@dataclass(frozen=True)
class Asked:
    """Answers, and what they came from: the voter with all its settings, what was out for whom, the votes."""

    answers: list[Answer]
    voter: Any
    excluded: Excluded | None
    ballot: Ballot


def ask(
    snapshot: Snapshot,
    queries_QE: np.ndarray,
    digests: Sequence[bytes | None] | None = None,
    voter: Any = None,
    abstain: float | None = None,
    hold_out_groups: bool = False,
    device: str = "auto",
) -> Asked:
    """Return the answers of `classify`, and what they came from."""
    if abstain is not None:
        number("--abstain", abstain, 0, 1)
    refuse_unlabelled(snapshot)
    if voter is not None and (isinstance(voter, type) or not hasattr(voter, "options")):
        raise UserError(f"{voter!r} is no voter: give one of itae.vote, as in itae.vote.Rank(k=10).")
    queries_QE = unit(queries_QE, snapshot.vectors_ME.shape[1])
    choice = choose(snapshot, Auto() if voter is None else voter, device)
    known = rows_of_bytes(snapshot, digests, len(queries_QE))
    excluded = left_out(snapshot, known, hold_out_groups)
    ballot = choice.voter.ballot(snapshot, queries_QE, None, excluded, device)
    p_Q, sample = p_of(snapshot, queries_QE, ballot.similarities_QK, excluded, device)
    index = snapshot.memo.get(INDEX)
    notes = [choice.note, sample, _over_the_rows(snapshot, choice.voter), index.note if index else ""]
    notes += [never_below(snapshot, abstain, device)] if abstain is not None else []
    notes = [note for note in notes if note]
    answers = [_answer(snapshot, ballot, q, known[q], float(p_Q[q]), abstain, notes) for q in range(len(queries_QE))]
    return Asked(answers, choice.voter, excluded, ballot)


def rows_of_bytes(snapshot: Snapshot, digests: Sequence[bytes | None] | None, queries: int) -> list[np.ndarray]:
    """Return the live rows of each query's bytes, positions, ascending."""
    none = np.zeros(0, np.int64)
    if digests is None:
        return [none] * queries
    assert len(digests) == queries
    if "by bytes" not in snapshot.memo:
        firsts = _first_bytes(snapshot.digests_M32[snapshot.live])
        order = np.argsort(firsts, kind="stable")
        snapshot.memo["by bytes"] = firsts[order], snapshot.live[order]
    firsts, rows = snapshot.memo["by bytes"]
    found = []
    for digest in digests:
        if digest is None or not any(digest):  # zeros: a row without an image
            found.append(none)
            continue
        whole = np.frombuffer(digest, np.uint8)[None]
        begin, end = (int(np.searchsorted(firsts, _first_bytes(whole)[0], side)) for side in ("left", "right"))
        found.append(np.sort(rows[begin:end][(snapshot.digests_M32[rows[begin:end]] == whole).all(axis=1)]))
    return found


def _first_bytes(digests_N32: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(digests_N32[:, :8]).view(np.uint64).reshape(-1)


def left_out(snapshot: Snapshot, known: Sequence[np.ndarray], groups: bool) -> Excluded | None:
    """Return that the rows of each query's bytes, or all of their group, are out for it; None where there are none."""
    if not any(map(len, known)):
        return None
    if groups:
        none = int(snapshot.groups_M.min()) - 1
        return Excluded(
            snapshot.groups_M, np.array([snapshot.groups_M[rows[0]] if len(rows) else none for rows in known])
        )
    codes_M, codes_Q = np.full(len(snapshot.alive_M), -1), np.full(len(known), -2)
    for q, rows in enumerate(known):
        if len(rows):
            codes_Q[q] = codes_M[rows[0]] if codes_M[rows[0]] >= 0 else q
            codes_M[rows] = codes_Q[q]
    return Excluded(codes_M, codes_Q)


def label_of(snapshot: Snapshot, i: int) -> str | list[str] | None:
    """Return the label of a row, a list where it has several, None where it has none."""
    labels = snapshot.labels_of(i)
    return list(labels) if len(labels) > 1 else labels[0] if labels else None


def p_of(
    snapshot: Snapshot, queries_QE: np.ndarray, similar_QK: np.ndarray, excluded: Excluded | None, device: str = "auto"
) -> tuple[np.ndarray, str]:
    """Return how unusual each query is, and a note, as `itae.knowledge.near.unusual.unusual` has them.

    `similar_QK` are similarities of its nearest labelled rows, if they are known: where all rows have a label, the
    first is what is asked for.
    """
    if not similar_QK.shape[1] or len(snapshot.voters) < len(snapshot):
        _, similar_QK = nearest(snapshot, queries_QE, 1, None, excluded, device)
    first_Q = similar_QK[:, 0] if similar_QK.shape[1] else np.full(len(queries_QE), -np.inf)
    return unusual(snapshot, first_Q, device)


def _over_the_rows(snapshot: Snapshot, voter: Any) -> str:
    k, rows = getattr(voter, "k", 0), len(snapshot.voters)
    return f"k {k} is over the {rows} rows that have a label: all of them vote" if k > rows else ""


def _answer(
    snapshot: Snapshot, ballot: Ballot, q: int, known: np.ndarray, p: float, abstain: float | None, notes: list[str]
) -> Answer:
    codes, scores = ballot.labels(q)
    label = snapshot.label_names[codes[0]] if len(codes) else None
    if label is None:
        notes = [*notes, "no row may vote on it: all that have a label are of its own bytes or group"]
    elif abstain is not None and p < abstain:
        label, notes = None, [*notes, f"p {p:.4g} is below {abstain:g}: too unusual to be given a label"]
    voted = zip(
        *(one[q].tolist() for one in (ballot.positions_QK, ballot.similarities_QK, ballot.shares_QK)), strict=True
    )
    return Answer(
        label=label,
        p=p,
        known=[{"id": snapshot.ids[i], "label": label_of(snapshot, i)} for i in known.tolist()],
        scores={snapshot.label_names[c]: s for c, s in zip(codes.tolist(), scores.tolist(), strict=True)},
        neighbours=[
            {"id": snapshot.ids[i], "label": label_of(snapshot, i), "similarity": similar, "share": share}
            for i, similar, share in voted
            if i != MISSING
        ],
        notes=tuple(notes),
        version=snapshot.version,
        root=snapshot.root,
    )
