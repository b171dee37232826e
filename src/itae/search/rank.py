"""The one function that ranks: for the command, the page and simulated users.

The order is that of scores in float64, of similarities that are computed pair by pair and rounded: no library, block or
order of rows changes it. Among many rows a rule is asked first what each could be worth at most, with similarities of
float32 and what they may be off by; only those that may come first are computed anew. Past memory an index says which
rows are near the query, near each yes and their mean, and where scores grow; the rule puts those in order.

Shapes: M positions of a snapshot, J judged with the query, R rows, K results.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from itae.base.errors import UserError
from itae.base.names import choice_of
from itae.knowledge.near.neighbours import INDEX, MISSING, Candidates
from itae.knowledge.records.similarity import of_length_1, similarities
from itae.search.alike import Alike
from itae.search.judged import Judged, Marks, Query, judged
from itae.search.rule import Near, Rule

_BLOCK = 2**15  # rows whose scores are computed together, in the processor's cache
_SPARE = 32  # rows computed anew beyond those asked for
_CANDIDATES, _MORE = 10, 8  # times as many as asked for, of an index; times as many again where that was too few
_DECIMALS = 9  # of a score: sums of the same numbers in another order are equal


@dataclass(frozen=True, eq=False)
class Found:
    """What a round of a search shows, best first.

    Parameters
    ----------
    positions_K
        Of the rows, int64.
    similarities_K
        To the query, float64, rounded to 1e-6.
    scores_K
        By the rule, float64, rounded to 1e-9.
    nearest_K
        The judged row that each is most alike to, a position, or -1 for the query, where that is an image or all there
        is; of equal ones the query, then yes, then the smaller id.
    notes
        What to know, in sentences.
    """

    positions_K: np.ndarray
    similarities_K: np.ndarray
    scores_K: np.ndarray
    nearest_K: np.ndarray
    notes: tuple[str, ...] = ()

    def taken(self, order_K: np.ndarray) -> Found:
        """Return the same rows in another order."""
        return Found(
            self.positions_K[order_K],
            self.similarities_K[order_K],
            self.scores_K[order_K],
            self.nearest_K[order_K],
            self.notes,
        )


def rank(
    alike: Alike,
    query: Query,
    marks: Marks,
    rule: Rule,
    count: int,
    rows: np.ndarray | None = None,
    keep_judged: bool = False,
) -> Found:
    """Return the rows that a rule puts first, of equal scores the more similar one first, then the smaller id.

    Rows that were judged, and those that are the query itself, are out.

    Parameters
    ----------
    alike
        The similarities of a snapshot, which are kept in it for the next round.
    query, marks
        What the search goes by.
    rule
        See `itae.search.rules`.
    count
        How many rows, at least 1; where there are not so many, all of them.
    rows
        Which may be found: positions, ascending. By default all live ones.
    keep_judged
        Whether what was judged and the query's own rows come first, beyond `count`, in the same order.

    Raises
    ------
    UserError
        When `count` is below 1, a query has no direction or another width than the base, or a rule gives what is no
        finite number for each row.
    """
    if count < 1:
        raise UserError(f"n={count} must be at least 1: how many images are shown.")
    snapshot = alike.snapshot
    rows = snapshot.live if rows is None else rows
    seen = judged(snapshot, query, marks)
    ranking = _Ranking(alike, seen, rule.fitted(seen))
    out = np.union1d(marks.all, query.rows)
    first = ranking(np.intersect1d(rows, out), len(out)) if keep_judged and len(out) else ranking.nothing()
    rest = ranking(without(rows, out), count)
    positions, similar, scores, nearest = (np.concatenate(pair) for pair in zip(first, rest, strict=True))
    return Found(positions, similar, scores, seen.rows_J[nearest], tuple(rule.notes(seen)))


def without(rows: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Return ascending positions without some others, of which there are few, and which may not be among them."""
    at = np.searchsorted(rows, out)
    at = at[at < len(rows)]
    return np.delete(rows, at[np.isin(rows[at], out)])


class _Ranking:
    """One round: a rule that is fitted, and the similarities it goes by."""

    def __init__(self, alike: Alike, seen: Judged, rule: Rule) -> None:
        self.alike, self.snapshot, self.seen, self.rule = alike, alike.snapshot, seen, rule
        self.vectors_JE = seen.vectors
        if seen.words_E is not None:  # last, behind those that count
            self.vectors_JE = np.concatenate([self.vectors_JE, seen.words_E[None]])
        self.index: Candidates | None = self.snapshot.memo.get(INDEX)
        self.columns = alike.columns(self.vectors_JE) if self.index is None else []

    def nothing(self) -> tuple[np.ndarray, ...]:
        return np.zeros(0, np.int64), np.zeros(0), np.zeros(0), np.zeros(0, np.int64)

    def __call__(self, rows: np.ndarray, count: int) -> tuple[np.ndarray, ...]:
        """Return positions, similarities, scores, and which judged one is nearest, of the first rows."""
        count = min(count, len(rows))
        if not count:
            return self.nothing()
        if self.index is not None:
            return self._of_all(self._candidates(self.index, rows, count), count)
        if self.alike.exact:
            return self._ordered(rows, np.stack([column[rows] for column in self.columns]), count)
        if not self.rule.monotone:
            return self._of_all(rows, count)
        highest_R = self._at_most(rows)
        wanted = count + _SPARE
        while True:
            wanted = min(wanted, len(rows))
            some = np.argpartition(-highest_R, wanted - 1)[:wanted] if wanted < len(rows) else np.arange(len(rows))
            found = self._ordered(rows[some], self._anew(rows[some]), count)
            # Equal scores go by similarity and id: rows that may be equal to the last one are looked at, too.
            beyond = int((highest_R >= found[2][-1]).sum())
            if beyond <= wanted:
                return found
            wanted = beyond

    def _candidates(self, index: Candidates, rows: np.ndarray, count: int) -> np.ndarray:
        """Return those rows, ascending, that an index finds near what is liked; all where it finds too few.

        It is asked for rows near the query, each yes and their mean; for those that lie where the score grows, by each
        similarity as much as that alone adds to it, which is all there is to a rule that weighs similarities; and for
        those near one that is liked and away from the no.
        """
        judged, many = len(self.seen.rows_J), len(self.vectors_JE)
        liked_LE = self.vectors_JE[
            [*range(1 + len(self.seen.yes_YE)), *range(judged, many)]
        ]  # and the words themselves
        alone_J, nothing = np.split(self.rule.scores(self._near(np.eye(many, many + 1))), [many])
        grows_1E = ((alone_J - nothing) @ self.vectors_JE.astype(np.float64))[None]
        more = [liked_LE.mean(axis=0, keepdims=True), grows_1E]
        if len(self.seen.no_NE):
            more.append(liked_LE - self.seen.no_NE.mean(axis=0))
        more_2E, lost = of_length_1(np.concatenate(more))
        asked_QE = np.concatenate([liked_LE, more_2E[~lost]])
        wanted = _CANDIDATES * (count + len(self.seen.rows_J))
        while wanted < len(rows):
            found = np.unique(index.candidates(asked_QE, wanted))
            found = np.intersect1d(found[found != MISSING], rows, assume_unique=True)
            if len(found) >= count:
                return found
            wanted *= _MORE
        return rows

    def _at_most(self, rows: np.ndarray) -> np.ndarray:
        """Return what each row's score could be at most, float32 [R]."""
        liked = 1 + len(self.seen.yes_YE)
        shift_J1 = np.full((len(self.columns), 1), self.alike.margin, np.float32)
        shift_J1[liked : len(self.seen.rows_J)] *= -1
        together = rows[-1] - rows[0] == len(rows) - 1
        highest_R = np.empty(len(rows), np.float32)
        for start in range(0, len(rows), _BLOCK):
            some = slice(start, start + _BLOCK)
            part = slice(rows[0] + start, min(rows[0] + start + _BLOCK, rows[-1] + 1)) if together else rows[some]
            all_JR = np.stack([column[part] for column in self.columns])
            with np.errstate(over="ignore", invalid="ignore"):
                highest_R[some] = self._scores(self._near(all_JR + shift_J1))
        highest_R[~np.isfinite(highest_R)] = np.inf  # what float32 can't hold may be anything
        return highest_R

    def _scores(self, near: Near) -> np.ndarray:
        """Return what the rule says of some rows; a `UserError` where that is no number for each."""
        scores_R, rows = np.asarray(self.rule.scores(near)), near.all_JR.shape[1]
        if scores_R.shape != (rows,) or scores_R.dtype.kind not in "fiub":
            raise UserError(
                f"feedback={choice_of(type(self.rule).__name__)} gave scores of shape {scores_R.shape} and type "
                f"{scores_R.dtype}; they must be {rows} numbers, one for each row."
            )
        return scores_R

    def _anew(self, rows: np.ndarray) -> np.ndarray:
        """Return the similarities of rows in float64, [J, R]."""
        each = np.broadcast_to(rows, (len(self.vectors_JE), len(rows)))
        return similarities(self.snapshot.vectors_ME, self.vectors_JE, each)

    def _of_all(self, rows: np.ndarray, count: int) -> tuple[np.ndarray, ...]:
        """Return the first rows by a rule of which nothing is known: all scores in float64, some rows at a time."""
        best = self.nothing()
        for start in range(0, len(rows), _BLOCK):
            part = rows[start : start + _BLOCK]
            kept = np.union1d(best[0], part)
            best = self._ordered(kept, self._anew(kept), min(count, len(kept)))
        return best

    def _near(self, all_JR: np.ndarray) -> Near:
        judged = len(self.seen.rows_J)
        words_R = None if self.seen.words_E is None else all_JR[judged]
        return Near(all_JR[:judged], len(self.seen.yes_YE), self.seen.is_text, words_R)

    def _ordered(self, rows: np.ndarray, all_JR: np.ndarray, count: int) -> tuple[np.ndarray, ...]:
        """Return the first of some rows, whose similarities are in float64."""
        near = self._near(all_JR)
        with np.errstate(over="ignore", invalid="ignore"):
            scores_R = np.round(self._scores(near).astype(np.float64), _DECIMALS) + 0.0
        if not np.isfinite(scores_R).all():
            raise UserError(
                f"feedback={choice_of(type(self.rule).__name__)} gave a score that is not finite, or too large; mend "
                "the rule, or take smaller numbers for its options."
            )
        by_R = np.lexsort((self._ranks(rows), -near.query, -scores_R))[:count]
        first = int(self.seen.is_text and len(near.all_JR) > 1)  # words are no image that another could be like
        return rows[by_R], near.query[by_R], scores_R[by_R], first + near.all_JR[first:, by_R].argmax(axis=0)

    def _ranks(self, rows: np.ndarray) -> np.ndarray:
        """Return numbers in the order of the rows' ids."""
        ids = self.snapshot.ids
        if not self.alike.exact:
            rank_R = np.empty(len(rows), np.int64)
            rank_R[sorted(range(len(rows)), key=[ids[i] for i in rows.tolist()].__getitem__)] = np.arange(len(rows))
            return rank_R
        return self.snapshot.rank_of_id[rows]
