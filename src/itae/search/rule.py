"""What a rule of feedback is: how it sees rows, and what it has to have.

A rule sees nothing but similarities, so that a new mark costs one more of them for each row, whatever the rule.

Shapes: J judged with the query, Y yes, N no, R rows of which scores are asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from itae.base.errors import UserError
from itae.base.names import choice_of
from itae.search.judged import Judged


@dataclass(frozen=True, eq=False)
class Near:
    """How alike some rows are to what a rule goes by: cosines.

    Parameters
    ----------
    all_JR
        The query, then yes, then no.
    yes_count
        Y.
    is_text
        Whether the query is words.
    words_R
        To these words, where the first of `all_JR` is to what was made of them to stand beside images; else None.
    """

    all_JR: np.ndarray
    yes_count: int
    is_text: bool
    words_R: np.ndarray | None = None

    @property
    def query(self) -> np.ndarray:
        """To the query as it was asked, [R]: by this rows are told and equal ones put in order."""
        return self.all_JR[0] if self.words_R is None else self.words_R

    @property
    def yes(self) -> np.ndarray:
        """To each yes, [Y, R]."""
        return self.all_JR[1 : 1 + self.yes_count]

    @property
    def liked(self) -> np.ndarray:
        """To the query, as one yes, and to each yes, [1 + Y, R]."""
        return self.all_JR[: 1 + self.yes_count]

    @property
    def no(self) -> np.ndarray:
        """To each no, [N, R]."""
        return self.all_JR[1 + self.yes_count :]


@dataclass(frozen=True)
class Rule:
    """What a rule has to have: `scores`, and `fitted` where it learns something of what was judged first.

    A score of a row is a function of that row's similarities alone, whatever is beside it.
    """

    monotone: ClassVar[bool] = False
    """Whether to be more alike to query or yes, and less to a no, never lowers a score. By this the rows that may come
    first are found quickly among many; the scores of any other rule are computed of all rows in float64."""

    def fitted(self, judged: Judged) -> Rule:
        """Return the rule for what was judged: by default itself."""
        return self

    def scores(self, near: Near) -> np.ndarray:
        """Return the score of each row, finite, [R]; the highest comes first."""
        raise UserError(f"feedback={choice_of(type(self).__name__)} has no scores; write its scores(near).")

    def notes(self, judged: Judged) -> Sequence[str]:
        """Return what to know of this round, in sentences."""
        return ()
