"""What the pages of a knowledge base are drawn from: plain values, which whoever has a base gathers.

Ids, labels, names and reasons are any text. Times know their zone. An id that is named anywhere stands in ``rows``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

THERE, MOVED, CHANGED, NONE, UNREADABLE = "there", "moved", "changed", "none", "unreadable"
"""A row's picture: where the row says; not there any more; other bytes are; the row says of no picture; no picture."""

Picture = Callable[[str], "Image.Image | str"]
"""Returns the picture of a row by its id, RGB and upright, or why there is none: one of the above. Called once for each
row that is shown, from several threads."""


@dataclass(frozen=True)
class Row:
    """What is known of a row.

    Parameters
    ----------
    labels
        All of them; one without any is found and never votes.
    source, group, place, time
        Where it came from, what it belongs together with, where its picture lies, when it was added.
    """

    labels: tuple[str, ...] = ()
    source: str = ""
    group: str | None = None
    place: str | None = None
    time: datetime | None = None


@dataclass(frozen=True)
class Source:
    """What came from one source.

    Parameters
    ----------
    name, rows
        How it is called, and how many rows it has.
    first, last
        When the first and the last of them were added.
    labels
        The rows of each label, the most first.
    """

    name: str
    rows: int
    first: datetime | None
    last: datetime | None
    labels: Mapping[str, int]


@dataclass(frozen=True)
class Edit:
    """One edit: the line of the journal, and the rows that there were after it."""

    number: int
    verb: str
    who: str
    when: datetime
    why: str
    added: int
    changed: int
    deleted: int
    rows: int


@dataclass(frozen=True)
class Suspect:
    """A row that is likely wrong.

    Parameters
    ----------
    id
        Of the row.
    score
        How likely, as its finder counts.
    reasons
        Sentences, or parts of one.
    suggested
        The label that its neighbours have; None where they suggest none.
    near
        Its nearest rows with their similarities, the nearest first.
    """

    id: str
    score: float
    reasons: tuple[str, ...] = ()
    suggested: str | None = None
    near: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Duplicates:
    """Rows whose pictures are the same: byte for byte where `similarity` is None, else at least so similar."""

    ids: tuple[str, ...]
    similarity: float | None = None


@dataclass(frozen=True)
class Outlier:
    """A row that is far from all others, and how far (cosine distance to the nearest).

    Parameters
    ----------
    id, distance
        The row, and how far.
    within
        The label within which it is; None for all rows.
    """

    id: str
    distance: float
    within: str | None = None


@dataclass(frozen=True)
class Map:
    """Rows on two axes.

    Parameters
    ----------
    ids
        Those that are drawn; a few thousand, at most.
    points
        Where, x and y of each.
    axes
        What the two axes are.
    """

    ids: Sequence[str]
    points: Sequence[Sequence[float]]
    axes: tuple[str, str]


@dataclass(frozen=True)
class AboutBase:
    """What the page of a base tells.

    Parameters
    ----------
    name
        For people.
    place
        The base as a command names it from any folder: an absolute path or a URL.
    version, root, tags
        Of the version that is told; `tags` are versions by name.
    rows, unlabelled, groups
        How many; `groups` counts what belongs together, a row of its own included.
    images
        ``refer`` or ``embed``.
    space
        What vectors are a function of, in words: the value of each thing, by its name.
    identity
        The same as it is compared, plain values.
    labels
        The rows of each label, those without any included.
    sources, edits
        All of them; edits in their order.
    pictures
        How many rows by the state of their picture, `THERE` and so on, as far as that is known without reading them;
        empty where nobody looked.
    lost
        Ids of some whose picture isn't where it was.
    suspects, duplicates, outliers
        The most so first. None where nobody looked.
    map
        None where there is nothing to draw.
    details
        Each id that is named above, in full.
    notes
        What is to be said of ``suspects``, ``duplicates``, ``outliers`` or ``map``: how it was looked for, among how
        many rows.
    """

    name: str
    place: str
    version: int
    root: str
    rows: int
    labels: Mapping[str, int] = field(default_factory=dict)
    unlabelled: int = 0
    groups: int = 0
    tags: Mapping[str, int] = field(default_factory=dict)
    images: str = "refer"
    space: Mapping[str, str] = field(default_factory=dict)
    identity: Mapping[str, Any] = field(default_factory=dict)
    sources: Sequence[Source] = ()
    edits: Sequence[Edit] = ()
    pictures: Mapping[str, int] = field(default_factory=dict)
    lost: Sequence[str] = ()
    suspects: Sequence[Suspect] | None = None
    duplicates: Sequence[Duplicates] | None = None
    outliers: Sequence[Outlier] | None = None
    map: Map | None = None
    details: Mapping[str, Row] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Neighbour:
    """A row that had a part in an answer.

    Parameters
    ----------
    id, similarity
        The row, and its cosine with the query.
    share
        Of the vote, 0 to 1; a row with m labels gives each 1/m of it.
    """

    id: str
    similarity: float
    share: float


@dataclass(frozen=True)
class Turn:
    """Rows without which the answer is another one, which was seen by leaving them out.

    Parameters
    ----------
    ids
        Those rows.
    label
        The answer without them; None if there is none.
    fewest
        Whether it is proven that fewer wouldn't do.
    """

    ids: tuple[str, ...]
    label: str | None
    fewest: bool


@dataclass(frozen=True)
class AboutAnswer:
    """What the page of one answer tells.

    Parameters
    ----------
    base, place, version, root
        As of `AboutBase`.
    image
        What was asked about: a path.
    label
        The answer; None where there is none, because the picture is too unusual.
    scores
        The share of each label, the largest first.
    voter
        In words: how the neighbours vote, and how that was chosen.
    again
        The words of the command that gives the same.
    p
        The share of the base's rows that are at least as far from their nearest as the picture is from its own.
    abstain
        Below which p there is no answer; None if there always is one.
    known
        Rows with the picture's bytes: id and label.
    neighbours
        The nearest first; empty where the voter has none.
    turn
        None where no removal turns the answer, or none was found.
    details
        Each id that is named above, in full.
    notes
        What else is to be said, sentences.
    """

    base: str
    place: str
    version: int
    root: str
    image: str
    label: str | None
    scores: Mapping[str, float]
    voter: str
    again: Sequence[str]
    p: float | None = None
    abstain: float | None = None
    known: Sequence[tuple[str, str | None]] = ()
    neighbours: Sequence[Neighbour] = ()
    turn: Turn | None = None
    details: Mapping[str, Row] = field(default_factory=dict)
    notes: Sequence[str] = ()
