"""What the task of feedback says of what it found: its metrics, the delta, details and tables for the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from itae.measure.scores import summarise
from itae.results.shown import Metric, Shown
from itae.tasks.feedback.figures import figures
from itae.tasks.feedback.files import FEEDBACK, files
from itae.tasks.feedback.found import MEASURES, SIDES, Found, Mean, added
from itae.tasks.feedback.methods import RULES, named
from itae.tasks.feedback.notes import notes
from itae.tasks.feedback.simulate import PAGES, Case
from itae.tasks.task import Outcome

_METRICS = {
    one.name: one
    for one in (
        Metric("map_at_r", "MAP@R"),
        Metric("r_at_1", "R@1"),
        Metric("r_at_10", "R@10"),
        Metric("p_at_10", "P@10"),
        Metric("gain", "gain in MAP@R over no feedback"),
        Metric("gain_per_judged", "gain for each image judged"),
        Metric("harm_rate", "searches that feedback harmed", better="lower"),
        Metric("zero_positive", "first pages without a wanted image", better="lower"),
    )
}
_TABLE = ("r_at_1", "map_at_r", "gain", "harm_rate")
_BINS = ((0, 0), (1, 1), (2, 3), (4, 6), (7, None))
"""Wanted images on the first page, by which searches are told apart."""


def outcome(found: Found) -> Outcome:
    """Return what the task says of itself."""
    values = {side: _values(found, side) for side in SIDES}
    numbers = {side: summarise([{name: None if one is None else float(one.mean()) for name, one in some.items()}])
               for side, some in values.items()}  # fmt: skip
    case = found.headline
    over = f"{case.method}, {case.judged} judged" + f", {case.round} rounds" * (case.round > 1)
    return Outcome(
        baseline=numbers["baseline"],
        edited=numbers["edited"],
        delta=_paired(found, values),
        shown=Shown("map_at_r", None, _TABLE, _METRICS, over),
        result={"feedback": found.told()},
        details=_details(found),
        notes=notes(found),
        files=files(found),
        figures=figures(found),
        parts=_parts(found),
        image_values={name: one[None] for name, one in values["edited"].items() if one is not None},
        image_groups=found.searches.groups,
    )


def _values(found: Found, side: str) -> dict[str, np.ndarray | None]:
    """Return what each search adds to each metric of a side, float64 [S]."""
    case = found.headline
    some = {name: added(found.measure(side, case, name)) for name in _METRICS if name in MEASURES}
    return some | {"zero_positive": found.nothing(side, case.judged).astype(np.float64)}


def _paired(found: Found, values: Mapping[str, Mapping[str, np.ndarray | None]]) -> dict[str, Any]:
    delta = {}
    for name, after in values["edited"].items():
        before = values["baseline"][name]
        if before is not None and after is not None:
            mean, low, high = found.over_searches(after - before)
            delta[name] = {"mean": mean, "std": None, "per_seed": [mean],
                           "interval": None if low is None else [low, high]}  # fmt: skip
    return delta


def _details(found: Found) -> list[tuple[str, str]]:
    """Return what is told under the table: who searched where, each rule, and pages without a wanted image."""
    case, searches = found.headline, found.searches
    where = f"{found.rows:,} images, {'each of the others' if found.own else 'a gallery of its own'}"
    told = [("searches", f"{len(searches.each):,} by user={named(found.plan.user)} (simulated), among {where}")]
    for side in found.told_sides:
        r_1, map_r = (_told(one) for one in found.before(side).values())
        told.append(("unjudged", f"{side}: R@1 {r_1}, MAP@R {map_r} by similarity on the whole collection"))
    wide = max(len(name) for name in RULES)
    told += [("rule", f"{_short(one.method):{wide}} {_line(found, one)}") for one in found.cases if one[1:] == case[1:]]
    for side in found.told_sides:
        zero = found.zero(side, case.judged)
        if zero["searches"]:
            told.append(("zero-positive", f"{side}: {_zero_line(zero)}"))
    return [*told, ("table", f"all rules, sizes of a page and rounds, with intervals: {FEEDBACK}")]


def _short(method: str) -> str:
    return method.partition(" (")[0]


def _line(found: Found, case: Case) -> str:
    """Return the scores of a case, those of the edited side behind an arrow where it is another."""
    told = []
    for what, name, form in (("R@1", "r_at_1", ".4f"), ("MAP@R", "map_at_r", ".4f"), ("gain", "gain", "+.4f"),
                             ("harm", "harm_rate", ".1%")):  # fmt: skip
        told.append(f"{what} {' > '.join(_told(found.mean(side, case, name), form) for side in found.told_sides)}")
    return ", ".join(told)


def _zero_line(zero: Mapping[str, Any]) -> str:
    pages = ", ".join(f"{name} {zero[f'next_page_{name}']:.1%}" for name in PAGES)
    return (
        f"{zero['searches']:,} searches ({zero['share']:.1%}) have nothing wanted on the first page; the next one has: "
        f"{pages}"
    )


def _told(one: Mean, form: str = ".4f") -> str:
    return "" if one.mean is None else format(one.mean, form)


def _ends(one: Mean, form: str = ".3f") -> str:
    return "" if one.low is None or one.high is None else f"{one.low:{form}} to {one.high:{form}}"


def _parts(found: Found) -> list[dict[str, Any]]:
    last = found.plan.rounds
    tables = [_rules_table(found, page, last) for page in found.plan.pages]
    return [*tables, _by_found(found), *_zero_tables(found)]


def _rules_table(found: Found, page: int, t: int) -> dict[str, Any]:
    """Return all rules for one size of a page, each side in a row, and what is between them."""
    rows = []
    for case in found.cases:
        if case[1:] != (page, t):
            continue
        each: list[tuple[str, str, list[Mean]]] = [
            (side, "", [found.mean(side, case, name) for name in _TABLE]) for side in found.told_sides
        ]
        if len(each) > 1:
            each.append(("delta", "+", [found.delta(case, name) for name in _TABLE]))
        for side, sign, (r_1, map_r, gain, harm) in each:
            row = [case.method if side == SIDES[0] else "", side, _told(r_1, f"{sign}.4f")]
            rows.append([*row, _told(map_r, f"{sign}.4f"), _ends(map_r, f"{sign}.3f"), _told(gain, "+.4f"),
                         _ends(gain, "+.3f"), _told(harm, f"{sign}.1%")])  # fmt: skip
    rounds = f" in each of {t} rounds" if t > 1 else ""
    columns = ["rule", "side", "R@1", "MAP@R", "95 %", "gain", "95 %", "harm"]
    return {"kind": "table", "title": f"Rules, {page} images judged{rounds}", "columns": columns, "rows": rows}


def _by_found(found: Found) -> dict[str, Any]:
    """Return the run's own rule by how many images of the first page are wanted."""
    case = found.headline
    rows = []
    for low, high in _BINS:
        row: list[Any] = [f"{low}" if low == high else f"{low} to {high}" if high else f"{low} and more"]
        count = 0
        for side in found.told_sides:
            first_S = found.sides[side].first[case.judged]
            some_S = (first_S >= low) & (first_S <= (high if high is not None else np.inf))
            means = [found.mean(side, case, name, some_S) for name in ("none_map_at_r", "map_at_r", "gain")]
            row += [f"{some_S.sum():,}", _told(means[0]), _told(means[1]), _told(means[2], "+.4f")]
            count += int(some_S.sum())
        if count:
            rows.append(row)
    what = ("searches", "MAP@R without feedback", "with it", "gain")
    columns = ["wanted on the first page", *(f"{side}: {one}" for side in found.told_sides for one in what)]
    return {"kind": "table", "title": f"{case.method}, by how much of the first page is wanted", "columns": columns,
            "rows": rows}  # fmt: skip


def _zero_tables(found: Found) -> list[dict[str, Any]]:
    """Return the searches whose first page has nothing that is wanted, and what a next one finds for them."""
    rows = []
    for page in found.plan.pages:
        for side in found.told_sides:
            zero = found.zero(side, page)
            if zero["searches"]:
                shares = [f"{zero[f'next_page_{name}']:.1%}" for name in PAGES]
                rows.append([page, side, f"{zero['searches']:,} ({zero['share']:.1%})", zero["none_map_at_r"],
                             zero["map_at_r"], *shares])  # fmt: skip
    columns = ["judged", "side", "searches", "MAP@R without feedback", f"with it ({found.headline.method})",
               "next page has one: by similarity", "diverse", f"by {found.headline.method}"]  # fmt: skip
    title = "Nothing wanted on the first page"
    return [{"kind": "table", "title": title, "columns": columns, "rows": rows}] if rows else []
