"""One side's searches, round after round: a page is shown, the user judges it, the rule ranks what is left.

Scores are of the residual collection: neither the query nor what was judged is in it, so that no rule is paid for
putting first what it was told is right. What similarity alone makes of the very same collection stands beside each.

Shapes: M rows of the collection, E embedding width, S searches, P images of a page.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from itae.base.progress import progress
from itae.knowledge.records.similarity import unit
from itae.measure.retrieval import AT, ranking_scores
from itae.search.alike import Alike
from itae.search.diverse import diverse
from itae.search.judged import Marks, Query
from itae.search.rank import rank
from itae.search.rules import Unchanged
from itae.search.users import generator
from itae.tasks.feedback.methods import CEILING, PSEUDO, RANDOM, Method
from itae.tasks.feedback.searches import Search, Searches

SCORES = ("r_at_1", "r_at_10", "p_at_10", "map_at_r")
NONE = ("none_r_at_1", "none_map_at_r")
"""What similarity alone comes to on the same residual collection."""
COLUMNS = (*SCORES, *NONE, "judged", "found")
"""What is known of each search after a round: scores, images judged so far, and how many of these were wanted."""
BEFORE = ("r_at_1", "map_at_r")
"""What is known of each search before anything is judged: scores of similarity alone on the whole collection."""
PAGES = ("plain", "diverse", "rule")
"""What a next page may be, where the first had nothing that was wanted."""
_NONE = Unchanged()


class Case(NamedTuple):
    """A method, how many images a page has, and after which round, from 1."""

    method: str
    judged: int
    round: int


@dataclass(frozen=True, eq=False)
class Simulated:
    """All searches of one side.

    Parameters
    ----------
    values
        Of each case float64 [`COLUMNS`, S]; scores are NaN where nothing that is wanted was left.
    before
        Float64 [`BEFORE`, S].
    first
        By the images of a page: how many of the first one are wanted, int64 [S].
    next_page
        By the images of a page: whether the next one has something wanted, bool [`PAGES`, S]; False where the first
        one had, too.
    notes
        How often a method had something said of a round, by its name and the sentence.
    rounds
        How many rounds each method had in all.
    """

    values: Mapping[Case, np.ndarray]
    before: np.ndarray
    first: Mapping[int, np.ndarray]
    next_page: Mapping[int, np.ndarray]
    notes: Mapping[tuple[str, str], int]
    rounds: int


@dataclass(frozen=True)
class Plan:
    """What is simulated.

    Parameters
    ----------
    user
        Who judges.
    methods
        The run's own first.
    pages
        How many images a page has, each a simulation of its own.
    rounds
        How many pages are judged.
    seed
        Of the run, by which noise and random images are drawn.
    """

    user: Any
    methods: Sequence[Method]
    pages: Sequence[int]
    rounds: int
    seed: int


def simulate(alike: Alike, queries_QE: np.ndarray, searches: Searches, plan: Plan) -> Simulated:
    """Simulate all searches on one side.

    Parameters
    ----------
    alike
        The collection.
    queries_QE
        Vectors of all that may be queries, float32.
    searches, plan
        Who wants what, and what is done about it.
    """
    count = len(searches.each)
    cases = [Case(one.name, page, t + 1) for one in plan.methods for page in plan.pages for t in range(plan.rounds)]
    values = {case: np.full((len(COLUMNS), count), np.nan) for case in cases}
    before = np.full((len(BEFORE), count), np.nan)
    first = {page: np.zeros(count, np.int64) for page in plan.pages}
    next_page = {page: np.zeros((len(PAGES), count), bool) for page in plan.pages}
    notes: Counter[tuple[str, str]] = Counter()
    by_id = np.argsort(alike.snapshot.rank_of_id)
    vectors_QE = unit(queries_QE)
    with progress(count, "searching", "searches") as advance:
        for s, search in enumerate(searches.each):
            one = _One(alike, vectors_QE[search.query], search, plan, by_id)
            plain = ranking_scores(one.is_wanted[one.plain], len(search.wanted))
            before[:, s] = [plain[name] for name in BEFORE]
            for page in plan.pages:
                first[page][s] = one.is_wanted[one.plain[:page]].sum()
                if not first[page][s]:
                    next_page[page][:, s] = one.next_pages(page)
                for method in plan.methods:
                    for t, told in enumerate(one.rounds(method, page)):
                        values[Case(method.name, page, t + 1)][:, s] = told
            notes.update(one.notes)
            advance(1)
    return Simulated(values, before, first, next_page, notes, count * len(plan.pages) * plan.rounds)


class _One:
    """One search on one side."""

    def __init__(self, alike: Alike, query_E: np.ndarray, search: Search, plan: Plan, by_id: np.ndarray) -> None:
        self.alike, self.search, self.plan, self.by_id = alike, search, plan, by_id
        self.query = Query(query_E, rows=search.out)
        self.is_wanted = np.zeros(len(by_id), bool)
        self.is_wanted[search.wanted] = True
        self.notes: list[tuple[str, str]] = []
        most = max(plan.pages) * (plan.rounds + 1) + max(AT, len(search.wanted))
        self.plain = rank(alike, self.query, Marks(), _NONE, most).positions_K

    def rounds(self, method: Method, page: int) -> list[list[float]]:
        """Return the `COLUMNS` after each round."""
        told: list[list[float]] = []
        yes: list[int] = []
        no: list[int] = []
        seen = np.zeros(len(self.is_wanted), bool)
        drawn = self._drawn(page) if method.kind == RANDOM else None
        shown = self.plain[:page] if drawn is None else drawn[:page]
        for t in range(self.plan.rounds):
            marks_P = self._marked(shown, method)
            yes, no = [*yes, *shown[marks_P].tolist()], [*no, *shown[~marks_P].tolist()]
            seen[shown] = True
            left = self.plain[~seen[self.plain]]
            ranking = left if method.rule == _NONE and method.kind != CEILING else self._ranked(method, yes, no, seen)
            told.append(self._scores(ranking, left, seen))
            shown = ranking[:page] if drawn is None else drawn[page * (t + 1) : page * (t + 2)]
        return told

    def next_pages(self, page: int) -> list[bool]:
        """Return for each of `PAGES` whether it has something that is wanted, after a first one that had nothing."""
        shown = self.plain[:page]
        marks_P = self.plan.user.marks(self.is_wanted[shown], self._ids(shown), self.search.name, self.plan.seed)
        marks = Marks(shown[marks_P].tolist(), shown[~marks_P].tolist())
        pages = (
            self.plain[page : 2 * page],
            diverse(self.alike, self.query, marks, page),
            rank(self.alike, self.query, marks, self.plan.methods[0].rule, page).positions_K,
        )
        return [bool(self.is_wanted[one].any()) for one in pages]

    def _ids(self, rows: np.ndarray) -> list[str]:
        return [self.alike.snapshot.ids[i] for i in rows.tolist()]

    def _marked(self, shown: np.ndarray, method: Method) -> np.ndarray:
        if method.kind == PSEUDO:
            return np.ones(len(shown), bool)
        return self.plan.user.marks(self.is_wanted[shown], self._ids(shown), self.search.name, self.plan.seed)

    def _drawn(self, page: int) -> np.ndarray:
        """Return random images in a drawn order, as many as will be judged; by ids, so that rows may stand anyhow."""
        there = self.by_id[~np.isin(self.by_id, self.search.out)]
        many = min(page * self.plan.rounds, len(there))
        draw = generator(self.plan.seed, "random images", self.search.name)
        return there[draw.choice(len(there), many, replace=False)]

    def _ranked(self, method: Method, yes: list[int], no: list[int], seen: np.ndarray) -> np.ndarray:
        wanted_left = int((self.is_wanted & ~seen).sum())
        query = self.query
        if method.kind == CEILING:
            wanted = self.by_id[self.is_wanted[self.by_id]]  # in an order that is not that of the rows
            mean_E = self.alike.snapshot.vectors_ME[wanted].astype(np.float64).mean(axis=0)
            query = Query(unit(mean_E[None])[0], rows=self.search.out) if mean_E.any() else query
        found = rank(self.alike, query, Marks(yes, no), method.rule, max(AT, wanted_left, *self.plan.pages))
        self.notes += [(method.name, note) for note in found.notes]
        return found.positions_K

    def _scores(self, ranking: np.ndarray, left: np.ndarray, seen: np.ndarray) -> list[float]:
        positives = int((self.is_wanted & ~seen).sum())
        judged, found = float(seen.sum()), float((self.is_wanted & seen).sum())
        if not positives:
            return [*[np.nan] * len((*SCORES, *NONE)), judged, found]
        own, none = (ranking_scores(self.is_wanted[one], positives) for one in (ranking, left))
        return [*(own[name] for name in SCORES), none["r_at_1"], none["map_at_r"], judged, found]
