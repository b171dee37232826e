"""The nearest rows of a query by cosine, exactly: which they are depends neither on its company nor on a library.

Candidates are found in float32, as fast as the machine can: one product of the vectors and a query, or FAISS for many.
Their similarities are then computed anew in float64, row by row, rounded, and put in order. Every row that the rounding
of float32 could have hidden is a candidate; where more of them may lie beyond those that were fetched, all rows are
looked at. The product of vectors may come out differently with each library, block and machine: the answer doesn't.

Shapes: M positions of a snapshot, N rows that may be found, Q queries, K neighbours, L candidates, E embedding width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple, Protocol

import numpy as np

from itae.base.device import memory_told
from itae.base.errors import UserError
from itae.base.progress import progress
from itae.knowledge.records.similarity import margin, similarities, unit
from itae.knowledge.records.snapshot import Snapshot
from itae.measure.faiss_backend import load_faiss, nearest_in, pick_gpu, threads

MISSING = -1
"""The position where a query has fewer rows than asked for; its similarity is -inf."""

INDEX = "index"
"""The memo of a snapshot under which the index is that it was given."""

WORKERS = "workers"
"""The memo of a snapshot under which those are that look for its neighbours."""

_CANDIDATES = 10  # times as many as asked for, of an index
_FEW = 16  # queries; FAISS is quicker from about here on
_SPARE = 4  # candidates more than asked for, so that few queries need a second look
_TWINS = 256  # rows in a query's excluded ones; looked for among the neighbours up to here, left out beyond
_FLOATS = 2**25  # held at a time beside the vectors: 128 MB
_READ = 2**23  # numbers read at a time of vectors on the disk, of which there may be two


class Excluded(NamedTuple):
    """Rows that a query must not find: those whose code is its own.

    Parameters
    ----------
    codes_M
        Whole numbers, one for each position of the snapshot.
    codes_Q
        One for each query; one that no row has excludes nothing.
    """

    codes_M: np.ndarray
    codes_Q: np.ndarray


class Candidates(Protocol):
    """An index: says which rows may be near, past memory. `itae.knowledge.near.index` has FAISS's."""

    @property
    def note(self) -> str:
        """How many of the nearest it finds, in words."""

    def candidates(self, queries_QE: np.ndarray, count: int) -> np.ndarray:
        """Return positions of `count` rows for each query, int64 [Q, count]; `MISSING` where it found fewer."""


class Workers(Protocol):
    """Other processes that have the same rows; `itae.knowledge.near.on_ray` has those of a Ray cluster."""

    def nearest(
        self,
        snapshot: Snapshot,
        queries_QE: np.ndarray,
        k: int,
        rows: np.ndarray,
        excluded: Excluded | None,
        device: str,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return what `nearest` does, of at least one query, of length 1, and at least one row, all of them live."""


def nearest(
    snapshot: Snapshot,
    queries_QE: np.ndarray,
    k: int,
    rows: np.ndarray | None = None,
    excluded: Excluded | None = None,
    device: str = "auto",
    index: Candidates | Literal["its own"] | None = "its own",
) -> tuple[np.ndarray, np.ndarray]:
    """Return the `k` rows nearest to each query, nearest first; of equally near ones the smaller id first.

    Parameters
    ----------
    snapshot
        The base.
    queries_QE
        Finite, of any length but 0; see `itae.knowledge.records.similarity.unit`.
    k
        How many, at least 1; where there are not so many rows, all of them.
    rows
        Which may be found: positions, ascending. By default all live ones.
    excluded
        Which rows are out for which query.
    device
        ``auto``, ``cpu``, ``cuda`` or ``cuda:1``: where many queries are looked for, if FAISS has such a GPU.
    index
        What gives candidates; by default that which the snapshot was given (`itae.knowledge.near.index.use_index`), if
        one was. None is exact. Without one, the snapshot's workers look, if it has any: the result is the same.

    Returns
    -------
    positions_QK, similarities_QK
        int64 and float64. The similarity is the cosine in float64, clipped to [-1, 1] and rounded to 1e-6. K is at most
        `k`, and as many as the query with most rows has; a query that has fewer ends in `MISSING` and -inf.

    Raises
    ------
    UserError
        When `k` is below 1; when a query has no direction, or another width than the base; when FAISS is missing.
    """
    queries_QE = unit(queries_QE, snapshot.vectors_ME.shape[1] if len(snapshot.vectors_ME) else None)
    if k < 1:
        raise UserError(f"k={k} must be at least 1: how many neighbours are asked for.")
    rows = snapshot.live if rows is None else rows
    index = snapshot.memo.get(INDEX) if index == "its own" else index
    workers: Workers | None = snapshot.memo.get(WORKERS)
    if workers is not None and index is None and len(queries_QE) and len(rows):
        return workers.nearest(snapshot, queries_QE, k, rows, excluded, device)
    search = _Search(snapshot, queries_QE, rows, excluded, device)
    search.index = index
    return search(min(k, len(rows)))


class _Search:
    """One call of `nearest`."""

    def __init__(
        self, snapshot: Snapshot, queries_QE: np.ndarray, rows: np.ndarray, excluded: Excluded | None, device: str
    ) -> None:
        self.snapshot, self.vectors_ME = snapshot, snapshot.vectors_ME
        self.queries_QE, self.rows, self.excluded, self.device = queries_QE, rows, excluded, device
        self.margin = margin(queries_QE.shape[1])
        self.index: Candidates | None = None
        self.advance: Callable[[int], object] = lambda count: None

    def __call__(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        q, n = len(self.queries_QE), len(self.rows)
        self.positions_QK, self.similar_QK = np.full((q, k), MISSING), np.full((q, k), -np.inf)
        if not k or not q:
            return self.positions_QK, self.similar_QK
        out_Q = self._counts()
        if self.index is not None:
            for some in _parts(np.arange(q), _CANDIDATES * k):
                self._by_index(some, self.index, out_Q)
        elif q < _FEW:
            self._by_scan(np.arange(q), self.rows)
        else:
            what = f"for the neighbours of {q} vectors among {n}; ask for fewer at a time, or set runtime.device=cpu"
            with memory_told(what), progress(q, "neighbours", "queries") as self.advance:
                self._by_faiss(out_Q, k)
        most = int(min(k, n - out_Q.min()))
        return self.positions_QK[:, :most], self.similar_QK[:, :most]

    def _counts(self) -> np.ndarray:
        """Return how many of the rows are out for each query."""
        if self.excluded is None:
            return np.zeros(len(self.queries_QE), np.int64)
        codes, counts = np.unique(self.excluded.codes_M[self.rows], return_counts=True)
        if not len(codes):
            return np.zeros(len(self.queries_QE), np.int64)
        at = np.minimum(np.searchsorted(codes, self.excluded.codes_Q), len(codes) - 1)
        return np.where(codes[at] == self.excluded.codes_Q, counts[at], 0)

    def _by_faiss(self, out_Q: np.ndarray, k: int) -> None:
        """Look for many queries: those together that have about as many excluded rows."""
        for low, high in ((-1, 2), (2, 32), (32, _TWINS)):
            some = np.flatnonzero((out_Q > low) & (out_Q <= high))
            for part in _parts(some, k + high):
                if len(part) < _FEW:
                    self._by_scan(part, self.rows)
                else:
                    self._by_fetching(part, self.rows, k, int(out_Q[part].max()))
        self._without_large(np.flatnonzero(out_Q > _TWINS), k)

    def _without_large(self, large: np.ndarray, k: int) -> None:
        """Look for queries of which many rows are out: those of one code together, among all other rows."""
        if not len(large):
            return
        assert self.excluded is not None
        codes_M, codes_Q = self.excluded
        for code in np.unique(codes_Q[large]):
            some = large[codes_Q[large] == code]
            others = self.rows[codes_M[self.rows] != code]
            if len(some) < _FEW:
                self._by_scan(some, self.rows)
            elif len(others):
                self._by_fetching(some, others, k, 0)

    def _by_index(self, some: np.ndarray, index: Candidates, out_Q: np.ndarray) -> None:
        """Look among what an index gives, more of it where too little may be found, and else at all rows."""
        allowed_M = np.zeros(len(self.snapshot.alive_M), bool)
        allowed_M[self.rows] = True
        k, n, count = self.positions_QK.shape[1], len(self.rows), _CANDIDATES * self.positions_QK.shape[1]
        while len(some) and count < n:
            found_QL = index.candidates(self.queries_QE[some], count)
            found_QL = np.where(allowed_M[found_QL], found_QL, MISSING)
            if self.excluded is not None:
                codes_M, codes_Q = self.excluded
                found_QL = np.where(codes_M[found_QL] == codes_Q[some, None], MISSING, found_QL)
            similar_QL = similarities(self.vectors_ME, self.queries_QE[some], found_QL)
            similar_QL[found_QL == MISSING] = -np.inf
            found_QL, similar_QL = self._ordered(found_QL, similar_QL)
            whole_Q = (found_QL != MISSING).sum(axis=1) >= np.minimum(k, n - out_Q[some])
            self._put(some[whole_Q], found_QL[whole_Q], similar_QL[whole_Q])
            some, count = some[~whole_Q], 8 * count
        self._by_scan(some, self.rows)

    def _by_fetching(self, some: np.ndarray, rows: np.ndarray, k: int, twins: int) -> None:
        """Fetch a few candidates more than can be needed, and look again where that may not have been enough."""
        found_QL, scores_QL = self._fetch(some, rows, min(k + twins + _SPARE, len(rows)))
        whole = found_QL.shape[1] == len(rows)
        if self.excluded is not None and twins:
            codes_M, codes_Q = self.excluded
            twin_QL = codes_M[found_QL] == codes_Q[some, None]
            first_QL = np.argsort(twin_QL, axis=1, kind="stable")
            found_QL, scores_QL, twin_QL = (np.take_along_axis(a, first_QL, 1) for a in (found_QL, scores_QL, twin_QL))
            found_QL = np.where(twin_QL, MISSING, found_QL)
        keep = min(k + _SPARE, found_QL.shape[1])
        cut = found_QL.shape[1] == keep and whole
        last_Q = np.full(len(some), -np.inf) if cut else scores_QL[:, keep - 1].astype(np.float64)
        found_QL = found_QL[:, :keep]
        similar_QL = similarities(self.vectors_ME, self.queries_QE[some], found_QL)
        similar_QL[found_QL == MISSING] = -np.inf
        found_QL, similar_QL = self._ordered(found_QL, similar_QL)
        sure_Q = (last_Q + self.margin < similar_QL[:, min(k, keep) - 1]) | cut
        sure_Q &= (found_QL[:, min(k, keep) - 1] != MISSING) | cut
        self._put(some[sure_Q], found_QL[sure_Q], similar_QL[sure_Q])
        self.advance(int(sure_Q.sum()))
        self._by_scan(some[~sure_Q], self.rows)

    def _fetch(self, some: np.ndarray, rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the `count` rows of the largest products with each query, positions and float32, largest first."""
        faiss = load_faiss()
        gpu, found, scores = pick_gpu(faiss, self.device), None, None
        for part, vectors in _blocks(self.vectors_ME, rows):
            with threads(faiss):
                score_QL, at_QL = nearest_in(faiss, self.queries_QE[some], vectors, min(count, len(part)), gpu)
            here = part[at_QL]
            if found is not None and scores is not None:
                here, score_QL = np.hstack([found, here]), np.hstack([scores, score_QL])
                best_QL = np.argsort(-score_QL, axis=1, kind="stable")[:, :count]
                here, score_QL = np.take_along_axis(here, best_QL, 1), np.take_along_axis(score_QL, best_QL, 1)
            found, scores = here, score_QL
        assert found is not None
        assert scores is not None
        return found, scores

    def _by_scan(self, some: np.ndarray, rows: np.ndarray) -> None:
        """Look at all rows: one product of the vectors and a few queries at a time."""
        step = max(1, min(64, _FLOATS // 2 // max(1, len(rows))))
        for start in range(0, len(some), step):
            part = some[start : start + step]
            scores_QN = self._products(part, rows)
            for query, score_N in zip(part.tolist(), scores_QN, strict=True):
                self._one(query, rows, score_N)
            self.advance(len(part))

    def _products(self, some: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return the product of each of some queries and each of the rows, float32 [q, n]."""
        queries_QE, m = self.queries_QE[some], len(self.vectors_ME)
        most = len(rows) > m // 2  # to copy those would take longer than to multiply all
        blocks = _blocks(self.vectors_ME, np.arange(m) if most else rows)
        parts = [queries_QE @ vectors.T for _, vectors in blocks]
        scores_QN = parts[0] if len(parts) == 1 else np.hstack(parts)
        return scores_QN[:, rows] if most and len(rows) < m else scores_QN

    def _one(self, query: int, rows: np.ndarray, score_N: np.ndarray) -> None:
        """Put the neighbours of one query, given the products of all rows with it."""
        if self.excluded is not None:
            codes_M, codes_Q = self.excluded
            inside = codes_M[rows] != codes_Q[query]
            rows, score_N = rows[inside], score_N[inside]
        k = min(self.positions_QK.shape[1], len(rows))
        if not k:
            return
        # k rows reach this less one margin in truth; what stays below it by two can't be among the first k.
        least = np.partition(score_N, len(rows) - k)[len(rows) - k] - 2 * self.margin
        found_1L = rows[score_N >= least][None]
        similar_1L = similarities(self.vectors_ME, self.queries_QE[query : query + 1], found_1L)
        self._put(np.array([query]), *self._ordered(found_1L, similar_1L))

    def _ordered(self, found_QL: np.ndarray, similar_QL: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return candidates by their similarity, those of one similarity by id."""
        by_QL = np.argsort(-similar_QL, axis=1, kind="stable")
        found_QL, similar_QL = np.take_along_axis(found_QL, by_QL, 1), np.take_along_axis(similar_QL, by_QL, 1)
        tied_QL = np.zeros(found_QL.shape, bool)
        tied_QL[:, 1:] = (similar_QL[:, 1:] == similar_QL[:, :-1]) & (found_QL[:, 1:] != MISSING)
        tied_QL[:, :-1] |= tied_QL[:, 1:]
        some = tied_QL.any(axis=1)
        if not some.any():
            return found_QL, similar_QL
        tied = np.unique(found_QL[tied_QL])
        by_id = sorted(range(len(tied)), key=[self.snapshot.ids[i] for i in tied.tolist()].__getitem__)
        rank = np.empty(len(tied), np.int64)
        rank[by_id] = np.arange(len(tied))
        ranks_QL = np.where(tied_QL[some], rank[np.searchsorted(tied, found_QL[some]).clip(max=len(tied) - 1)], 0)
        by_QL = np.lexsort((ranks_QL, -similar_QL[some]), axis=1)
        found_QL[some] = np.take_along_axis(found_QL[some], by_QL, 1)
        return found_QL, similar_QL

    def _put(self, some: np.ndarray, found_QL: np.ndarray, similar_QL: np.ndarray) -> None:
        k = min(self.positions_QK.shape[1], found_QL.shape[1])
        self.positions_QK[some, :k], self.similar_QK[some, :k] = found_QL[:, :k], similar_QL[:, :k]


def _parts(some: np.ndarray, numbers: int) -> list[np.ndarray]:
    """Return queries in as many parts as it takes to hold so many numbers of each of them at a time."""
    return np.array_split(some, max(1, -(-len(some) * numbers // _FLOATS)))


def _blocks(vectors_ME: np.ndarray, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield positions and their vectors: rows that lie together as they are, others copied, some at a time."""
    together = len(rows) and rows[-1] - rows[0] == len(rows) - 1
    if together and type(vectors_ME) is np.ndarray:
        yield rows, vectors_ME[rows[0] : rows[-1] + 1]
        return
    step = max(1, (_FLOATS if type(vectors_ME) is np.ndarray else _READ) // max(1, vectors_ME.shape[1]))
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        yield part, np.asarray(vectors_ME[part[0] : part[-1] + 1] if together else vectors_ME[part])
