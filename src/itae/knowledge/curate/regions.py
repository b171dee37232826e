"""Wrong labels that lie together: labels are sent through the graph of neighbours, past the rows that agree.

The neighbours of a wrong row in a pocket of wrong rows agree with it; what lies around the pocket doesn't. So labels
are asked for of a whole region: each row is joined to its `K` nearest of other groups and to those whose nearest it is
(W, a joint weighs exp(similarity / .07); S = D^-1/2 W D^-1/2, D the sums of W), and

    F = (S + S^2 + ... + S^STEPS) Y,    Y[j, c] = 1 / sqrt(rows of label c) where row j has label c, otherwise 0,

less what comes back to a row from itself in two steps. The root keeps both a frequent label from winning by its number
and a rare one from winning by a single row. A row's number is b / (b + own), own its F for its own label and b that for
the best other: above .5 another label has more of the region. This is label propagation (Zhou et al. 2004, "Learning
with Local and Global Consistency") with a finite sum of steps. K, STEPS and the root were chosen on the digits, with
labels made wrong there: uniformly, in pairs of classes, in pockets and along borders.

Where wrong rows are most of a region nothing here can tell: the region then is theirs.

Shapes: N rows that vote, K neighbours, C labels that they have, B of them at a time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse

from itae.knowledge.near.neighbours import MISSING
from itae.knowledge.records.snapshot import Snapshot

K = 7
"""Neighbours to which a row is joined."""

STEPS = 40
"""Joints that a label goes, at most."""

_TEMPERATURE = 0.07
_LABELS = 64  # at a time


class Regions(NamedTuple):
    """What the region of each row says.

    Parameters
    ----------
    against_N
        b / (b + own), from 0 to 1; 0 where no other label is reached.
    other_N
        The code of the best other label, or -1.
    together_N
        How many rows, it too, hang together by joints of rows that have a label in common.
    """

    against_N: np.ndarray
    other_N: np.ndarray
    together_N: np.ndarray


def regions(snapshot: Snapshot, near_NK: np.ndarray, similarities_NK: np.ndarray) -> Regions:
    """Return what the region of each row that votes says.

    Parameters
    ----------
    snapshot
        The base.
    near_NK
        The nearest `K` of each row among those that vote, as places in `snapshot.voters`, or `MISSING`.
    similarities_NK
        Their similarities.
    """
    joints_NN, (parts_NC, codes_C) = _joints(near_NK, similarities_NK), _labels(snapshot)
    weighed_NC = parts_NC @ sparse.diags_array(1 / np.sqrt(np.asarray(parts_NC.sum(axis=0))))
    back_N1 = np.asarray(joints_NN.multiply(joints_NN).sum(axis=1)).reshape(-1, 1)
    own_N, best_N, other_N = np.zeros(len(near_NK)), np.zeros(len(near_NK)), np.full(len(near_NK), -1)
    for start in range(0, len(codes_C), _LABELS):
        start_NB = weighed_NC[:, start : start + _LABELS].toarray()
        found_NB = np.maximum(0, _spread(joints_NN, start_NB) - back_N1 * start_NB)
        has_NB = start_NB > 0
        own_N = np.maximum(own_N, np.where(has_NB, found_NB, 0).max(axis=1))
        rest_NB = np.where(has_NB, 0, found_NB)
        b_N = rest_NB.astype(np.float32).argmax(axis=1)  # what differs by rounding alone is equal: the first name wins
        rest_N = rest_NB[np.arange(len(b_N)), b_N]
        better_N = rest_N.astype(np.float32) > best_N.astype(np.float32)
        best_N, other_N = np.where(better_N, rest_N, best_N), np.where(better_N, codes_C[start + b_N], other_N)
    against_N = np.divide(best_N, best_N + own_N, out=np.zeros(len(best_N)), where=best_N > 0)
    return Regions(against_N, other_N, _together(joints_NN, parts_NC))


def _joints(near_NK: np.ndarray, similarities_NK: np.ndarray) -> sparse.csr_array:
    """Return S, [N, N]."""
    n = len(near_NK)
    there_NK = near_NK != MISSING
    weights = np.exp((similarities_NK[there_NK] - 1) / _TEMPERATURE)
    ends = np.nonzero(there_NK)[0], near_NK[there_NK]
    joints_NN = sparse.csr_array((weights, ends), (n, n))
    joints_NN = joints_NN.maximum(joints_NN.T)
    sums_N = np.asarray(joints_NN.sum(axis=1))
    scale_NN = sparse.diags_array(np.divide(1, np.sqrt(sums_N), out=np.zeros(n), where=sums_N > 0))
    return (scale_NN @ joints_NN @ scale_NN).tocsr()


def _labels(snapshot: Snapshot) -> tuple[sparse.csc_array, np.ndarray]:
    """Return which part of each row's vote is for each label that any has, [N, C], and their codes, by name."""
    some = [snapshot.several.get(i, (int(snapshot.labels_M[i]),)) for i in snapshot.voters.tolist()]
    counts = np.array([len(codes) for codes in some], np.int64)
    codes = np.array([code for codes in some for code in codes], np.int64)
    codes_C = np.array(sorted(set(codes.tolist()), key=snapshot.label_names.__getitem__), np.int64)
    column = np.zeros(len(snapshot.label_names), np.int64)
    column[codes_C] = np.arange(len(codes_C))
    ends = np.repeat(np.arange(len(some)), counts), column[codes]
    return sparse.csc_array((np.repeat(1 / counts, counts), ends), (len(some), len(codes_C))), codes_C


def _spread(joints_NN: sparse.csr_array, start_NB: np.ndarray) -> np.ndarray:
    sum_NB, here_NB = np.zeros_like(start_NB), start_NB
    for _ in range(STEPS):
        here_NB = joints_NN @ here_NB
        sum_NB += here_NB
    return sum_NB


def _together(joints_NN: sparse.csr_array, parts_NC: sparse.csc_array) -> np.ndarray:
    rows, columns = joints_NN.nonzero()
    has_NC = parts_NC.tocsr()
    alike = np.asarray(has_NC[rows].multiply(has_NC[columns]).sum(axis=1)) > 0
    same_NN = sparse.csr_array((np.ones(alike.sum()), (rows[alike], columns[alike])), joints_NN.shape)
    _, part_N = sparse.csgraph.connected_components(same_NN, directed=False)
    return np.bincount(part_N)[part_N]
