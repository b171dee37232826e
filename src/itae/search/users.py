"""Simulated users: who marks what is shown with yes or no, for a wish that the search is not told.

The classes of the group ``user``. A user knows what is said of images, their labels and attributes, and never how alike
they are. What such a user likes is a rule; whether people like it is not known of any of them.

Shapes: M images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from itae.base.checks import number
from itae.base.errors import UserError, did_you_mean
from itae.images.walk import listed


@dataclass(frozen=True)
class Picture:
    """What is said of one image: its id, its labels, sorted, and a text for each attribute, empty for nothing."""

    id: str
    labels: tuple[str, ...]
    attributes: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Described:
    """What is said of many images.

    Parameters
    ----------
    ids
        M names.
    labels
        Of each none, one or several.
    attributes
        M texts by the name of each column, empty where nothing is said.
    """

    ids: Sequence[str]
    labels: Sequence[tuple[str, ...]]
    attributes: Mapping[str, Sequence[str]]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, i: int) -> Picture:
        """Return what is said of one."""
        return Picture(self.ids[i], self.labels[i], {name: texts[i] for name, texts in self.attributes.items()})

    def labelled(self, label: str) -> np.ndarray:
        """Return which images have a label, beside others or alone, bool [M]."""
        return self._labels.get(label, np.zeros(len(self), bool))

    def alike(self, name: str, value: str) -> np.ndarray:
        """Return of which images an attribute is this text, bool [M].

        Raises
        ------
        UserError
            When there is no such attribute.
        """
        if name not in self.attributes:
            raise unknown_attribute("attribute", name, self.attributes)
        return self._values[name] == value

    @cached_property
    def _labels(self) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        for i, labels in enumerate(self.labels):
            for label in labels:
                if label not in found:
                    found[label] = np.zeros(len(self), bool)
                found[label][i] = True
        return found

    @cached_property
    def _values(self) -> dict[str, np.ndarray]:
        return {name: np.array(list(texts), object) for name, texts in self.attributes.items()}


def unknown_attribute(what: str, name: str, known: Mapping[str, object], words: str = "") -> UserError:
    """Return the error of an attribute that images don't have; `what` names the setting, which takes `words`, too."""
    there = f"they have {', '.join(known)}" if known else "they have none"
    also = f", or one of {words}" if words else ""
    return UserError(
        f"{what}={name} is no attribute of these images: {there}; give task.attributes=FILE.csv with a column of that "
        f"name{also}.{did_you_mean(name, known)}"
    )


@dataclass(frozen=True)
class User:
    """What a simulated user has to have: `wishes` and `wanted`.

    Parameters
    ----------
    noise
        Click noise: each mark is the wrong one with this probability, 0 to 1. Which marks are is drawn by the seed, the
        query's id and the marked image's, so that it is the same for every rule, on both sides and in any order of
        rows; what a smaller noise gets wrong, a larger one does, too.
    """

    noise: float = 0.0

    def __post_init__(self) -> None:
        """Check the noise."""
        number("user.noise", self.noise, 0, 1)

    def check(self, queries: Described, rows: Described) -> None:
        """Raise a `UserError` where no such user can be simulated on these images."""

    def wishes(self, query: Picture, draw: np.random.Generator) -> Sequence[str]:
        """Return what may be looked for with an image, each a search of its own: by default what it shows, in one.

        None where nothing can be.

        Parameters
        ----------
        query
            The image.
        draw
            Random numbers of this query alone.
        """
        return [" and ".join(query.labels)] if query.labels else []

    def wanted(self, query: Picture, rows: Described, wish: str) -> np.ndarray:
        """Return which rows this user says yes to, bool [M]; the query itself, where it is a row, is never shown.

        Parameters
        ----------
        query
            The image that is searched with.
        rows
            All that may be found.
        wish
            One of `wishes`.
        """
        raise NotImplementedError

    def marks(self, wanted_P: np.ndarray, ids: Sequence[str], search: str, seed: int) -> np.ndarray:
        """Return which of some shown images are marked yes, bool [P]: what is wanted, but for the noise.

        Parameters
        ----------
        wanted_P
            Which of them the user wants.
        ids
            Of the images.
        search, seed
            What noise is drawn by: a name of the search, as the query's id, and the run's seed.
        """
        if not self.noise:
            return wanted_P.copy()
        return wanted_P ^ np.array([drawn(seed, search, id_) < self.noise for id_ in ids], bool)


def drawn(seed: int, *names: str) -> float:
    """Return a number in [0, 1) that is drawn once for ever by a seed and some names."""
    return _drawn_bits(seed, names) / 2**64


def generator(seed: int, *names: str) -> np.random.Generator:
    """Return random numbers that are drawn by a seed and some names."""
    return np.random.default_rng(_drawn_bits(seed, names))


def _drawn_bits(seed: int, names: Sequence[str]) -> int:
    told = "\0".join([str(seed), *names]).encode(errors="surrogateescape")
    return int.from_bytes(hashlib.blake2b(told, digest_size=8).digest(), "little")


@dataclass(frozen=True)
class Category(User):
    """Wants what is of the query's class; with an image of several labels, what has all of them."""

    def wanted(self, query: Picture, rows: Described, wish: str) -> np.ndarray:
        """Return what has the query's labels."""
        return _of_its_class(query, rows)


_DRAWN, _EACH = "drawn", "each"


@dataclass(frozen=True)
class OneLabel(User):
    """The query has several labels and this user means one: wants all that have it, beside whatever else.

    Parameters
    ----------
    means
        Which one: ``drawn`` (by the seed, for each query), ``each`` (one after the other, a search for each), or the
        name of an attribute whose text is the label, as ``left`` of a pair of digits.
    """

    means: str = _DRAWN

    def check(self, queries: Described, rows: Described) -> None:
        """Find images of one label each, of which any is the one that is meant, and an attribute that there isn't."""
        if self.means not in (_DRAWN, _EACH):
            if self.means not in queries.attributes:
                raise unknown_attribute("user.means", self.means, queries.attributes, f"{_DRAWN}, {_EACH}")
        elif all(len(labels) < 2 for labels in queries.labels):
            raise UserError(
                "user=one_label means one of several labels, and none of these images has more than one; give "
                "task.labels=FILE.csv with several lines of an id, user.means=ATTRIBUTE, or user=category."
            )

    def wishes(self, query: Picture, draw: np.random.Generator) -> Sequence[str]:
        """Return the label that is meant, or each."""
        if self.means == _EACH or not query.labels:
            return query.labels
        if self.means == _DRAWN:
            return [query.labels[draw.integers(len(query.labels))]]
        return [text] if (text := query.attributes[self.means]) else []

    def wanted(self, query: Picture, rows: Described, wish: str) -> np.ndarray:
        """Return what has the label."""
        return rows.labelled(wish)


_OTHER, _SAME = "other", "same"


@dataclass(frozen=True)
class Conditioned(User):
    """Wants what is of the query's class under a condition: another value of an attribute, the same, or a given one.

    Parameters
    ----------
    attribute
        Which one.
    value
        ``other`` than the query's, the ``same``, or the text that it is to be. An image without one is never wanted.
    same
        What has to be the same beside that: None for the class, as `Category` has it, or the name of an attribute.
    """

    attribute: str = ""
    value: str = _OTHER
    same: str | None = None

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        if not isinstance(self.attribute, str) or not self.attribute:
            raise UserError("user.attribute is not set: name the attribute that user=conditioned asks for.")
        if not isinstance(self.same, str | None):
            raise UserError(f"user.same={self.same!r} must be the name of an attribute, or null for the class.")

    def check(self, queries: Described, rows: Described) -> None:
        """Find attributes that there aren't, and a value that no row has."""
        for of, name in (("attribute", self.attribute), *((("same", self.same),) if self.same else ())):
            for images in (queries, rows):
                if name not in images.attributes:
                    raise unknown_attribute(f"user.{of}", name, images.attributes)
        there = sorted({text for text in rows.attributes[self.attribute] if text})
        if self.value not in (_OTHER, _SAME) and str(self.value) not in there:
            raise UserError(
                f"user.value={self.value}: no image has that as its {self.attribute}; give {_OTHER}, {_SAME}, or one "
                f"of {listed(there)}.{did_you_mean(self.value, there)}"
            )

    def wishes(self, query: Picture, draw: np.random.Generator) -> Sequence[str]:
        """Return what is the same, and what the attribute is to be."""
        of = query.attributes[self.same] if self.same else " and ".join(query.labels)
        own = query.attributes[self.attribute]
        value = str(self.value) if self.value not in (_OTHER, _SAME) else own if self.value == _SAME else f"not {own}"
        return [f"{of}, {self.attribute} {value}"] if of and own else []

    def wanted(self, query: Picture, rows: Described, wish: str) -> np.ndarray:
        """Return what is the same, under the condition."""
        own = query.attributes[self.attribute]
        has = rows.alike(self.attribute, own if self.value in (_OTHER, _SAME) else str(self.value))
        if self.value == _OTHER:
            has = ~has & ~rows.alike(self.attribute, "")
        return has & (rows.alike(self.same, query.attributes[self.same]) if self.same else _of_its_class(query, rows))


def _of_its_class(query: Picture, rows: Described) -> np.ndarray:
    return np.logical_and.reduce([rows.labelled(label) for label in query.labels])
