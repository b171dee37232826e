"""Rules of feedback: what an image is worth, by how alike it is to the query and to what was judged.

The classes of the group ``feedback``: this is the module that ``itae.feedback`` stands for. The query counts as one
yes, and a mean or a maximum over nothing is 0, where a rule doesn't say otherwise.

Shapes: J judged with the query, Y yes, N no, R rows of which scores are asked, E embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from itae.base.checks import number
from itae.search.judged import Judged
from itae.search.rule import Near, Rule

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
    are of the other. The score is the similarity to the query, and 2 more for yes.
    """

    monotone: ClassVar[bool] = True

    def scores(self, near: Near) -> np.ndarray:
        """Return the similarities, lifted where a yes is nearest."""
        yes = near.yes if near.is_text else near.liked
        if not len(yes) and not len(near.no):
            return near.query
        is_yes_R = yes.max(axis=0, initial=-_FIRST) >= near.no.max(axis=0, initial=-_FIRST)
        return near.query + np.where(is_yes_R, near.all_JR.dtype.type(_FIRST), near.all_JR.dtype.type(0))


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
    """

    temperature: float = 0.1
    monotone: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the setting; exp(1 / temperature) has to be a number of float32."""
        number("feedback.temperature", self.temperature, low=0.02)

    def scores(self, near: Near) -> np.ndarray:
        """Return the sums."""
        each_JR = np.exp(near.all_JR / near.all_JR.dtype.type(self.temperature))
        liked = len(near.liked)
        return each_JR[:liked].sum(axis=0) - each_JR[liked:].sum(axis=0)


@dataclass(frozen=True)
class Weighted(Rule):
    """A sum of similarities with a weight each: what a trained rule becomes once it is fitted.

    Parameters
    ----------
    weights
        Of the query, each yes and each no: of the latter none above 0, of the others none below.
    """

    weights: tuple[float, ...]
    monotone: ClassVar[bool] = True

    def scores(self, near: Near) -> np.ndarray:
        """Return the sums."""
        return (near.all_JR * np.array(self.weights, near.all_JR.dtype)[:, None]).sum(axis=0)


@dataclass(frozen=True)
class Trained(Rule):
    """What linear classifiers share: the normal of their plane is a weighted sum of what they were trained on.

    So a row's side of it is a sum of similarities. (The plane's constant is left out, which is the same for all rows.)
    The query is one of the yes. Without a no there is nothing to tell apart: then the order is that of
    `MeanDifference`, and a note says so.

    Parameters
    ----------
    C
        How much an error weighs against a long normal, as in scikit-learn; from .001 to 1e6.
    """

    C: float = 1.0

    def __post_init__(self) -> None:
        """Check the setting."""
        number("feedback.C", self.C, low=1e-3, high=1e6)

    def fitted(self, judged: Judged) -> Rule:
        """Return the classifier of what was judged."""
        if not len(judged.no_NE):
            return MeanDifference()
        is_yes_J = np.arange(len(judged.vectors)) <= len(judged.yes_YE)
        return Weighted(tuple(self.weigh(judged.vectors.astype(np.float64), is_yes_J).tolist()))

    def weigh(self, vectors_JE: np.ndarray, is_yes_J: np.ndarray) -> np.ndarray:
        """Return the weight of each vector, float64 [J], in the normal of the plane between yes and no."""
        raise NotImplementedError

    def notes(self, judged: Judged) -> Sequence[str]:
        """Say that a classifier needs both."""
        if len(judged.no_NE):
            return ()
        return (f"feedback={type(self).__name__.lower()} needs a no, and there is none: ranked by mean_difference.",)


@dataclass(frozen=True)
class Logistic(Trained):
    """Logistic regression of yes against no (scikit-learn's)."""

    def weigh(self, vectors_JE: np.ndarray, is_yes_J: np.ndarray) -> np.ndarray:
        """Return the weights: where the gradient is 0, the normal is the sum of C (y - p) x over all x."""
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=self.C, tol=1e-8, max_iter=1000).fit(vectors_JE, is_yes_J)
        return self.C * (is_yes_J - model.predict_proba(vectors_JE)[:, 1])


@dataclass(frozen=True)
class Svm(Trained):
    """A linear support vector machine of yes against no (scikit-learn's)."""

    def weigh(self, vectors_JE: np.ndarray, is_yes_J: np.ndarray) -> np.ndarray:
        """Return the dual coefficients."""
        from sklearn.svm import SVC

        model = SVC(kernel="linear", C=self.C, tol=1e-6).fit(vectors_JE, is_yes_J)
        weights_J = np.zeros(len(vectors_JE))
        weights_J[model.support_] = model.dual_coef_[0]
        return weights_J


def _mean(some_JR: np.ndarray, weight: float) -> np.ndarray:
    """Return the mean times a weight, [R]; of nothing 0."""
    return some_JR.sum(axis=0) * some_JR.dtype.type(weight / max(1, len(some_JR)))
