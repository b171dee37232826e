"""Votes counted: how the shares of rows become scores of labels, and which label wins a tie.

Shapes: Q queries, K neighbours, V voices (a neighbour and one of its labels), F pairs of a query and a label, query by
query, C label names.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from itae.knowledge.near.neighbours import MISSING
from itae.knowledge.records.snapshot import NONE, SEVERAL, Snapshot

_DECIMALS = 12  # to which votes are equal: beyond, a sum is rounding


@dataclass(frozen=True)
class Ballot:
    """How some queries were voted on.

    Parameters
    ----------
    positions_QK, similarities_QK, shares_QK
        The rows that voted, nearest first, as `itae.knowledge.near.neighbours.nearest` has them, and each one's share
        of its query's vote, float64; shares of a query sum to 1. K is 0 where labels are voted on without rows.
    ends
        Where each query's labels end in the next two, int64 [Q].
    codes_F, scores_F
        Labels, as positions in the snapshot's `label_names`, and their shares, best first.
    """

    positions_QK: np.ndarray
    similarities_QK: np.ndarray
    shares_QK: np.ndarray
    ends: np.ndarray
    codes_F: np.ndarray
    scores_F: np.ndarray

    @property
    def winners(self) -> np.ndarray:
        """The label of each query, int64 [Q]; `NONE` where nothing has voted."""
        begins = np.concatenate([[0], self.ends[:-1]])
        won = np.full(len(self.ends), NONE, np.int64)
        some = begins < self.ends
        won[some] = self.codes_F[begins[some]]
        return won

    def labels(self, q: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the labels of query `q` and their shares, best first."""
        some = slice(int(self.ends[q - 1]) if q else 0, int(self.ends[q]))
        return self.codes_F[some], self.scores_F[some]


def count(snapshot: Snapshot, positions_QK: np.ndarray, similarities_QK: np.ndarray, shares_QK: np.ndarray) -> Ballot:
    """Return the votes of rows, given each one's share; a row with m labels gives each of them 1/m of it.

    Shares are added up from the nearest row on, whatever else is voted on. Of labels whose shares are equal to 1e-12
    the one whose row is nearest comes first, and of those of one row the first by name.
    """
    query_V, rank_V, codes_V, parts_V = voices(snapshot, positions_QK)
    names = max(1, len(snapshot.label_names))
    keys, first, at = np.unique(query_V * names + codes_V, return_index=True, return_inverse=True)
    scores = np.bincount(at.reshape(-1), shares_QK[query_V, rank_V] / parts_V, minlength=len(keys))
    ends, order = _best_first(snapshot, keys // names, keys % names, scores, rank_V[first], len(positions_QK))
    return Ballot(positions_QK, similarities_QK, shares_QK, ends, (keys % names)[order], scores[order])


def voices(snapshot: Snapshot, positions_QK: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return who says what: of each neighbour each label, query by query, the nearest row's first.

    Returns
    -------
    query_V, rank_V, codes_V, parts_V
        int64: the query, the place of the row among its neighbours, the label, and how many labels that row has. A row
        without a label has no voice.
    """
    query_V, rank_V = np.nonzero(positions_QK != MISSING)
    codes_V = snapshot.labels_M[positions_QK[query_V, rank_V]].astype(np.int64)
    parts_V = np.ones(len(codes_V), np.int64)
    many = np.flatnonzero(codes_V == SEVERAL)
    if len(many):
        labels = [snapshot.several[int(i)] for i in positions_QK[query_V[many], rank_V[many]]]
        parts_V[many] = [len(some) for some in labels]
        query_V, rank_V, codes_V, parts_V = (np.repeat(one, parts_V) for one in (query_V, rank_V, codes_V, parts_V))
        codes_V[codes_V == SEVERAL] = np.concatenate([np.array(some) for some in labels])
    known = codes_V != NONE
    return query_V[known], rank_V[known], codes_V[known], parts_V[known]


def count_classes(snapshot: Snapshot, shares_QC: np.ndarray) -> Ballot:
    """Return the votes on classes whose shares are given, -inf for one that has none; of equal ones by name."""
    query_F, codes_F = np.nonzero(np.isfinite(shares_QC))
    scores = shares_QC[query_F, codes_F]
    ends, order = _best_first(snapshot, query_F, codes_F, scores, np.zeros(len(scores)), len(shares_QC))
    none = np.empty((len(shares_QC), 0))
    return Ballot(none.astype(np.int64), none, none, ends, codes_F[order], scores[order])


def best_classes(snapshot: Snapshot, shares_QC: np.ndarray) -> np.ndarray:
    """Return the label of each query that `count_classes` has first, int64 [Q]; `NONE` where none has a share."""
    if not shares_QC.shape[1]:
        return np.full(len(shares_QC), NONE)
    named = np.argsort(by_name(snapshot))
    first_Q = np.round(shares_QC[:, named], _DECIMALS).argmax(axis=1)
    return np.where(np.isfinite(shares_QC).any(axis=1), named[first_Q], NONE)


def by_name(snapshot: Snapshot) -> np.ndarray:
    """Return the place of each label name in the order of the alphabet, int64 [C]."""
    place = np.empty(len(snapshot.label_names), np.int64)
    place[sorted(range(len(place)), key=snapshot.label_names.__getitem__)] = np.arange(len(place))
    return place


def _best_first(
    snapshot: Snapshot, query_F: np.ndarray, codes_F: np.ndarray, scores_F: np.ndarray, rank_F: np.ndarray, queries: int
) -> tuple[np.ndarray, np.ndarray]:
    place = by_name(snapshot)
    order = np.lexsort((place[codes_F], rank_F, -np.round(scores_F, _DECIMALS), query_F))
    return np.cumsum(np.bincount(query_F, minlength=queries)), order
