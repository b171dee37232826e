"""Its pictures: recovery and locality against the share of rows looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.look.figures import COLOURS, clean
from itae.look.style import legend, plain_style, short
from itae.tasks.editing.found import Found
from itae.tasks.editing.scores import over_draws

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def figures(found: Found) -> dict[str, tuple[str, Callable[[], Figure | None]]]:
    """Return what is drawn: recovery and locality against the share of rows looked at."""
    caption = (
        "What mending brings back of the accuracy that wrong labels cost, and the answers that these had left alone "
        f"and mending changed, against the share of rows looked at; means over {len(found.draws)} draws"
        f"{', the band is their standard deviation' if len(found.draws) > 1 else ''}. "
        f"Solid: the untouched backbone; dashed: the edited one. The dotted line is as many rows as are wrong."
    )
    return {"repair": (caption, lambda: repair_figure(found))}


@plain_style()
def repair_figure(found: Found) -> Figure:
    """Draw both curves of all rules, the one that was asked for strongest, and on both sides."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    panels = ((left, "recovery"), (right, "locality"))
    rules = list(dict.fromkeys(rule for rule, _ in found.baseline.curves))
    marks = []
    for rule, colour in reversed(list(zip(rules, COLOURS, strict=False))):
        chosen = rule == rules[0]
        for side, dash in (("edited", (0, (4, 2))), ("baseline", "-")):
            if side == "edited" and not chosen and rule != "random":
                continue
            values = found.sides[side].curves[rule, ""]
            style = {"color": colour, "linestyle": dash, "linewidth": 2 if chosen else 1}
            x = found.baseline.points / found.rows
            lines = [
                _line(ax, x, values[name], style, chosen) for ax, name in ((left, "recovery"), (right, "locality"))
            ]
        lines[0].set_label(short(rule, 24))
        marks.append(lines[0])
    for ax, name in panels:
        ax.axvline(np.mean(found.wrong) / found.rows, color="0.4", linewidth=0.8, linestyle=":")
        ax.set_xlabel("share of rows looked at", fontsize=8)
        ax.set_ylabel(f"{name}, chosen voter", fontsize=8)
        ax.set_xlim(0, found.task.budget)
        clean(ax)
    left.axhline(1, color="0.8", linewidth=0.8, zorder=0)
    right.set_ylim(bottom=0)
    legend(left, marks[::-1], fontsize=8, frameon=False, loc="lower right")
    return figure


def _line(ax: Axes, x: np.ndarray, values: np.ndarray, style: Mapping[str, Any], band: bool) -> Any:
    means = over_draws(values)
    mean, std = (np.array([np.nan if one[i] is None else one[i] for one in means]) for i in (0, 1))
    if band and np.isfinite(std).any():
        ax.fill_between(x, np.maximum(mean - std, 0), mean + std, color=style["color"], alpha=0.12, linewidth=0)
    return ax.plot(x, mean, **style)[0]
