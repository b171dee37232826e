"""The gallery of clusters as plain values: what the page's script draws from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.look.embedding_figures import project
from itae.look.page.gallery import ROWS, came_from_elsewhere, neighbours, picks, placement_of, shown
from itae.look.page.pictures import thumbnails

if TYPE_CHECKING:
    from itae.images.image_set import ImageSet
    from itae.look.run_figures import Seen
    from itae.results.assignments import Assignments

SIDES = ("before", "after")
_PICKED = 12  # images of each row of a cluster, at most
_TOP = 3  # classes that a cluster is told by


def gallery_part(seen: Seen, told: Assignments, images: ImageSet | None, spherical: bool, most: int) -> dict[str, Any]:
    """Return what the gallery shows.

    Parameters
    ----------
    seen, told
        Embeddings and clusters of the run.
    images
        Its images, None where they are gone.
    spherical
        Whether the clusters are of directions.
    most
        Images that are shown, at most.

    Returns
    -------
    dict
        All positions in it are counted among the images that are shown.
    """
    vectors = [seen.baseline.vectors, seen.edited.vectors]
    lists = len(ROWS) * sum(len(np.unique(clusters)) for clusters in seen.clusters)
    count = _PICKED if len(told.moved) <= most else max(1, min(_PICKED, most // (2 * lists)))
    chosen = [
        picks(clusters, placement_of(some, clusters, spherical), told.moved, count)
        for some, clusters in zip(vectors, seen.clusters, strict=True)
    ]
    rows, even = shown(len(told.moved), _in_turn(chosen), most)
    left = came_from_elsewhere(*seen.clusters)
    ids = [seen.edited.ids[row] for row in rows]
    labels = seen.edited.labels
    near = [some[rows] for some in vectors]
    if spherical:
        near = [some / np.linalg.norm(some, axis=1, keepdims=True) for some in near]
    *points, axes = project(near[0][even], near[1][even], seen.projection)
    place = {int(row): i for i, row in enumerate(rows)}
    return {
        "n": len(told.moved),
        "ids": ids,
        "classes": list(seen.classes),
        "labels": None if labels is None else labels[rows].tolist(),
        "moved": [float(f"{far:.3g}") for far in told.moved[rows]],
        "left": left[rows].tolist(),
        "thumbnails": _thumbnails(images, ids),
        "points": {"rows": np.flatnonzero(even).tolist(), "axes": axes}
        | {side: np.round(some, 3).T.tolist() for side, some in zip(SIDES, points, strict=True)},
        **{
            side: {
                "cluster": clusters[rows].tolist(),
                "near": neighbours(some).tolist(),
                "clusters": [_cluster(number, found, clusters, seen, left, place) for number, found in picked.items()],
            }
            for side, clusters, some, picked in zip(SIDES, seen.clusters, near, chosen, strict=True)
        },
    }


def _in_turn(chosen: Sequence[Mapping[int, Mapping[str, Sequence[int]]]]) -> list[int]:
    """Return the picked images, the first of every row of every cluster first, so that none goes short."""
    lists = [found[name] for picked in chosen for found in picked.values() for name in ROWS]
    return [row for row in chain.from_iterable(zip_longest(*lists)) if row is not None]


def _thumbnails(images: ImageSet | None, ids: Sequence[str]) -> list[str | None] | None:
    if images is None:
        return None
    place = {name: i for i, name in enumerate(images.ids)}
    return thumbnails(images.read, [place[name] for name in ids])


def _cluster(
    number: int,
    picked: Mapping[str, Sequence[int]],
    clusters: np.ndarray,
    seen: Seen,
    left: np.ndarray,
    place: Mapping[int, int],
) -> dict[str, Any]:
    """Return a cluster's size, its commonest classes, how many of its images changed cluster, and what is picked."""
    here = np.flatnonzero(clusters == number)
    labels = [] if seen.edited.labels is None else seen.edited.labels[here].tolist()
    rows = {name: [place[row] for row in picked[name] if row in place] for name in ROWS}
    known = set(chain.from_iterable(rows.values()))
    rest = [place[row] for row in here.tolist() if row in place and place[row] not in known]
    top = [[seen.classes[label], count] for label, count in Counter(labels).most_common(_TOP)]
    return {"number": number, "size": len(here), "top": top, "left": int(left[here].sum()), **rows, "rest": rest}
