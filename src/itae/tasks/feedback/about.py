"""What is said of the images of a set: labels, attributes and groups, of the data set's own or of files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from itae.base.errors import UserError
from itae.knowledge.exchange.tables import texts_from
from itae.knowledge.near.neighbours import Excluded
from itae.search.users import Described
from itae.tasks.memory import said_of

if TYPE_CHECKING:
    from itae.embed.source import Source
    from itae.images.image_set import ImageSet


@dataclass(frozen=True, eq=False)
class About:
    """What is said of some images.

    Parameters
    ----------
    described
        What users know.
    groups
        The name of each image's group, or None.
    """

    described: Described
    groups: Sequence[str | None]


def about(
    images: ImageSet, ids: Sequence[str], beside: Source | None, labels: str | None, group: str | None,
    attributes: str | None,
) -> About:  # fmt: skip
    """Return what is said of some images of a set.

    Parameters
    ----------
    images, ids
        All of them, and those that are asked for.
    beside
        Other images that lines of the files may be of, too; None where there are none.
    labels, group
        As of `itae.tasks.memory.said_of`; a group may be an attribute, too, of which an empty text is no group.
    attributes
        A CSV file, whose columns count where the data set has attributes of their names; None for the latter alone.

    Raises
    ------
    UserError
        If a file can't be read, or says what can't be.
    """
    also = () if beside is None else beside.images.ids
    columns = dict(images.attributes)
    if attributes is not None:
        told = texts_from(attributes, [*images.ids, *also], "task.attributes")
        columns |= {name: texts[: len(images)] for name, texts in told.items()}
    said = said_of(images, ids, labels, None if group in columns else group, also)
    at = {id_: i for i, id_ in enumerate(images.ids)}
    kept = [at[id_] for id_ in ids]
    some = {name: [texts[i] for i in kept] for name, texts in columns.items()}
    groups = [text or None for text in some[group]] if group in some else said.groups
    return About(Described(ids, said.labels, some), groups)


def by_name(rows: About, queries: About) -> Excluded:
    """Return which rows are out for which queries as far as groups and ids tell, ahead of any bytes being known."""
    code: dict[str, int] = {}
    codes = [
        np.array(
            [code.setdefault(f"id {id_}" if name is None else f"group {name}", len(code))
             for id_, name in zip(one.described.ids, one.groups, strict=True)],
            np.int64,
        )
        for one in (rows, queries)
    ]  # fmt: skip
    return Excluded(codes[0], codes[1])


def nobody(user: str, queries: About) -> UserError:
    """Return the error of images among which nobody can search for anything."""
    unlabelled = not any(queries.described.labels)
    lack = "none of them has a label" if unlabelled else "no other image is what a query's user wants"
    help_ = (
        "put the images into a folder for each class, or give task.labels=FILE.csv" if unlabelled
        else "change user=..., task.group or task.gallery"
    )  # fmt: skip
    return UserError(
        f"None of the {len(queries.groups)} images can be searched with by user={user}, as {lack}; {help_}."
    )
