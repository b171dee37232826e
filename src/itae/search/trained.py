"""Rules of feedback that are trained on what was judged: linear classifiers of scikit-learn.

Their public names are those of `itae.feedback`.

Shapes: J judged with the query, R rows of which scores are asked, E embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from itae.base.checks import number
from itae.base.errors import UserError
from itae.base.names import choice_of
from itae.search.judged import Judged
from itae.search.rule import Near, Rule


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

    def __post_init__(self) -> None:
        """Check the weights: a command line may name them."""
        if not isinstance(self.weights, list | tuple):
            raise UserError(
                f"feedback.weights={self.weights!r} must be a list of numbers, one for each that was judged."
            )
        for weight in self.weights:
            number("feedback.weights", weight)

    def scores(self, near: Near) -> np.ndarray:
        """Return the sums."""
        if len(self.weights) != len(near.all_JR):
            raise UserError(
                f"feedback.weights has {len(self.weights)} numbers, and {len(near.all_JR)} were judged with the query; "
                "give one for each."
            )
        return (near.all_JR * np.array(self.weights, near.all_JR.dtype)[:, None]).sum(axis=0)


@dataclass(frozen=True)
class Trained(Rule):
    """What linear classifiers share: the normal of their plane is a weighted sum of what they were trained on.

    So a row's side of it is a sum of similarities. (The plane's constant is left out, which is the same for all rows.)
    The query is one of the yes. Without a no there is nothing to tell apart: then the order is that of
    ``mean_difference``, and a note says so.

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
            liked = 1 + len(judged.yes_YE)
            return Weighted((2 / liked,) * liked)
        is_yes_J = np.arange(len(judged.vectors)) <= len(judged.yes_YE)
        return Weighted(tuple(self.weigh(judged.vectors.astype(np.float64), is_yes_J).tolist()))

    def weigh(self, vectors_JE: np.ndarray, is_yes_J: np.ndarray) -> np.ndarray:
        """Return the weight of each vector, float64 [J], in the normal of the plane between yes and no."""
        raise UserError(f"feedback={choice_of(type(self).__name__)} has no weights; write its weigh(vectors, is_yes).")

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
