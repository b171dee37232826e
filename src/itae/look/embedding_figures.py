"""Pictures of what an edit did to the embeddings: where they lie, and which classes share a cluster."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.look.figures import COLOURS, MARKERS, clean
from itae.look.style import legend, plain_style, short
from itae.measure.matching import one_to_one

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

POINTS = 2000  # that are drawn of each side, spread evenly
NOISE = "noise"
"""The group of what is in no cluster."""
_FEW = 8  # points that UMAP has no neighbourhoods for
_NAMED = 24  # groups in a legend
_TICKS = 40  # classes with a name on the axis
_LONG = 20  # letters of a name


def project(baseline: np.ndarray, edited: np.ndarray, how: str) -> tuple[np.ndarray, np.ndarray, tuple[str, str]]:
    """Return two dimensions of both sets of embeddings, fitted on both together, and what the axes are.

    Parameters
    ----------
    baseline, edited
        [n, E].
    how
        ``pca``: the first two principal components. ``umap``: UMAP of cosine distances, seeded (McInnes et al., 2018,
        arXiv:1802.03426); neighbours mean something there, distances and axes don't.

    Returns
    -------
    baseline, edited, names
        [n, 2] twice, and the names of the two axes.
    """
    both = np.concatenate([baseline, edited])
    if how == "umap" and importlib.util.find_spec("umap") is None:  # it was there when the run was made
        log.warning("UMAP is not installed (pip install 'itae[umap]'); principal components are drawn instead.")
        how = "pca"
    if how == "umap" and len(both) > _FEW:
        import warnings

        import umap

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*n_jobs value")  # that a seed means one thread
            reducer = umap.UMAP(n_neighbors=min(15, len(both) - 1), metric="cosine", random_state=0)
            points = reducer.fit_transform(both)
        names = ("UMAP of both, first axis", "second axis")
    else:
        from sklearn.decomposition import PCA

        pca = PCA(2, svd_solver="randomized", random_state=0)
        points = pca.fit(both).transform(both)
        first, second = 100 * pca.explained_variance_ratio_
        names = (f"first component ({first:.0f} % of the variance)", f"second ({second:.0f} %)")
    return points[: len(baseline)], points[len(baseline) :], names


@plain_style()
def embedding_figure(
    baseline: np.ndarray, edited: np.ndarray, groups: Sequence[str], what: str, how: str = "pca"
) -> Figure:
    """Draw both sets of embeddings on the same two axes.

    Parameters
    ----------
    baseline, edited
        [n, E].
    groups
        n names; what has the same name has one colour and one mark.
    what
        What the groups are: ``class`` or ``cluster``. Of clusters, `NOISE` is grey and lies below the others.
    how
        ``pca`` or ``umap``, see `project`.
    """
    from matplotlib.figure import Figure

    n = len(baseline)
    rows = np.unique(np.linspace(0, n - 1, min(n, POINTS)).round().astype(int))
    *sides, (x_name, y_name) = project(baseline[rows], edited[rows], how)  # no copy of all of them
    names = sorted(set(groups), key=lambda name: (int(name) if name.isdecimal() else -1, name))
    noise = NOISE if what == "cluster" else None
    figure = Figure(figsize=(10.4, 4.8), layout="constrained")
    axes = figure.subplots(1, 2, sharex=True, sharey=True)
    shown = np.array(groups, dtype=object)[rows]
    for ax, title, points in zip(axes, ("baseline", "edited"), sides, strict=True):
        marks: list[Any] = []
        if noise in names:
            some = points[shown == noise]
            marks.append(ax.scatter(some[:, 0], some[:, 1], s=4, color="0.75", linewidths=0, label=noise))
        for i, name in enumerate(name for name in names if name != noise):
            some = points[shown == name]
            colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i // len(COLOURS) % len(MARKERS)]
            marks.append(ax.scatter(some[:, 0], some[:, 1], s=9, color=colour, linewidths=0, marker=marker, alpha=0.7,
                                    label=short(name, _LONG)))  # fmt: skip
        ax.set_title(title, fontsize=9)
        ax.set_xlabel(x_name, fontsize=8)
        clean(ax)
    axes[0].set_ylabel(y_name, fontsize=8)
    if len(names) <= _NAMED:
        legend(figure, marks, loc="outside right upper", fontsize=7, frameon=False, markerscale=2, title=what,
               title_fontsize=8)  # fmt: skip
    if len(rows) < n:
        figure.suptitle(f"{len(rows):,} of {n:,} images", fontsize=8, x=0.01, ha="left")
    return figure


@plain_style()
def cluster_figure(labels: np.ndarray, names: Sequence[str], baseline: np.ndarray, edited: np.ndarray) -> Figure:
    """Draw which share of each class is in which cluster, before and after, clusters in the order of their classes.

    Parameters
    ----------
    labels
        Integers [n].
    names
        Of the classes, by label.
    baseline, edited
        Cluster numbers [n]; -1 is noise, whose column stands apart at the right.
    """
    from matplotlib.figure import Figure

    side = 1.6 + 0.16 * min(_TICKS, len(names))
    figure = Figure(figsize=(2 * side + 2.0, side + 0.5), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for ax, title, clusters in zip(axes, ("baseline", "edited"), (baseline, edited), strict=True):
        shares = class_shares(labels, clusters)
        image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        ax.set_title(title, fontsize=9)
        ax.set_xlabel("cluster, by its class", fontsize=8)
        ax.set_xticks([])
        if (clusters < 0).any():
            last = shares.shape[1] - 1
            ax.axvline(last - 0.5, color="0.5", linewidth=1)
            ax.set_xticks([last], [NOISE], fontsize=7)
        _class_ticks(ax, [names[label] for label in np.unique(labels)])
    figure.colorbar(image, ax=axes, label="share of the class", aspect=30)
    return figure


def class_shares(labels: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Return the share of each class in each cluster, [classes, clusters].

    Clusters that are matched with a class, one to one, so that most images are (Kuhn, 1955; as for ACC), stand in the
    order of the classes; the others come behind, and noise last.
    """
    from sklearn.metrics.cluster import contingency_matrix

    counts = contingency_matrix(labels, clusters)
    noise = int((clusters < 0).any())  # the first column then, which is matched with no class
    matched = one_to_one(counts[:, noise:])
    columns = matched[matched >= 0] + noise
    order = [*columns, *sorted(set(range(noise, counts.shape[1])) - set(columns)), *range(noise)]
    return counts[:, order] / counts.sum(axis=1, keepdims=True)


def _class_ticks(ax: Axes, names: Sequence[str]) -> None:
    if len(names) <= _TICKS:
        ax.set_yticks(range(len(names)), [short(name, _LONG) for name in names], fontsize=6 if len(names) > 12 else 7)
    else:
        ax.set_yticks([])
        ax.set_ylabel(f"{len(names)} classes", fontsize=8)
