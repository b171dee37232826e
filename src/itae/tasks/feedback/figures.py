"""Its pictures: all rules beside each other, and what more judging brings."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from itae.look.figures import COLOURS, MARKERS, clean
from itae.look.style import legend, plain_style, short
from itae.tasks.feedback.found import Found
from itae.tasks.feedback.methods import SHOWN
from itae.tasks.feedback.simulate import Case

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAME = 44  # letters of a rule
_DASHES = ("-", "--", ":", "-.")
_COLOURS, _MARKERS = (*COLOURS, "#882255", "#44AA99", "#999933"), MARKERS + "ph<"  # of eleven rules


def figures(found: Found) -> dict[str, tuple[str, Callable[[], Figure | None]]]:
    """Return what is drawn."""
    case = found.headline
    judged = f"{case.judged} images" + f" in each of {case.round} rounds" * (case.round > 1)
    rules = (
        f"MAP@R of the residual collection after {judged} were judged, with 95 % intervals over searches. The bar is "
        "what similarity alone comes to on the same collection. Below the line: controls."
    )
    more = (
        "MAP@R of the residual collection against the images judged so far. The more was judged, the harder what is "
        "left: the rule none shows by how much. A line for each size of a page."
    )
    return {"rules": (rules, partial(rules_figure, found)), "judging": (more, partial(judging_figure, found))}


@plain_style()
def rules_figure(found: Found) -> Figure:
    """Draw MAP@R of all rules and controls, the best rule of the untouched side first."""
    from matplotlib.figure import Figure

    _, page, t = found.headline
    rules, controls = (
        [Case(one.name, page, t) for one in found.plan.methods if (one.kind == SHOWN) is shown]
        for shown in (True, False)
    )
    rules.sort(key=lambda case: -(found.mean("baseline", case, "map_at_r").mean or 0.0))
    cases = [*rules, *controls]
    sides = found.told_sides
    figure = Figure(figsize=(7.6, 0.36 * len(cases) + 1.0), layout="constrained")
    ax = figure.subplots()
    marks = []
    for i, side in enumerate(sides):
        for y, case in enumerate(cases):
            place = y + 0.26 * (i - (len(sides) - 1) / 2)
            mark, none = _row(ax, found, side, case, place, i)
            marks += [mark] if not y else []
            marks += [none] if not y and i == len(sides) - 1 else []
    ax.axhline(len(rules) - 0.5, color="0.6", linewidth=0.8)
    ax.set_yticks(range(len(cases)), [short(case.method, _NAME) for case in cases], fontsize=8)
    ax.set_ylim(len(cases) - 0.4, -0.6)
    ax.set_xlim(left=0)
    ax.set_xlabel("MAP@R", fontsize=8)
    clean(ax)
    legend(ax, marks, fontsize=8, frameon=False, loc="best")
    return figure


def _row(ax: Axes, found: Found, side: str, case: Case, y: float, i: int) -> tuple[Any, Any]:
    mean, low, high = found.mean(side, case, "map_at_r")
    none = found.mean(side, case, "none_map_at_r").mean
    if low is not None and high is not None:
        ax.plot([low, high], [y, y], color=COLOURS[i], linewidth=1.4)
    mark = ax.plot([_number(mean)], [y], color=COLOURS[i], marker=MARKERS[i], markersize=5, linestyle="", label=side)[0]
    bar = ax.plot([_number(none)], [y], color="0.45", marker="|", markersize=9, markeredgewidth=1.4, linestyle="",
                  label="similarity alone, same collection")[0]  # fmt: skip
    return mark, bar


@plain_style()
def judging_figure(found: Found) -> Figure | None:
    """Draw MAP@R of all rules against the images judged so far; None where there is one point of each alone."""
    plan = found.plan
    if len(plan.pages) * plan.rounds < 2:
        return None
    from matplotlib.figure import Figure

    sides = found.told_sides
    figure = Figure(figsize=(4.6 * len(sides) + 1.6, 4.2), layout="constrained")
    axes = figure.subplots(1, len(sides), sharey=True, squeeze=False)[0]
    rules = [one.name for one in plan.methods if one.kind == SHOWN]
    for ax, side in zip(axes, sides, strict=True):
        marks = [_lines(ax, found, side, rule, i) for i, rule in enumerate(rules)]
        ax.set_title(side if len(sides) > 1 else "", fontsize=9)
        ax.set_xlabel("images judged so far", fontsize=8)
        clean(ax)
    axes[0].set_ylabel("MAP@R of what is left", fontsize=8)
    axes[0].set_ylim(bottom=0)
    sizes = plan.pages if plan.rounds > 1 and len(plan.pages) > 1 else ()
    marks += [axes[0].plot([], [], color="0.3", linestyle=_DASHES[n % 4], label=f"{page} judged a round")[0]
              for n, page in enumerate(sizes)]  # fmt: skip
    legend(figure, marks, fontsize=8, frameon=False, loc="outside right upper")
    return figure


def _lines(ax: Axes, found: Found, side: str, rule: str, i: int) -> Any:
    """Draw a line through the rounds of each size of a page, or, of one round, through the sizes."""
    plan = found.plan
    lines = [[Case(rule, page, t + 1) for t in range(plan.rounds)] for page in plan.pages]
    lines = lines if plan.rounds > 1 else [[Case(rule, page, 1) for page in sorted(plan.pages)]]
    i %= len(_COLOURS)
    style: dict[str, Any] = {"color": _COLOURS[i], "marker": _MARKERS[i], "linewidth": 1.1 if i else 2}
    marks = []
    for n, cases in enumerate(lines):
        x = [case.judged * case.round for case in cases]
        y = [_number(found.mean(side, case, "map_at_r").mean) for case in cases]
        marks += ax.plot(x, y, markersize=4, linestyle=_DASHES[n % 4], label=short(rule, 24), **style)
    return marks[0]


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
