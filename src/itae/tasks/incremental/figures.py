"""Pictures of what is known step by step: accuracy on each task after each step, and on all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from itae.look.figures import COLOURS, MARKERS, clean
from itae.look.style import legend, plain_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NUMBERS = 12  # tasks of which the numbers are written into the fields
_TICKS = 10  # on an axis


def figures(
    matrices: Mapping[str, np.ndarray], curves: Mapping[str, Mapping[str, np.ndarray]]
) -> dict[str, tuple[str, Callable[[], Figure | None]]]:
    """Return what is drawn of the memory's matrices, and of the curves of all methods."""
    return {
        "accuracy_by_step": (
            "The accuracy on what has arrived, after each step; bands: the standard deviation over orders.",
            partial(steps_figure, curves),
        ),
        "accuracy_matrix": (
            "The memory's accuracy on the queries of each task after each step, in percent where there is room for "
            "numbers; mean over orders. A field that is paler than the one above it has forgotten.",
            partial(matrix_figure, matrices),
        ),
    }


@plain_style()
def matrix_figure(matrices: Mapping[str, np.ndarray]) -> Figure | None:
    """Draw the accuracy on each task after each step, a panel a side; None where there is one task.

    Parameters
    ----------
    matrices
        By side: [S, T], the mean over orders; NaN before a task's own step.
    """
    from matplotlib.figure import Figure

    steps, tasks = next(iter(matrices.values())).shape
    if tasks == 1:
        return None
    side = 1.7 + 0.24 * min(20, steps)
    figure = Figure(figsize=(2 * side + 1.4, side + 0.3), layout="constrained")
    axes = figure.subplots(1, len(matrices), sharey=True, squeeze=False)[0]
    least = min(0.9, *(float(np.nanmin(matrix)) for matrix in matrices.values()))
    least -= (1 - least) / 8  # so that the lowest isn't white
    for ax, (title, matrix) in zip(axes, matrices.items(), strict=True):
        image = ax.imshow(matrix, cmap="Blues", vmin=least, vmax=1, interpolation="nearest")
        ax.set_title(title, fontsize=9)
        ax.set_xlabel("queries of task", fontsize=8)
        ticks = range(0, steps, -(-steps // _TICKS))
        ax.set_xticks(ticks, [str(i + 1) for i in ticks], fontsize=7)
        ax.set_yticks(ticks, [str(i + 1) for i in ticks], fontsize=7)
        ax.spines[:].set_visible(False)
        for i, j in np.argwhere(np.isfinite(matrix)) if steps <= _NUMBERS else ():
            dark = matrix[i, j] > (1 + least) / 2
            ax.text(j, i, f"{100 * matrix[i, j]:.0f}", ha="center", va="center", fontsize=6,
                    color="white" if dark else "black")  # fmt: skip
    axes[0].set_ylabel("after step", fontsize=8)
    bar = figure.colorbar(image, ax=axes, aspect=30)
    bar.set_label("accuracy", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return figure


@plain_style()
def steps_figure(accuracies: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """Draw the accuracy on what has arrived after each step, a panel a side, a line a method.

    Parameters
    ----------
    accuracies
        By side and method: [O, S], NaN where nothing that is asked has arrived. Bands are the standard deviation over
        orders.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.2, 3.6), layout="constrained")
    axes = figure.subplots(1, len(accuracies), sharey=True, squeeze=False)[0]
    for ax, (title, methods) in zip(axes, accuracies.items(), strict=True):
        marks = []
        for i, (name, values_OS) in enumerate(methods.items()):
            steps = np.arange(1, values_OS.shape[1] + 1)
            some = np.isfinite(values_OS).all(axis=0)
            mean = values_OS[:, some].mean(axis=0)
            marks += ax.plot(steps[some], mean, color=COLOURS[i], marker=MARKERS[i], markersize=3.5, linewidth=1.3,
                             label=name.replace("_", " "))  # fmt: skip
            if len(values_OS) > 1:
                spread = values_OS[:, some].std(axis=0, ddof=1)
                ax.fill_between(steps[some], mean - spread, mean + spread, color=COLOURS[i], alpha=0.15, linewidth=0)
        ax.set_title(title, fontsize=9)
        ax.set_xlabel("step", fontsize=8)
        ax.xaxis.get_major_locator().set_params(integer=True)
        clean(ax)
    axes[0].set_ylabel("accuracy on what has arrived", fontsize=8)
    legend(figure, marks, loc="outside right upper", fontsize=7, frameon=False)
    return figure
