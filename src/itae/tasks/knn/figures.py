"""Pictures of a classification: what is taken for what, what a share is worth, what hangs on voter and k."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from itae.look.figures import COLOURS, MARKERS, clean
from itae.look.style import legend, plain_style, short
from itae.tasks.knn.galleries import SIDES
from itae.tasks.knn.scores import Scored
from itae.tasks.knn.sweep import Tried

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CLASSES = 30  # a confusion matrix of more can't be read
_PAIRS = 24
_WRITTEN = 12  # classes up to which the cells of a matrix have their numbers
_NAME = 22  # letters of a class
_CAPTIONS = {
    "confusion": "What the images of a class, by row, were told to be. A clean diagonal would be a perfect answer.",
    "confused_pairs": "The classes that are most often taken for another: how many images of the first were told to be "
    "of the second. There are too many classes for a matrix.",
    "reliability": "How often an answer is right, by the share of the vote that it got; on the diagonal a share is the "
    "chance of being right. Below: how many answers have such a share.",
    "sweep": "Top-1 accuracy by voter and k, all from one search for neighbours; the ring is the setting of the run's "
    "scores. The best of all is an oracle: it is picked by the labels of the images that it is scored on.",
}


def figures(found: Scored, rows: Sequence[Tried]) -> dict[str, tuple[str, Callable[[], Figure | None]]]:
    """Return what is drawn: the sweep, what is taken for what, what a share is worth."""
    made: dict[str, Callable[[], Figure | None]] = {
        "sweep": partial(sweep_figure, rows),
        "confusion": partial(confusion_figure, found),
        "confused_pairs": partial(pairs_figure, found),
        "reliability": partial(reliability_figure, found),
    }
    return {name: (_CAPTIONS[name], make) for name, make in made.items()}


@plain_style()
def confusion_figure(found: Scored) -> Figure | None:
    """Draw both confusion matrices; None where queries have several labels, or there are too many classes."""
    if not found.single or len(found.names) > _CLASSES:
        return None
    from matplotlib.figure import Figure

    names = [short(name, _NAME) for name in found.names]
    size = max(2.6, 0.3 * len(names))
    margin = 0.075 * max(map(len, names)) + 0.4
    figure = Figure(figsize=(2 * size + 2 * margin + 0.8, size + margin + 0.6), layout="constrained")
    axes = figure.subplots(1, 2)
    rows = np.flatnonzero(found.sizes > 0)
    for ax, side in zip(axes, SIDES, strict=True):
        counts = found.confusion(side)[rows]
        counts = counts if counts[:, -1].any() else counts[:, :-1]
        told = names if counts.shape[1] == len(names) else [*names, "no answer"]
        shares = counts / counts.sum(axis=1, keepdims=True)
        picture = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        ax.set_xticks(range(len(told)), told, rotation=90, fontsize=7)
        ax.set_yticks(range(len(rows)), [names[c] for c in rows], fontsize=7)
        ax.set_xlabel("told", fontsize=8)
        ax.set_title(f"{side}: {_share_right(found, side)} right", fontsize=9)
        if len(names) <= _WRITTEN:
            _write_counts(ax, counts, shares)
    axes[0].set_ylabel("class", fontsize=8)
    figure.colorbar(picture, ax=axes, aspect=30, shrink=0.9).set_label("share of the row", fontsize=8)
    return figure


def _share_right(found: Scored, side: str) -> str:
    return f"{100 * found.right(side).mean():.2f} %"


def _write_counts(ax: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    for (i, j), count in np.ndenumerate(counts):
        if count:
            colour = "white" if shares[i, j] > 0.55 else "black"
            ax.text(j, i, str(count), ha="center", va="center", fontsize=6, color=colour)


@plain_style()
def pairs_figure(found: Scored) -> Figure | None:
    """Draw the most confused pairs of classes; None where there is a matrix, or nothing was confused."""
    if not found.single or len(found.names) <= _CLASSES:
        return None
    counts = {side: found.confusion(side)[:, :-1] for side in SIDES}
    for one in counts.values():
        np.fill_diagonal(one, 0)
    both = counts["baseline"] + counts["edited"]
    order = np.argsort(-both, axis=None, kind="stable")[:_PAIRS]
    order = order[both.reshape(-1)[order] > 0]
    if not len(order):
        return None
    from matplotlib.figure import Figure

    rows, columns = np.unravel_index(order, both.shape)
    figure = Figure(figsize=(7.5, 0.29 * len(order) + 1.2), layout="constrained")
    ax = figure.subplots()
    marks = []
    for i, side in enumerate(SIDES):
        places = np.arange(len(order)) + 0.4 * (i - 0.5)
        marks.append(ax.barh(places, counts[side][rows, columns], height=0.36, color=COLOURS[i], label=side))
    told = [
        f"{short(found.names[a], _NAME)} → {short(found.names[b], _NAME)}" for a, b in zip(rows, columns, strict=True)
    ]
    ax.set_yticks(range(len(order)), told, fontsize=7)
    ax.margins(y=0.02)
    ax.invert_yaxis()
    ax.set_xlabel("images", fontsize=8)
    clean(ax)
    legend(ax, marks, fontsize=8, frameon=False, loc="lower right")
    return figure


@plain_style()
def reliability_figure(found: Scored) -> Figure | None:
    """Draw how often answers of a share are right, on both sides, over how many there are."""
    from matplotlib.figure import Figure

    if not found.has_shares:
        return None
    figure = Figure(figsize=(5.6, 5.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    marks = [above.plot([0, 1], [0, 1], color="#888888", linestyle="--", linewidth=1, label="a share is a chance")[0]]
    for i, side in enumerate(SIDES):
        curve = found.reliability(side)
        there = curve.images_B > 0
        label = f"{side}, calibration error {curve.ece:.4f}"
        marks += above.plot(
            curve.share_B[there], curve.right_B[there], color=COLOURS[i], marker=MARKERS[i], markersize=5,
            linewidth=1.3, label=label,
        )  # fmt: skip
        edges = np.linspace(0, 1, len(curve.images_B) + 1)
        below.stairs(curve.images_B, edges, color=COLOURS[i], linewidth=1.3, linestyle=("-", "--")[i])
    above.set_ylabel("share of answers that are right", fontsize=9)
    above.set_ylim(-0.02, 1.02)
    below.set_ylabel("answers", fontsize=9)
    below.set_xlabel("share of the vote", fontsize=9)
    below.set_yscale("symlog", linthresh=1)
    tens = [10**i for i in range(len(str(max(1, len(found.at)))))]
    below.set_yticks([0, *tens], [f"{ten:,}" for ten in (0, *tens)])
    below.minorticks_off()
    for ax in (above, below):
        clean(ax)
    legend(above, marks, fontsize=8, frameon=False, loc="upper left")
    return figure


@plain_style()
def sweep_figure(rows: Sequence[Tried]) -> Figure | None:
    """Draw accuracy over k, a line a voter, a panel a side; None where only one setting was tried."""
    if len(rows) < 2:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.4, 4.6), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    voters = list(dict.fromkeys((row.voter, row.temperature) for row in rows))
    ks = sorted({row.k for row in rows if row.k})
    for ax, side in zip(axes, SIDES, strict=True):
        marks = [_line(ax, i, [row for row in rows if (row.voter, row.temperature) == voter], side, ks)
                 for i, voter in enumerate(voters)]  # fmt: skip
        chosen = next(row for row in rows if row.chosen)
        x, y = chosen.k or max(ks, default=1), getattr(chosen, side)
        ring = ax.plot([x], [y], "o", markersize=13, markerfacecolor="none", color="black")[0]
        ring.set_label(f"the run's: {chosen.told}")
        marks.append(ring)
        ax.set_title(side, fontsize=9)
        ax.set_xlabel("k", fontsize=9)
        if ks and ks[-1] > 10 * ks[0]:
            ax.set_xscale("log")
        shown = ks[:: -(-len(ks) // 9)] if ks else []
        ax.set_xticks(shown, [str(k) for k in shown])
        ax.minorticks_off()
        clean(ax)
    axes[0].set_ylabel("top-1 accuracy", fontsize=9)
    legend(figure, marks, loc="outside lower left", ncols=3, fontsize=8, frameon=False)
    return figure


def _line(ax: Axes, i: int, rows: Sequence[Tried], side: str, ks: Sequence[int]) -> object:
    colour = COLOURS[i % len(COLOURS)]
    first = rows[0]
    label = first.voter if first.temperature is None else f"{first.voter}, temperature {first.temperature:g}"
    if first.k is None:
        return ax.axhline(getattr(first, side), color=colour, linestyle=":", linewidth=1.3, label=label)
    order = sorted(rows, key=lambda row: row.k or 0)
    x, y = [row.k or 0 for row in order], [getattr(row, side) for row in order]
    marker = MARKERS[i % len(MARKERS)]
    return ax.plot(x, y, color=colour, marker=marker, markersize=4, linewidth=1.2, label=label)[0]
