"""What a reader has to know of a run's classes and clusters before believing a score."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from itae.images.image_set import without_images
from itae.images.walk import listed
from itae.measure.scores import unscored

if TYPE_CHECKING:
    from itae.measure.cluster.clustered import Clustered
    from itae.store.store import Embeddings


def class_notes(class_names: Sequence[str], entry: Embeddings) -> list[str]:
    """Say which classes have no image, why labels score nothing, and which images are of two classes.

    Parameters
    ----------
    class_names
        Of the data set, by label.
    entry
        What is left of its images.
    """
    if entry.labels is None:
        return []
    notes = []
    if lost := without_images(class_names, entry.labels):
        notes.append(f"{len(lost)} of {len(class_names)} classes have no image here ({listed(lost)}) and don't count.")
    if why := unscored(entry.labels):
        notes.append(f"No ACC, NMI, ARI, AMI, purity or KNN: {why}, so that they would say nothing.")
    if torn := _of_two_classes(entry):
        some = " and ".join(repr(entry.ids[row]) for row in torn[0][:2])
        notes.append(
            f"{sum(map(len, torn))} images have the bytes of one of another class ({some}), be it by a link or a copy: "
            "no clustering gets them all right."
        )
    return notes


def cluster_notes(clusterer: object, sides: Mapping[str, Clustered]) -> list[str]:
    """Say how many clusters were found on each side where that was not given, and where all images are noise.

    Parameters
    ----------
    clusterer
        What has clustered.
    sides
        What was found of each, by its name.
    """
    name, notes = type(clusterer).__name__, []
    if any(one.metrics["k"] is None for one in sides.values()):
        told = ", ".join(f"{one.metrics['clusters']['mean']:g} {side}" for side, one in sides.items())
        notes.append(f"{name} finds the number of clusters on each side by itself: {told}.")
    empty = [side for side, one in sides.items() if (one.assignments < 0).all()]
    if empty:
        which, lower = " and ".join(empty), "its settings ask for larger or denser clusters than there are"
        notes.append(f"{name} found no cluster ({which}): all images are noise; {lower}.")
    return notes


def _of_two_classes(entry: Embeddings) -> list[list[int]]:
    """Return the rows of each image that is there under several labels, one of each label first."""
    assert entry.labels is not None
    rows: defaultdict[bytes, list[int]] = defaultdict(list)
    for row, digest in enumerate([] if entry.digests is None else entry.digests):
        rows[digest.tobytes()].append(row)
    groups = []
    for same in rows.values():
        firsts = np.unique(entry.labels[same], return_index=True)[1].tolist() if len(same) > 1 else []
        if len(firsts) > 1:
            groups.append([same[i] for i in firsts] + [row for i, row in enumerate(same) if i not in firsts])
    return groups
