"""The mean of each class, to the last bit whatever the order of its rows: one that is deleted leaves no trace.

Sums of floating-point numbers depend on their order. So each number of a vector is taken as a whole one of 2^-40, of
which sums are exact: a row that is taken out again is out entirely. (A sum has room for 8,388,608 rows of a class.)

A product of matrices gives the cosines, in bits that differ with its size. They are rounded to 1e-6, where that differs
next to never; a cosine that lies so close to half of 1e-6 that it might is computed by itself.

Shapes: M positions of a snapshot, Q queries, C label names, E embedding width, R rows, V voices (a row and one of its
labels), G codes of rows that are left out together, F pairs of such a code and a class.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from itae.knowledge.answers.ballot import voices
from itae.knowledge.near.neighbours import Excluded
from itae.knowledge.records.similarity import similarities
from itae.knowledge.records.snapshot import Snapshot

_UNIT = 2.0**40
_ROWS = 4096  # at a time
_NUMBERS = 2**20  # of queries and of cosines at a time: about ten arrays of 8 MB
_DECIMALS = 6  # of a cosine, as of each similarity
_ROUNDING = 4 * np.finfo(np.float64).eps  # for each number of two vectors: twice what their cosines differ by at most
_NO_ROW = -2.0  # in the place of a cosine


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
    codes, sums, counts = _summed(snapshot, positions, np.zeros(len(positions), np.int64))
    sums_CE[codes], counts_C[codes] = sums, counts
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
    found_QC = np.empty((len(queries_QE), len(snapshot.label_names)))
    for asked, some_QC in cosines_in_turn(snapshot, queries_QE, rows, excluded):
        found_QC[asked] = some_QC
    return found_QC


def cosines_in_turn(
    snapshot: Snapshot, queries_QE: np.ndarray, rows: np.ndarray | None = None, excluded: Excluded | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the places of some queries and what `cosines` returns for them: all of it may be too much to hold."""
    sums = class_sums(snapshot)
    if rows is not None:
        sums = sums.take_out(snapshot, np.setdiff1d(snapshot.voters, rows, assume_unique=True))
    out = _Out(snapshot, snapshot.voters if rows is None else rows, excluded, len(queries_QE))
    means_CE, empty_C = _directions(sums.sums_CE), sums.counts_C == 0
    step = max(1, _NUMBERS // max(1, *means_CE.shape))
    for start in range(0, len(queries_QE), step):
        asked = out.order_Q[start : start + step]
        directions_QE = _directions(queries_QE[asked])
        cosines_QC = directions_QE @ means_CE.T
        cosines_QC[:, empty_C] = _NO_ROW
        out.replace(cosines_QC, directions_QE, asked, sums)
        rounded_QC = np.round(np.clip(cosines_QC, -1, 1), _DECIMALS) + 0.0  # no -0.0
        for q, code in np.argwhere(_close(cosines_QC, means_CE.shape[1])).tolist():
            mean_E = sums.take_out(snapshot, out.rows_of(asked[q])).sums_CE[code].astype(np.float64)
            alone = similarities(mean_E[None], queries_QE[asked[q]][None], np.zeros((1, 1), np.int64))
            rounded_QC[q, code] = alone[0, 0]
        rounded_QC[cosines_QC == _NO_ROW] = -np.inf
        yield asked, rounded_QC


def _close(cosines_QC: np.ndarray, width: int) -> np.ndarray:
    """Return where a cosine is so close to half of 1e-6 that its own rounding decides which way it is rounded.

    A cosine of vectors of E numbers, in whatever order these are added up, is off by (E + 3) eps at most (Higham,
    Accuracy and Stability of Numerical Algorithms, 3.1), whether lengths are divided by before the product or behind.
    """
    parts_QC = cosines_QC * 10.0**_DECIMALS
    parts_QC -= np.floor(parts_QC)
    return np.abs(parts_QC - 0.5) <= 10.0**_DECIMALS * _ROUNDING * (width + 4)


class _Out:
    """The rows that are out for each query, in the order of their codes, as queries are asked in (`order_Q`)."""

    def __init__(self, snapshot: Snapshot, rows: np.ndarray, excluded: Excluded | None, queries: int) -> None:
        if excluded is None:
            excluded = Excluded(np.zeros(len(snapshot.alive_M), np.int64), np.full(queries, -1))
        codes_R = excluded.codes_M[rows]
        order_R = np.argsort(codes_R, kind="stable")
        self.snapshot, self.rows, self.codes_Q = snapshot, rows[order_R], excluded.codes_Q
        self.order_Q = np.argsort(self.codes_Q, kind="stable")
        self.begins_Q, self.ends_Q = (np.searchsorted(codes_R[order_R], self.codes_Q, s) for s in ("left", "right"))

    def rows_of(self, q: int) -> np.ndarray:
        """Return those of a query."""
        return self.rows[self.begins_Q[q] : self.ends_Q[q]]

    def replace(self, cosines_QC: np.ndarray, directions_QE: np.ndarray, asked: np.ndarray, sums: ClassSums) -> None:
        """Put cosines to the means that are left in the place of those to the whole ones."""
        _, begins_G, counts_G = np.unique(self.codes_Q[asked], return_index=True, return_counts=True)
        rows_G = [self.rows_of(q) for q in asked[begins_G].tolist()]
        for some in _together([*map(len, rows_G)]):
            labels_F, left_FE, there_F, ends = self._left([rows_G[g] for g in some], sums)
            for g, begin, end in zip(some, [0, *ends[:-1]], ends, strict=True):
                q, f = slice(begins_G[g], begins_G[g] + counts_G[g]), slice(begin, end)
                cosines_QC[q, labels_F[f]] = np.where(there_F[f], directions_QE[q] @ left_FE[f].T, _NO_ROW)

    def _left(self, rows_G: list[np.ndarray], sums: ClassSums) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[int]]:
        """Return the means that are left without the rows of each code, of the classes these are of.

        Which class, its direction, whether it has a row; and where those of each code end.
        """
        classes, codes_R = len(sums.counts_C), np.repeat(np.arange(len(rows_G)), [*map(len, rows_G)])
        keys_F, out_FE, counts_F = _summed(self.snapshot, np.concatenate(rows_G), codes_R)
        labels_F = keys_F % classes
        ends = np.searchsorted(keys_F, classes * np.arange(1, len(rows_G) + 1)).tolist()
        return labels_F, _directions(sums.sums_CE[labels_F] - out_FE), sums.counts_C[labels_F] > counts_F, ends


def _together(counts: list[int]) -> Iterator[list[int]]:
    """Yield the places of some counts, those that are 0 left out: as many as make up `_ROWS`, or one."""
    some: list[int] = []
    held = 0
    for place, count in enumerate(counts):
        if some and held + count > _ROWS:
            yield some
            some, held = [], 0
        if count:
            some.append(place)
            held += count
    if some:
        yield some


def _directions(vectors_RE: np.ndarray) -> np.ndarray:
    """Return vectors at length 1, float64; one of zeros has no direction, and stays zeros."""
    wide_RE = vectors_RE.astype(np.float64)
    long_R = np.sqrt(np.einsum("re,re->r", wide_RE, wide_RE))
    wide_RE /= np.where(long_R > 0, long_R, 1)[:, None]
    return wide_RE


def _summed(
    snapshot: Snapshot, positions: np.ndarray, codes_R: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the sums of rows of the same code and the same class.

    Returns
    -------
    keys_F, sums_FE, counts_F
        Code x C + class, ascending; the sum in units of 2^-40; how many rows are in it. All of them int64.
    """
    at_V, _, labels_V, parts_V = voices(snapshot, positions[:, None])
    keys_V = codes_R[at_V] * len(snapshot.label_names) + labels_V
    order = np.argsort(keys_V, kind="stable")
    keys_F, pair_V, counts_F = np.unique(keys_V[order], return_inverse=True, return_counts=True)
    sums_FE = np.zeros((len(keys_F), snapshot.vectors_ME.shape[1]), np.int64)
    for start in range(0, len(order), _ROWS):
        some = order[start : start + _ROWS]
        vectors = np.asarray(snapshot.vectors_ME[positions[at_V[some]]], np.float64)
        whole = np.rint(vectors * (_UNIT / parts_V[some, None])).astype(np.int64)
        pairs, begins = np.unique(pair_V[start : start + _ROWS], return_index=True)
        sums_FE[pairs] += np.add.reduceat(whole, begins, axis=0)
    return keys_F, sums_FE, counts_F
