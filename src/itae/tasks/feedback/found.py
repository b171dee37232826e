"""All that a run of simulated feedback found: means, pairs and intervals over searches.

A search in which nothing that is wanted is left has no score. What each search adds to a mean is then taken where that
mean, a ratio of two, is linear (Cochran, 1977, Sampling Techniques, 6.3), as `itae.measure.intervals` does for ACC of
those in a cluster: means of two sides are each over their own searches, and their difference is the delta.

Shapes: S searches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from itae.measure.intervals import by_group, mean_interval
from itae.tasks.feedback.searches import Searches
from itae.tasks.feedback.simulate import BEFORE, COLUMNS, SCORES, Case, Plan, Simulated

SIDES = ("baseline", "edited")
MEASURES = (*SCORES, "gain", "harm_rate", "gain_per_judged")
"""What is told of each case."""


class Mean(NamedTuple):
    """A mean over searches and both ends of its 95 % interval; None where there is none."""

    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, eq=False)
class Found:
    """What was simulated, and what came out.

    Parameters
    ----------
    searches, plan
        The same on both sides.
    sides
        ``baseline`` and ``edited``.
    own
        Whether the collection is the queries' own images.
    rows
        How many images it has.
    """

    searches: Searches
    plan: Plan
    sides: Mapping[str, Simulated]
    own: bool
    rows: int

    @property
    def headline(self) -> Case:
        """The case that the run's metrics are of: its own rule, the first size of a page, after the last round."""
        return Case(self.plan.methods[0].name, self.plan.pages[0], self.plan.rounds)

    @property
    def told_sides(self) -> tuple[str, ...]:
        """The sides that differ: one where nothing was changed."""
        return SIDES[:1] if self.sides["baseline"] is self.sides["edited"] else SIDES

    @property
    def cases(self) -> list[Case]:
        """All cases, those of a page's size and a round together."""
        plan = self.plan
        return [Case(one.name, page, t + 1) for page in plan.pages for t in range(plan.rounds) for one in plan.methods]

    def column(self, side: str, case: Case, name: str) -> np.ndarray:
        """Return a column of what was simulated, float64 [S]."""
        return self.sides[side].values[case][COLUMNS.index(name)]

    def measure(self, side: str, case: Case, name: str) -> np.ndarray:
        """Return one of `MEASURES` of each search, float64 [S], NaN where nothing was left to be found."""
        if name in SCORES:
            return self.column(side, case, name)
        own, none = (self.column(side, case, one) for one in ("map_at_r", "none_map_at_r"))
        if name == "harm_rate":
            return np.where(np.isfinite(own), own < none, np.nan)
        return (own - none) / (self.column(side, case, "judged") if name == "gain_per_judged" else 1.0)

    def mean(self, side: str, case: Case, name: str, some_S: np.ndarray | None = None) -> Mean:
        """Return the mean of a measure over some of the searches that have one."""
        values = self.measure(side, case, name) if name in MEASURES else self.column(side, case, name)
        return self._over(added(values if some_S is None else np.where(some_S, values, np.nan)))

    def delta(self, case: Case, name: str) -> Mean:
        """Return edited minus baseline."""
        before, after = (added(self.measure(side, case, name)) for side in SIDES)
        return self._over(None if before is None or after is None else after - before)

    def over_searches(self, values_S: np.ndarray) -> Mean:
        """Return the mean of numbers that all searches have."""
        return self._over(values_S.astype(np.float64))

    def before(self, side: str) -> dict[str, Mean]:
        """Return the means of similarity alone on the whole collection, before anything is judged, by `BEFORE`."""
        return {name: self._over(values_S) for name, values_S in zip(BEFORE, self.sides[side].before, strict=True)}

    def _over(self, values_S: np.ndarray | None) -> Mean:
        if values_S is None or not len(values_S):
            return Mean(None, None, None)
        low, high = mean_interval(by_group(values_S, self.searches.groups)) or (None, None)
        return Mean(float(values_S.mean()), low, high)

    def nothing(self, side: str, page: int) -> np.ndarray:
        """Return in which searches the first page has nothing that is wanted, bool [S]."""
        return self.sides[side].first[page] == 0

    def told(self) -> dict[str, Any]:
        """Return what stands in ``result.json`` as ``feedback``."""
        searches, own = self.searches, self.headline
        return {
            "searches": len(searches.each),
            "queries": {"could_be": searches.queries, "looked_at": searches.looked_at,
                        "without_a_wish": searches.wishless, "nothing_wanted": searches.hopeless},
            "collection": self.rows,
            "rule": own.method,
            "judged": list(self.plan.pages),
            "rounds": self.plan.rounds,
            "before": {side: {name: told_of(mean) for name, mean in self.before(side).items()} for side in SIDES},
            "rules": {side: [self._case(side, case) for case in self.cases] for side in SIDES},
            "zero_positive": {side: [self.zero(side, page) for page in self.plan.pages] for side in SIDES},
        }  # fmt: skip

    def _case(self, side: str, case: Case) -> dict[str, Any]:
        scored = int(np.isfinite(self.column(side, case, "map_at_r")).sum())
        told: dict[str, Any] = {"rule": case.method, "judged": case.judged, "round": case.round, "scored": scored}
        for name in (*MEASURES, "none_r_at_1", "none_map_at_r"):
            told[name] = told_of(self.mean(side, case, name))
        return told

    def zero(self, side: str, page: int) -> dict[str, Any]:
        """Return what is told of the searches whose first page has nothing that is wanted."""
        from itae.tasks.feedback.simulate import PAGES

        none_S = self.nothing(side, page)
        case = Case(self.headline.method, page, 1)
        count = int(none_S.sum())
        shares = {
            f"next_page_{name}": float(self.sides[side].next_page[page][i][none_S].mean()) if count else None
            for i, name in enumerate(PAGES)
        }
        means = {name: self.mean(side, case, name, none_S).mean
                 for name in ("r_at_1", "map_at_r", "none_r_at_1", "none_map_at_r", "gain")}  # fmt: skip
        return {"judged": page, "searches": count, "share": count / len(none_S), **shares, **means}


def told_of(one: Mean) -> dict[str, Any]:
    """Return a mean as JSON has it."""
    return {"mean": one.mean, "interval": None if one.low is None else [one.low, one.high]}


def added(values_S: np.ndarray) -> np.ndarray | None:
    """Return what each search adds to the mean of the values that there are, float64 [S]; None where there is none."""
    there_S = np.isfinite(values_S)
    if not there_S.any():
        return None
    mean = values_S[there_S].mean()
    return mean + np.where(there_S, values_S - mean, 0.0) / there_S.mean()
