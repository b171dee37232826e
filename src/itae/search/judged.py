"""What a search goes by: the query, and which of the images shown were a yes and which a no.

Shapes: J judged with the query, Y yes, N no, E embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from itae.knowledge.records.similarity import unit
from itae.knowledge.records.snapshot import Snapshot


@dataclass(frozen=True, eq=False)
class Query:
    """What is looked for.

    Parameters
    ----------
    vector_E
        Of the image or the text, float32, of length 1.
    is_text
        Whether it is words: a rule that asks which judged image is nearest doesn't count them as one.
    rows
        Positions of the rows that are the query itself, by its bytes, ascending.
    among_images_E
        Of words, what counts as a yes beside images once some were judged: `vector_E` without the modality gap, see
        `itae.search.text.bridge`. None is `vector_E`. How similar a row is to the words is told by that all the same.
    """

    vector_E: np.ndarray
    is_text: bool = False
    rows: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    among_images_E: np.ndarray | None = None


@dataclass(frozen=True)
class Marks:
    """Which rows were judged: positions, each of them in one of the two.

    Parameters
    ----------
    yes, no
        In any order.
    """

    yes: Sequence[int] = ()
    no: Sequence[int] = ()

    @property
    def all(self) -> np.ndarray:
        """Both, int64."""
        return np.array([*self.yes, *self.no], np.int64)


@dataclass(frozen=True, eq=False)
class Judged:
    """The vectors that a rule goes by, float32 of length 1; marks stand in the order of their ids.

    Parameters
    ----------
    query_E
        Of the query; of words that were brought among images, that.
    yes_YE, no_NE
        Of what was judged.
    is_text
        Whether the query is words.
    rows_J
        The positions of all three, that of the query -1.
    words_E
        Of words that were brought among images, their own vector; else None.
    """

    query_E: np.ndarray
    yes_YE: np.ndarray
    no_NE: np.ndarray
    is_text: bool
    rows_J: np.ndarray
    words_E: np.ndarray | None = None

    @property
    def vectors(self) -> np.ndarray:
        """The query, then yes, then no, [J, E]."""
        return np.concatenate([self.query_E[None], self.yes_YE, self.no_NE])


def judged(snapshot: Snapshot, query: Query, marks: Marks) -> Judged:
    """Return the vectors of a query and of what was judged.

    Raises
    ------
    UserError
        For a query that has no direction, or another width than the base.
    """
    width = snapshot.vectors_ME.shape[1] if len(snapshot.vectors_ME) else None
    query_E, words_E = unit(query.vector_E[None], width)[0], None
    if query.among_images_E is not None and len(marks.all):
        query_E, words_E = unit(query.among_images_E[None], width)[0], query_E
    yes, no = (np.array(sorted(some, key=snapshot.ids.__getitem__), np.int64) for some in (marks.yes, marks.no))
    yes_YE, no_NE = (np.array(snapshot.vectors_ME[some]).reshape(-1, len(query_E)) for some in (yes, no))
    return Judged(query_E, yes_YE, no_NE, query.is_text, np.array([-1, *yes, *no], np.int64), words_E)
