"""A data set on its way into a base: ids, labels, groups and metadata of its pictures, and their vectors."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from itae.base.errors import UserError
from itae.embed.extract import extract
from itae.knowledge.exchange.tables import groups_from, is_file, labels_from, metadata_from
from itae.knowledge.records.filed import OURS
from itae.knowledge.records.rows import Rows

if TYPE_CHECKING:
    from itae.embed.encoder import Encoder
    from itae.images.dataset import Dataset
    from itae.images.image_set import ImageSet


def incoming(
    encoder: Encoder,
    dataset: Dataset,
    source: str | None = None,
    label: str | None = None,
    group: str | None = None,
    meta: str | None = None,
) -> Rows:
    """Return a data set's pictures as rows; only those that no cache has pass the model.

    Parameters
    ----------
    encoder
        Of the base.
    dataset
        Where the pictures are.
    source
        By default the folder's name, or the data set's.
    label
        A label for all of them, ``none``, or a CSV file; by default the data set's own, several where it has them.
    group
        ``parent``, each picture's folder, or a CSV file; by default a picture is a group by itself.
    meta
        A CSV file, whose columns count where the data set has attributes of their names.

    Raises
    ------
    UserError
        For whatever is wrong with one of these, before any picture is embedded.
    """
    seen = encoder.source(dataset)
    source = _name_of(dataset) if source is None else source
    if not source or "/" in source:
        raise UserError(f"--source={source!r} is no name: give one without a slash.")
    ids = seen.images.ids
    labels = _labels(seen.images, label)
    groups = _groups(ids, source, group)
    metadata = _metadata(seen.images, meta)
    rows = {id_: i for i, id_ in enumerate(ids)}
    [entry] = extract(seen, [encoder.edit], encoder.runtime)
    kept = [rows[id_] for id_ in entry.ids]  # all but those that can't be decoded, where that is allowed
    return Rows(
        [f"{source}/{id_}" for id_ in entry.ids],
        entry.vectors,
        [labels[i] for i in kept],
        source,
        entry.digests,
        [groups[i] for i in kept],
        [_place(seen.images, i) for i in kept],
        {name: [column[i] for i in kept] for name, column in metadata.items()},
        lambda n: seen.images.data(kept[n]),
    )


def _name_of(dataset: Dataset) -> str:
    root = getattr(dataset, "root", None)
    return os.path.basename(os.path.abspath(root)) if root and dataset.name == "imagefolder" else dataset.name


def _labels(images: ImageSet, label: str | None) -> list[tuple[str, ...]]:
    if label is None:
        return images.all_labels
    if is_file(label):
        return labels_from(label, images.ids)
    return [() if label == "none" else (label,)] * len(images)


def _groups(ids: Sequence[str], source: str, group: str | None) -> list[str | None]:
    if group is None:
        return [None] * len(ids)
    if group == "parent":  # the same folder of two sources is two
        return [f"{source}/{PurePosixPath(id_).parent}" for id_ in ids]
    if not is_file(group):
        raise UserError(f"--group={group}: give parent (each picture's folder is a group) or a CSV file.")
    return groups_from(group, ids)


def _metadata(images: ImageSet, meta: str | None) -> dict[str, Sequence[Any]]:
    """Return the attributes of the data set and the columns of a file, which count where both have one."""
    if taken := [name for name in images.attributes if name in OURS]:
        raise UserError(
            f"dataset={images.name} has an attribute {taken[0]!r}, which means something already in a base, as "
            f"{', '.join(OURS)} do: rename it in the data set's class."
        )
    return {**images.attributes, **(metadata_from(meta, images.ids, OURS) if meta is not None else {})}


def _place(images: ImageSet, i: int) -> str | None:
    """Return the file of a picture, absolute; None for pixels that lie in no file of their own."""
    item = images.items[i]
    return os.path.abspath(item) if isinstance(item, str) else None
