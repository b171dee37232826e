"""Rules of feedback: what an image is worth, by how alike it is to the query and to what was judged.

The classes of the group ``feedback``: this is the module that ``itae.feedback`` stands for. The query counts as one
yes, and a mean or a maximum over nothing is 0, where a rule doesn't say otherwise.

Shapes: J judged with the query, Y yes, N no, R rows of which scores are asked, E embedding width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from itae.base.checks import number, one_of, true_or_false
from itae.search.rule import Near, Rule
from itae.search.trained import Logistic, Svm, Trained, Weighted

__all__ = [
    "Kernel",
    "Logistic",
    "Margin",
    "MeanDifference",
    "Near",
    "Nearest",
    "Rocchio",
    "Rule",
    "Svm",
    "Tally",
    "Trained",
    "Unchanged",
    "Weighted",
]

_FIRST = 2.0  # more than any two similarities differ


@dataclass(frozen=True)
class Unchanged(Rule):
    """By similarity to the query; marks change nothing but what is left to show."""

    monotone: ClassVar[bool] = True

    def scores(self, near: Near) -> np.ndarray:
        """Return the similarities."""
        return near.query


@dataclass(frozen=True)
class Nearest(Rule):
    """The 1-NN rule (Nara et al., arXiv:2404.16398): is the nearest judged image a yes? Those first, by similarity.

    The query is judged a yes, a text is not judged. Equally near counts as yes. Without one of the two kinds all rows
    are of the other. The score is a similarity, and 2 more for yes.

    Parameters
    ----------
    within
        What rows of one kind are put in order by: similarity to the ``query``, or to the ``nearest`` yes, of which the
        query is one (words are the query where no image is a yes).
    """

    within: Literal["query", "nearest"] = "query"
    monotone: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the setting."""
        one_of("feedback.within", self.within, ("query", "nearest"))

    def scores(self, near: Near) -> np.ndarray:
        """Return the similarities, lifted where a yes is nearest."""
        yes = near.yes if near.is_text else near.liked
        if not len(yes) and not len(near.no):
            return near.query
        is_yes_R = yes.max(axis=0, initial=-_FIRST) >= near.no.max(axis=0, initial=-_FIRST)
        similar_R = yes.max(axis=0) if self.within == "nearest" and len(yes) else near.query
        return similar_R + np.where(is_yes_R, near.all_JR.dtype.type(_FIRST), near.all_JR.dtype.type(0))


@dataclass(frozen=True)
class Margin(Rule):
    """The most similar yes, less the most similar no."""

    monotone: ClassVar[bool] = True

    def scores(self, near: Near) -> np.ndarray:
        """Return the differences."""
        return near.liked.max(axis=0) - (near.no.max(axis=0) if len(near.no) else 0)


@dataclass(frozen=True)
class Rocchio(Rule):
    """The query, moved to the mean yes and away from the mean no (Rocchio, 1971, chapter 14 of Salton's SMART).

    Parameters
    ----------
    beta, gamma
        How far to the one and from the other, at least 0; the weights that Manning et al. (2008), Introduction to
        Information Retrieval, 9.1.1, name. The query is not among the yes here.
    """

    beta: float = 0.75
    gamma: float = 0.25
    monotone: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the weights."""
        number("feedback.beta", self.beta, low=0)
        number("feedback.gamma", self.gamma, low=0)

    def scores(self, near: Near) -> np.ndarray:
        """Return the products with the moved query."""
        return near.liked[0] + _mean(near.yes, self.beta) - _mean(near.no, self.gamma)


@dataclass(frozen=True)
class MeanDifference(Rule):
    """Twice the mean yes less the mean no; Qdrant's ``average_vector``."""

    monotone: ClassVar[bool] = True

    def scores(self, near: Near) -> np.ndarray:
        """Return the products with that vector."""
        return _mean(near.liked, 2.0) - _mean(near.no, 1.0)


@dataclass(frozen=True)
class Tally(Rule):
    """What speaks for a row less what speaks against it, a mark for less the more there are of its kind.

    The sum over yes, divided by a power of their number, less gamma times the same over no. A power of 1 has means, as
    `MeanDifference` (with a gamma of .5), of which one wrong no among many yes is half; a power of 0 has sums, as
    Qdrant's ``sum_scores`` (with 1), of which ten no drive away from what they and a yes have in common. Between the
    two, a side that has more marks counts for more, and not as much more. `experiments/07_feedback` says how the
    numbers were chosen.

    Parameters
    ----------
    power
        Of the number of marks, from 0 to 1.
    gamma
        What the no count for, at least 0.
    """

    power: float = 0.7
    gamma: float = 0.7
    monotone: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the numbers."""
        number("feedback.power", self.power, low=0, high=1)
        number("feedback.gamma", self.gamma, low=0)

    def scores(self, near: Near) -> np.ndarray:
        """Return the products with the vector that is so made."""
        return _mean(near.liked, len(near.liked) ** (1 - self.power)) - _mean(
            near.no, self.gamma * len(near.no) ** (1 - self.power)
        )


@dataclass(frozen=True)
class Kernel(Rule):
    """A soft 1-NN: each yes speaks for what is near it, and each no against, by exp(similarity / temperature).

    Parameters
    ----------
    temperature
        At least .02, in units of the cosine: the smaller, the more the nearest alone decide.
    mean
        Whether the sum over yes, and that over no, is divided by how many there are.
    """

    temperature: float = 0.1
    mean: bool = False
    monotone: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the setting; exp(1 / temperature) has to be a number of float32."""
        number("feedback.temperature", self.temperature, low=0.02)
        true_or_false("feedback.mean", self.mean)

    def scores(self, near: Near) -> np.ndarray:
        """Return the sums."""
        each_JR = np.exp(near.all_JR / near.all_JR.dtype.type(self.temperature))
        liked_LR, no_NR = each_JR[: len(near.liked)], each_JR[len(near.liked) :]
        return _mean(liked_LR, 1 if self.mean else len(liked_LR)) - _mean(no_NR, 1 if self.mean else len(no_NR))


def _mean(some_JR: np.ndarray, weight: float) -> np.ndarray:
    """Return the mean times a weight, [R]; of nothing 0."""
    return some_JR.sum(axis=0) * some_JR.dtype.type(weight / max(1, len(some_JR)))
