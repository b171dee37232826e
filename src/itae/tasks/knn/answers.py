"""What one side's memory says of the queries: whatever is scored and shown later, and no more of it than that.

What it takes beside the vectors: for each query and each of its neighbours, as many as the largest k, some 85 bytes
while they are looked for and 16 until all are counted. That was .85 GB, and .16, for 50,000 queries and k 200. There is
never a number for each pair of a query and a row.

Shapes: Q queries, T labels or rows told, K neighbours, E embedding width, O voters, C label names, F pairs of a query
and a label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from itae.knowledge.answers.ballot import Ballot
from itae.knowledge.answers.classify import p_of
from itae.knowledge.answers.sweep import winners
from itae.knowledge.answers.vote import Voter
from itae.knowledge.near.neighbours import Excluded, nearest
from itae.knowledge.records.snapshot import NONE, Snapshot
from itae.tasks.knn.galleries import Gallery

TOLD = 5
"""Labels and neighbours of each query that are kept."""
_QUERIES = 4096  # whose ballots are held at a time


class Named(NamedTuple):
    """The ids and labels of rows, by position."""

    ids: Sequence[str]
    labels: Sequence[tuple[str, ...]]


@dataclass(frozen=True, eq=False)
class Answers:
    """The answers of one side.

    Parameters
    ----------
    label_names
        What each code is called.
    classes
        The labels that a row has.
    told, share
        The codes of the first labels, best first, `NONE` where there are not so many, int32 [Q, T]; the share of the
        first, float64 [Q].
    p
        How unusual each query is, float64 [Q]; see `itae.knowledge.near.unusual`.
    near, similar
        The positions and similarities of the first rows that were found, int32 and float32 [Q, T].
    twins
        The ids of the rows of its bytes, for the queries that have some.
    won
        The code by each voter of a sweep, int32 [O, Q].
    shares
        The share of each label, float32 [Q, C], where rows have several; else None.
    rows
        Of rows, by position.
    facts
        ``rows`` and ``classes`` that vote, ``version`` and ``root`` of a base.
    notes
        What else has to be said.
    """

    label_names: tuple[str, ...]
    classes: frozenset[str]
    told: np.ndarray
    share: np.ndarray
    p: np.ndarray
    near: np.ndarray
    similar: np.ndarray
    twins: Mapping[int, list[str]]
    won: np.ndarray
    shares: np.ndarray | None
    rows: Named
    facts: Mapping[str, Any]
    notes: Sequence[str]


def neighbours_of_queries(
    gallery: Gallery, queries_QE: np.ndarray, k: int, device: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the `k` labelled rows nearest to each query; the one search that all answers of a side come from."""
    return nearest(gallery.whole, queries_QE, k, gallery.snapshot.voters, gallery.excluded, device)


def answers(
    gallery: Gallery,
    queries_QE: np.ndarray,
    voter: Any,
    options: Sequence[Any],
    rows: Named | None,
    device: str,
) -> Answers:
    """Return what a gallery says of all queries.

    Parameters
    ----------
    gallery
        The rows, and which are out for which query.
    queries_QE
        float32, of the space of the rows.
    voter
        Whose answers are told; every setting of it known.
    options
        The voters of the sweep.
    rows
        What they are called, where somebody has that in hand already.
    device
        See `itae.knowledge.near.neighbours.nearest`.
    """
    snapshot, excluded = gallery.snapshot, gallery.excluded
    most = max(option.k or 1 for option in [voter, *options, Voter(1)] if isinstance(option, Voter))
    positions_QK, similar_QK = neighbours_of_queries(gallery, queries_QE, most, device)
    told_QT, share_Q, shares_QC = _told(snapshot, voter, queries_QE, positions_QK, similar_QK, excluded, device)
    p_Q, sample = p_of(snapshot, queries_QE, similar_QK, excluded, device)
    won_OQ = winners(snapshot, options, queries_QE, positions_QK, similar_QK, None, excluded)
    first = slice(None, TOLD)
    known = frozenset(label for some in _labels_of_voters(snapshot) for label in some)
    return Answers(
        snapshot.label_names, known, told_QT, share_Q, p_Q,
        positions_QK[:, first].astype(np.int32), similar_QK[:, first].astype(np.float32),
        {q: [snapshot.ids[i] for i in twins.tolist()] for q, twins in enumerate(gallery.twins) if len(twins)},
        won_OQ.astype(np.int32), shares_QC,
        rows or Named(snapshot.ids, [snapshot.labels_of(i) for i in range(len(snapshot.alive_M))]),
        {"rows": len(snapshot.voters), "classes": len(known), "version": snapshot.version, "root": snapshot.root},
        [sample] if sample else [],
    )  # fmt: skip


def _labels_of_voters(snapshot: Snapshot) -> list[tuple[str, ...]]:
    """Return the labels that live rows have: each alone, and those of rows of several."""
    codes = np.unique(snapshot.labels_M[snapshot.voters])
    alone = [(snapshot.label_names[code],) for code in codes.tolist() if code >= 0]
    return alone + [snapshot.labels_of(i) for i in snapshot.several if snapshot.alive_M[i]]


def _told(
    snapshot: Snapshot, voter: Any, queries_QE: np.ndarray, positions_QK: np.ndarray, similar_QK: np.ndarray,
    excluded: Excluded, device: str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:  # fmt: skip
    """Return the first labels of each query, the share of the first, and, where rows have several, of every label."""
    q = len(queries_QE)
    told_QT, share_Q = np.full((q, TOLD), NONE, np.int32), np.zeros(q)
    shares_QC = np.zeros((q, len(snapshot.label_names)), np.float32) if snapshot.several else None
    for start in range(0, q, _QUERIES):
        some = slice(start, start + _QUERIES)
        if isinstance(voter, Voter):
            ballot: Ballot = voter.count(snapshot, positions_QK[some], similar_QK[some])
        else:
            out = Excluded(excluded.codes_M, excluded.codes_Q[some])
            ballot = voter.ballot(snapshot, queries_QE[some], None, out, device)
        counts = np.diff(ballot.ends, prepend=0)
        query_F = np.repeat(np.arange(len(counts)), counts)
        rank_F = np.arange(len(query_F)) - np.repeat(ballot.ends - counts, counts)
        first = rank_F < TOLD
        told_QT[start + query_F[first], rank_F[first]] = ballot.codes_F[first]
        share_Q[start + query_F[rank_F == 0]] = ballot.scores_F[rank_F == 0]
        if shares_QC is not None:
            shares_QC[start + query_F, ballot.codes_F] = ballot.scores_F
    return told_QT, share_Q, shares_QC
