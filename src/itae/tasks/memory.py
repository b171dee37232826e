"""A knowledge base that goes with the process: what the tasks of neighbours ask, one of each side of a run.

It holds what `itae knowledge add` would have of the same images. Both sides have the same ids, labels and groups in the
same order, so a position in one is that of the same image in the other, and what is drawn is drawn for both.

Shapes: N images, E embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from itae.base.errors import UserError
from itae.knowledge.exchange.tables import groups_from, is_file, labels_from
from itae.knowledge.records.rows import Rows, filed
from itae.knowledge.records.snapshot import Snapshot, after, empty
from itae.measure.classified import Truth

if TYPE_CHECKING:
    from itae.images.image_set import ImageSet
    from itae.store.entry import Embeddings

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)  # a memory of a task has no history


@dataclass(frozen=True)
class Said:
    """What is said of each image of a data set: its labels, none or one or several, and its group or None; N each."""

    labels: Sequence[tuple[str, ...]]
    groups: Sequence[str | None]


def said_of(
    images: ImageSet,
    ids: Sequence[str],
    labels: str | None = None,
    group: str | None = None,
    also: Sequence[str] = (),
) -> Said:
    """Return what is said of some images of a data set.

    Parameters
    ----------
    images
        All of them.
    ids
        Those that are asked for, such as `itae.store.entry.Embeddings.ids`: what could be decoded.
    labels
        None: the data set's own, several where its images have several. Else a CSV file with columns ``id`` and
        ``label``, of which several lines of one id are several labels.
    group
        None: each image by itself. ``parent``: images of one folder belong together. Else a CSV file with columns
        ``id`` and ``group``.
    also
        Ids of another data set, which lines of these files may be of, too.

    Raises
    ------
    UserError
        If a file can't be read, or says what can't be.
    """
    each = images.all_labels
    if labels is not None:
        if not is_file(labels):
            raise UserError(f"task.labels={labels}: give a CSV file with columns id and label, or null.")
        each = labels_from(labels, [*images.ids, *also], "task.labels")
    groups = _groups(images.ids, group, also)
    at = {id_: i for i, id_ in enumerate(images.ids)}
    kept = [at[id_] for id_ in ids]
    return Said([each[i] for i in kept], [groups[i] for i in kept])


def _groups(ids: Sequence[str], group: str | None, also: Sequence[str]) -> Sequence[str | None]:
    if group is None:
        return [None] * len(ids)
    if group == "parent":
        return [str(PurePosixPath(id_).parent) for id_ in ids]
    if not is_file(group):
        raise UserError(f"task.group={group}: give parent (each image's folder is a group), a CSV file, or null.")
    return groups_from(group, [*ids, *also], "task.group")


def memory(entry: Embeddings, said: Said) -> Snapshot:
    """Return the base of one side: a row for each image, in the order of `entry`; its label names are sorted.

    Images of the same bytes are of one group, whatever is said of them.

    Raises
    ------
    UserError
        For an embedding that has no direction.
    """
    rows = filed(Rows(entry.ids, entry.vectors, said.labels, "memory", entry.digests, said.groups), 0, _NEVER, {})
    return after(empty({}, ""), np.zeros(0, np.int64), {}, rows, 1, entry.path.name)


def truth_of(labels: Sequence[Sequence[str]], names: Sequence[str]) -> tuple[Truth, tuple[str, ...]]:
    """Return the labels of images as codes, and what each code is called.

    Parameters
    ----------
    labels
        Of each image, at least one.
    names
        Of a base's labels, whose codes stay: `itae.knowledge.records.snapshot.Snapshot.label_names`. Classes that it
        doesn't have come behind, sorted.

    Returns
    -------
    truth, names
        int64 [N], or a set for each image where one has several labels.
    """
    new = sorted({label for some in labels for label in some} - set(names))
    every = (*names, *new)
    code = {name: i for i, name in enumerate(every)}
    if all(len(some) == 1 for some in labels):
        return np.array([code[label] for (label,) in labels], np.int64), every
    return [{code[label] for label in some} for some in labels], every
