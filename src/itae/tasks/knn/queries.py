"""What a memory is asked, and by which labels its answers are scored.

Labels of queries are for scoring alone: nothing here hands them to whoever answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from itae.base.errors import UserError, did_you_mean
from itae.images.imagenet_real import real_labels
from itae.images.walk import listed
from itae.knowledge.exchange.tables import is_file, labels_from
from itae.knowledge.records.snapshot import joined
from itae.tasks.memory import Said

if TYPE_CHECKING:
    from itae.images.image_set import ImageSet

_LEAST = 2  # classes that a memory has to know: of one nothing can be told


@dataclass(frozen=True)
class Queries:
    """The images that are asked about, N of them.

    Parameters
    ----------
    ids
        Their names.
    said
        What is said of them, as of rows.
    truth
        The labels by which each is scored; none for one that isn't.
    digests
        uint8, the sha256 of each one's bytes, [N, 32].
    held_out
        Classes that no memory knows.
    """

    ids: Sequence[str]
    said: Said
    truth: Sequence[tuple[str, ...]]
    digests: np.ndarray
    held_out: tuple[str, ...]

    @property
    def known_truth(self) -> list[tuple[str, ...]]:
        """The truth less the classes that are held out."""
        out = set(self.held_out)
        return [tuple(label for label in some if label not in out) for some in self.truth]

    def groups(self) -> np.ndarray:
        """Return equal numbers, 0 and more, for queries of one group or of the same bytes, int64 [N]."""
        names = pa.chunked_array([pa.array(self.said.groups, pa.string())])
        whole = joined(names, self.digests, np.ones(len(self.ids), bool))
        return np.unique(whole, return_inverse=True)[1].reshape(-1)


def truth_from(path: str | None, images: ImageSet, ids: Sequence[str], labels: Sequence[tuple[str, ...]]) -> list[
    tuple[str, ...]
]:  # fmt: skip
    """Return the labels by which each query is scored.

    Parameters
    ----------
    path
        None: what is said of it. A CSV file with columns ``id`` and ``label``, of which several lines of an id are
        several labels. ImageNet ReaL's ``real.json``, for the images of ImageNet's val; one of no class has no label.
    images
        All images of the data set.
    ids
        Those that are asked about.
    labels
        What is said of these.

    Raises
    ------
    UserError
        If the file can't be read, or says what can't be.
    """
    if path is None:
        return list(labels)
    if path.lower().endswith(".json"):
        names = images.class_names
        return [tuple(names[code] for code in sorted(codes)) for codes in real_labels(path, ids, len(names))]
    if not is_file(path):
        raise UserError(
            f"task.truth={path}: give a CSV file with columns id and label, ImageNet ReaL's real.json, or null."
        )
    said = dict(zip(images.ids, labels_from(path, images.ids, "task.truth"), strict=True))
    return [said[id_] for id_ in ids]


def held_out_classes(unknown: int | Sequence[object], truth: Sequence[tuple[str, ...]], seed: int) -> tuple[str, ...]:
    """Return the classes that are held out of every memory, sorted.

    Parameters
    ----------
    unknown
        How many, drawn by `seed` among those of the queries; or their names.
    truth
        Of the queries.

    Raises
    ------
    UserError
        For a name that no query has, and where fewer than two classes would be left.
    """
    names = sorted({label for some in truth for label in some})
    if len(names) < _LEAST:
        has = f"all of one class, {names[0]!r}" if names else "without labels"
        raise UserError(
            f"The images that are asked about are {has}, and task=knn tells classes apart: give images of at least "
            f"{_LEAST} classes, or labels as task.labels=FILE.csv."
        )
    if isinstance(unknown, int):
        drawn = np.random.default_rng(seed).permutation(len(names))[:unknown]
        out = [names[i] for i in sorted(drawn.tolist())]
    else:
        out = sorted({str(name) for name in unknown})  # a class that is called 7 is typed as a number
        for name in out:
            if name not in names:
                raise UserError(
                    f"task.unknown: no image that is asked about is of a class {name!r}; they are of {listed(names)}."
                    f"{did_you_mean(name, names)}"
                )
    if len(names) - len(out) < _LEAST:
        raise UserError(
            f"task.unknown={unknown} leaves {len(names) - len(out)} of the {len(names)} classes to be known; hold out "
            f"{len(names) - _LEAST} at most."
        )
    return tuple(out)
