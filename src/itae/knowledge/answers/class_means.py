"""The mean of each class, to the last bit whatever the order of its rows: one that is deleted leaves no trace.

Sums of floating-point numbers depend on their order. So each number of a vector is taken as a whole one of 2^-40, of
which sums are exact: a row that is taken out again is out entirely. (A sum has room for 8,388,608 rows of a class.)

Shapes: M positions of a snapshot, Q queries, C label names, E embedding width, R rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from itae.knowledge.near.neighbours import Excluded
from itae.knowledge.records.similarity import similarities
from itae.knowledge.records.snapshot import SEVERAL, Snapshot

_UNIT = 2.0**40
_ROWS = 4096  # at a time


@dataclass
class ClassSums:
    """The sum of the rows of each class in units of 2^-40, int64 [C, E], and how many rows it has, int64 [C]."""

    sums_CE: np.ndarray
    counts_C: np.ndarray

    def take_out(self, snapshot: Snapshot, positions: np.ndarray) -> ClassSums:
        """Return what is left without some rows that are in it."""
        out = add_up(snapshot, positions)
        return ClassSums(self.sums_CE - out.sums_CE, self.counts_C - out.counts_C)


def add_up(snapshot: Snapshot, positions: np.ndarray) -> ClassSums:
    """Return the sums of some rows by class; a row with m labels is in the sum of each with 1/m."""
    classes, width = len(snapshot.label_names), snapshot.vectors_ME.shape[1]
    sums_CE, counts_C = np.zeros((classes, width), np.int64), np.zeros(classes, np.int64)
    for code, rows, parts in _members(snapshot, positions):
        for start in range(0, len(rows), _ROWS):
            vectors_RE = np.asarray(snapshot.vectors_ME[rows[start : start + _ROWS]], np.float64)
            whole_RE = np.rint(vectors_RE * (_UNIT / parts[start : start + _ROWS, None]))
            sums_CE[code] += whole_RE.astype(np.int64).sum(axis=0)
        counts_C[code] += len(rows)
    return ClassSums(sums_CE, counts_C)


def class_sums(snapshot: Snapshot) -> ClassSums:
    """Return the sums of all rows that vote; of a snapshot they are computed once."""
    if "class sums" not in snapshot.memo:
        snapshot.memo["class sums"] = add_up(snapshot, snapshot.voters)
    return snapshot.memo["class sums"]


def cosines(
    snapshot: Snapshot, queries_QE: np.ndarray, rows: np.ndarray | None = None, excluded: Excluded | None = None
) -> np.ndarray:
    """Return the cosine of each query and the mean of each class, float64 [Q, C], rounded to 1e-6.

    Parameters
    ----------
    snapshot
        The base.
    queries_QE
        Float32, of length 1.
    rows
        Of which the means are: positions, ascending; by default all that vote.
    excluded
        Which rows are out of all means for which query.

    Returns
    -------
    numpy.ndarray
        -inf where a class has no row. A mean of zeros has no direction: its cosine is 0.
    """
    sums = class_sums(snapshot)
    if rows is not None:
        sums = sums.take_out(snapshot, np.setdiff1d(snapshot.voters, rows, assume_unique=True))
    cosines_QC = _cosines(sums, queries_QE)
    if excluded is None:
        return cosines_QC
    rows = snapshot.voters if rows is None else rows
    for queries, out in _left_out(rows, excluded):
        gone = add_up(snapshot, out)
        touched = np.flatnonzero(gone.counts_C)
        left = ClassSums((sums.sums_CE - gone.sums_CE)[touched], (sums.counts_C - gone.counts_C)[touched])
        cosines_QC[np.ix_(queries, touched)] = _cosines(left, queries_QE[queries])
    return cosines_QC


def _cosines(sums: ClassSums, queries_QE: np.ndarray) -> np.ndarray:
    means_CE = sums.sums_CE.astype(np.float64)
    flat_C = ~sums.sums_CE.any(axis=1)
    means_CE[flat_C] = 1
    every_QC = np.broadcast_to(np.arange(len(means_CE)), (len(queries_QE), len(means_CE)))
    found_QC = similarities(means_CE, queries_QE, every_QC)
    found_QC[:, flat_C] = 0
    found_QC[:, sums.counts_C == 0] = -np.inf
    return found_QC


def _members(snapshot: Snapshot, positions: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield the rows of each class, and of how many labels each of them is."""
    codes = snapshot.labels_M[positions]
    order = np.argsort(codes, kind="stable")
    single = order[np.searchsorted(codes[order], 0) :]
    borders = np.flatnonzero(np.diff(codes[single])) + 1
    for some in np.split(single, borders) if len(single) else []:
        yield int(codes[some[0]]), positions[some], np.ones(len(some))
    for i in positions[codes == SEVERAL].tolist():
        labels = snapshot.several[i]
        for code in labels:
            yield code, np.array([i]), np.array([float(len(labels))])


def _left_out(rows: np.ndarray, excluded: Excluded) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the queries of each code, and the rows that are out for them, if there are any."""
    codes = excluded.codes_M[rows]
    order = np.argsort(codes, kind="stable")
    for code in np.unique(excluded.codes_Q):
        some = slice(*np.searchsorted(codes[order], [code, code + 1]))
        if some.start < some.stop:
            yield np.flatnonzero(excluded.codes_Q == code), rows[order[some]]
