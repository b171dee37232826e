"""The number of clusters where it is left to be chosen: chosen once for both sides, and what is said of it.

On the untouched embeddings alone, which every edit of a sweep and every clusterer have in common. So all get the same
number, and a delta is none of numbers of clusters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from itae.images.image_set import count_classes
from itae.look.figures import COLOURS, clean
from itae.look.style import legend, plain_style
from itae.measure.cluster.choose_k import CRITERION, Choice, choose_k
from itae.tasks.clustering.cluster_and_score import to_choose

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from itae.store.entry import Embeddings
    from itae.tasks.task import Job

CAPTION = (
    "Above, the coding length by the number of clusters: how many nats it takes to write the embeddings down, cluster "
    "by cluster. The k of the least was taken. Below, the silhouette of the same clusterings as a second opinion (the "
    "higher, the better). Both of k-means on the untouched embeddings."
)


def with_k(job: Job, baseline: Embeddings) -> tuple[Any, Choice | None]:
    """Return the job's clusterer with a number of clusters, and how it was chosen, if it was.

    Jobs of one process that have the same untouched embeddings, candidates and seed choose once.
    """
    clusterer = job.parts["clusterer"]
    candidates = to_choose(clusterer, len(baseline.ids), count_classes(baseline.labels))
    if candidates is None:
        return clusterer, None
    choice = job.memo.once(
        ("k", baseline.path, candidates, job.seed), lambda: choose_k(baseline.vectors, candidates, job.seed)
    )
    return replace(clusterer, k=choice.k, candidates=None), choice


def in_result(choice: Choice | None) -> dict[str, Any]:
    """Return what ``result.json`` has of it; nothing where there was no choice, as of all that follows."""
    return {"choice": choice.plain()} if choice else {}


def told(choice: Choice | None) -> list[tuple[str, str]]:
    """Return the line under the table."""
    if choice is None:
        return []
    some = f"{len(choice.candidates)} candidates from {choice.candidates[0]} to {choice.candidates[-1]}"
    if len(choice.candidates) == 1:
        some = "one candidate"
    of = f"{choice.images}" if choice.images == choice.of else f"{choice.images} of {choice.of}"
    second = "none" if choice.second_opinion is None else f"k={choice.second_opinion}"
    text = f"{choice.k}, of {some} the one of least coding length, by k-means of {of} untouched embeddings, without "
    return [("k", f"{text}labels; by silhouette {second}")]


def notes(choice: Choice | None) -> list[str]:
    """Say what to know before believing the number: that it is the last that was looked at, or one of two opinions."""
    if choice is None:
        return []
    found = []
    first, last = choice.candidates[0], choice.candidates[-1]
    if len(choice.candidates) > 1 and choice.k == last:
        found.append(
            f"k={last} is the largest candidate, and the coding length may fall on beyond it: list larger ones with "
            "clusterer.candidates."
        )
    if len(choice.candidates) > 1 and choice.k == first > 1:
        found.append(
            f"k={first} is the smallest candidate: by coding length these embeddings fall into no more clusters, if "
            "into any. What people would tell apart may still be there; set clusterer.k if you know how many."
        )
    if choice.k == 1:
        found.append("k=1: by coding length all images are one cluster; set clusterer.k to cluster them all the same.")
    if choice.second_opinion not in (None, choice.k):
        found.append(
            f"Two criteria that need no labels disagree: k={choice.k} by coding length, which was taken, and "
            f"k={choice.second_opinion} by silhouette; see the figure k."
        )
    return found


@plain_style()
def choice_figure(choice: Choice) -> Figure | None:
    """Draw both criteria along the candidates; None where there was one."""
    if len(choice.candidates) < 2:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    curves: Sequence[tuple[Any, Sequence[float | None], int | None, str]] = (
        (above, choice.coding_length, choice.k, "coding length,\nnats an image"),
        (below, choice.silhouette, choice.second_opinion, "silhouette"),
    )
    for i, (ax, values, best, name) in enumerate(curves):
        known = [(k, value) for k, value in zip(choice.candidates, values, strict=True) if value is not None]
        ax.plot(*zip(*known, strict=True), color=COLOURS[i], marker="o", markersize=4, linewidth=1.2)
        if best is not None:
            ring = ax.plot([best], [dict(known)[best]], "o", markersize=12, markerfacecolor="none", color="black")[0]
            ring.set_label(f"k={best}" + (", taken" if i == 0 else ""))
            legend(ax, [ring], fontsize=8, frameon=False)
        ax.set_ylabel(name, fontsize=9)
        ax.margins(y=0.12)  # room for the ring
        clean(ax)
    below.set_xlabel("clusters", fontsize=9)
    if choice.candidates[-1] > 10 * choice.candidates[0]:
        below.set_xscale("log")
    step = -(-len(choice.candidates) // 12)
    shown = choice.candidates[::step]
    below.set_xticks(shown, [str(k) for k in shown])
    below.minorticks_off()
    return figure


def tracked(choice: Choice | None) -> dict[str, Any]:
    """Return what a tracker gets of it."""
    if choice is None:
        return {}
    best = choice.candidates.index(choice.k)
    return {"choice": {"k": choice.k, "second_opinion": choice.second_opinion, CRITERION: choice.coding_length[best],
                       "silhouette": choice.silhouette[best]}}  # fmt: skip
