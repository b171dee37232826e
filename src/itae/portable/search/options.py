"""How a search is done: the settings of ``search``, each one checked before anything is read or computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from itae.base.checks import number, one_of, whole
from itae.base.errors import UserError

SAMPLERS = ("nsga2", "tpe", "gp")
OBJECTIVES = ("each", "worst")
JUDGES = ("auto", "supernet", "training")
FEWEST_MEASURED = 12
"""Networks below which no predictor is fitted: held-out errors of fewer say nothing."""
FEWEST_CHECKED = 4
"""Networks below which a rank correlation has no interval."""


@dataclass(frozen=True)
class Search:
    """How networks are looked for.

    Parameters
    ----------
    judged
        Networks that are judged, at least 1. Default 200.
    sampler
        ``nsga2`` (default), NSGA-II (Deb et al. 2002); ``tpe``, of Optuna's tree-structured Parzen estimators with
        several objectives (Ozaki et al. 2020); ``gp``, Gaussian processes, the slowest to ask.
    population
        Of NSGA-II, at least 2. Default 20: with 50, Optuna's own, 200 candidates are four generations.
    objective
        Beside quality: ``each`` (default), the time on each device; ``worst``, one time: the largest over devices of
        the time over the reference's, for networks that are to run everywhere.
    judge
        By whom quality is told: ``supernet``; ``training``, of each candidate by itself for `steps`, which takes far
        longer; ``auto`` (default), the supernet if its order of `checked` networks is that of training them, else
        training.
    steps, crop, batch
        Of the short training of a candidate, at least 1 each. Default 150, 32 and 8: on sixteen networks their order
        was that of 300 steps of ``train`` with Spearman's .85, and that of 60 steps with its crops and batches, .59.
    measured
        Networks that are measured on each device to predict the times of others from, at least 12. Default 36.
    checked
        Networks that are trained by themselves to hold the supernet's order against, at least 4; those made by hand
        are among them where the space has them. Default 12; 0: it isn't checked.
    chosen
        Networks that are trained, converted and measured in the end, at least 1. Default 20.
    portable
        Networks of the set for all devices, at most; at least 1. Default 3.
    asked
        A trial may ask for a network that was judged before, or is hopeless. Trials end at so many times `judged`, at
        least 1. Default 20.
    seed
        Of the sampler, at least 0. Default 0.

    Raises
    ------
    UserError
        When a value isn't one that is allowed.
    """

    judged: int = 200
    sampler: str = "nsga2"
    population: int = 20
    objective: str = "each"
    judge: str = "auto"
    steps: int = 150
    crop: int = 32
    batch: int = 8
    measured: int = 36
    checked: int = 12
    chosen: int = 20
    portable: int = 3
    asked: float = 20
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every value."""
        whole("search.judged", self.judged, low=1)
        one_of("search.sampler", self.sampler, SAMPLERS)
        whole("search.population", self.population, low=2)
        one_of("search.objective", self.objective, OBJECTIVES)
        one_of("search.judge", self.judge, JUDGES)
        whole("search.steps", self.steps, low=1)
        whole("search.crop", self.crop, low=8, high=4096)
        whole("search.batch", self.batch, low=1, high=4096)
        whole("search.measured", self.measured, low=FEWEST_MEASURED)
        whole("search.checked", self.checked, low=0)
        if 0 < self.checked < FEWEST_CHECKED:
            raise UserError(
                f"search.checked={self.checked} networks have no rank correlation to speak of; take at least "
                f"{FEWEST_CHECKED}, or 0 to check nothing."
            )
        whole("search.chosen", self.chosen, low=1)
        whole("search.portable", self.portable, low=1)
        number("search.asked", self.asked, low=1)
        whole("search.seed", self.seed, low=0, high=2**32 - 1)

    def asking(self) -> dict[str, Any]:
        """Return what the order of candidates depends on: of a longer search, a shorter one is the start."""
        return {name: getattr(self, name) for name in ("sampler", "population", "objective", "seed")}
