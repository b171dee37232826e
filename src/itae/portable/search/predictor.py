"""How long a network would take on a device, from networks that were measured there: which candidates are worth a look.

A time is taken for a sum: a price, never negative, for each of `itae.portable.search.features.PARTS`, times how many of
it a network has. Prices are those that make the relative errors of the measured networks least squares, held down by a
ridge whose strength is chosen by cross-validation in six folds. A sum needs fewer networks than what learns from
logarithms alone: 44 U-Nets of all operators left a mean error of 5 to 8 per cent on 24 others, and a ridge on the
logarithms of sizes 11 to 19 (four runtimes, 96 pixels).

It prunes; it doesn't rank a front, whose networks are to be measured. How far it errs is told of networks that it was
not fitted on: each of those measured, predicted from all others, and later those that are measured in the end. Of
these many were chosen for being predicted fast, so that predictions of them tend to be low. What is unlike all that was
measured it refuses: prices of operators that it never saw are made up.

Letters: N networks, K parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from itae.base.checks import whole
from itae.base.errors import UserError
from itae.portable.nets.spec import Spec
from itae.portable.operators.correlations import spearman
from itae.portable.search.features import parts
from itae.portable.search.options import FEWEST_MEASURED

FOLDS = 6
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)
"""Of the ridge, on prices as shares of an average network's time; over the number of networks."""
MARGIN = 1.25
"""How far beyond the least and the most that was measured a network's MACs may lie, as a factor."""
_LISTED = ("up", "skip", "down", "activation", "conv", "kernel", "unshuffle")
FEWEST_LATER = 5
"""Networks measured after the fit, of which an error can be told."""
DRAWS = 2000


class Told(NamedTuple):
    """A number over held-out networks, and the 2.5th and 97.5th percentile of it over draws of those."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class HeldOut:
    """How a predictor errs on networks that it was not fitted on."""

    measured_ms: tuple[float, ...]
    predicted_ms: tuple[float, ...]
    median_error: Told
    """Of absolute errors, as shares of the measured time."""
    mean_error: Told
    spearman: Told
    within: float
    """A factor: 95 % of them are between the prediction over it and times it."""

    def sentence(self, device: str, which: str = "held out") -> str:
        """Return it as a line to print."""
        mean, median, rho = self.mean_error, self.median_error, self.spearman
        return (
            f"{device}: the predictor errs by {mean.value:.1%} on average ({mean.low:.1%} to {mean.high:.1%}), "
            f"{median.value:.1%} in the median, on {len(self.measured_ms)} networks {which}; rank correlation "
            f"{rho.value:.2f} ({rho.low:.2f} to {rho.high:.2f})"
        )

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        told = {name: list(getattr(self, name)) for name in ("median_error", "mean_error", "spearman")}
        return told | {
            "within": self.within,
            "measured_ms": list(self.measured_ms),
            "predicted_ms": list(self.predicted_ms),
        }


class Predictor:
    """Times on one device.

    Parameters
    ----------
    device
        Its name, for errors.
    specs, ms
        Networks and their times there. Give steady ones alone; what is NaN is left out.
    size
        Height and width of the pictures on which they were measured, and for which it predicts.
    seed
        Of the folds by which the strength of the ridge is chosen. Default 0.

    Raises
    ------
    UserError
        With fewer than `FEWEST_MEASURED` measured networks.
    """

    def __init__(
        self, device: str, specs: Sequence[Spec], ms: Sequence[float], size: tuple[int, int], seed: int = 0
    ) -> None:
        self.device, self.size = device, size
        ms_N = np.asarray(ms, float)
        known = np.flatnonzero(np.isfinite(ms_N) & (ms_N > 0))
        if len(known) < FEWEST_MEASURED:
            raise UserError(
                f"{device}: {len(known)} networks are measured and steady, and a predictor needs {FEWEST_MEASURED}; "
                "measure more of them (search.measured), give the clock more time (measure.budget_s), or leave the "
                "device out."
            )
        self._specs = [specs[int(i)] for i in known]
        parts_NK, ms_N = np.array([parts(spec, *size) for spec in self._specs]), ms_N[known]
        self.strength = _strength(parts_NK, ms_N, seed)
        self._prices_K = _fitted(parts_NK, ms_N, self.strength)
        self.held_out = held_out(ms_N, _from_all_others(parts_NK, ms_N, seed), seed)
        self._least, self._most = (end([_macs(spec, size) for spec in self._specs]) for end in (min, max))

    def __call__(self, spec: Spec) -> float:
        """Return the time of a network in ms.

        Raises
        ------
        UserError
            If it is unlike all that was measured: see `outside`.
        """
        if why := self.outside(spec):
            raise UserError(f"{self.device}: {why}, so its time would be made up; measure networks like it.")
        return float(parts(spec, *self.size) @ self._prices_K)

    def afterwards(self, specs: Sequence[Spec], ms: Sequence[float]) -> HeldOut | None:
        """Return how it errs on networks that were measured later; None with fewer than `FEWEST_LATER`.

        Those that it was fitted on, or can't predict, and those whose time is NaN are left out.
        """
        both = [(one, self(spec)) for spec, one in zip(specs, ms, strict=True)
                if one > 0 and spec not in self._specs and self.outside(spec) is None]  # fmt: skip
        return held_out(*np.array(both).T) if len(both) >= FEWEST_LATER else None

    def outside(self, spec: Spec) -> str | None:
        """Return in words how a network is unlike all that were measured; None if it isn't."""
        for name in _LISTED:
            seen = {getattr(each, name) for each in self._specs}
            if getattr(spec, name) not in seen:
                return f"net.{name}={getattr(spec, name)} is not among the networks measured"
        macs = _macs(spec, self.size)
        if not self._least / MARGIN <= macs <= self._most * MARGIN:
            low, high = (f"{each / 1e6:,.1f}" for each in (self._least, self._most))
            return f"a network of {macs / 1e6:,.1f} million MACs is beyond those measured ({low} to {high})"
        return None

    def interval(self, ms: float) -> tuple[float, float]:
        """Return between which times 95 % of networks are that are predicted to take so long."""
        return ms / self.held_out.within, ms * self.held_out.within

    def prices(self) -> dict[str, float]:
        """Return ms a part (10^6 MACs, values or weights, or one operator), of those that are above 0."""
        from itae.portable.search.features import PARTS

        return {name: float(price) for name, price in zip(PARTS, self._prices_K, strict=True) if price > 0}


def held_out(ms_N: np.ndarray, predicted_N: np.ndarray, seed: int = 0) -> HeldOut:
    """Return how predictions err, with intervals over draws of networks with replacement."""
    drawn_DN = np.random.default_rng(seed).integers(len(ms_N), size=(DRAWS, len(ms_N)))
    rows_DN = np.vstack([np.arange(len(ms_N)), drawn_DN])
    error_N = np.abs(predicted_N / ms_N - 1)
    rank = [math.nan if value is None else value for value in spearman(list(ms_N), list(predicted_N)).values()]
    within = float(np.exp(np.quantile(np.abs(np.log(predicted_N / ms_N)), 0.95)))
    return HeldOut(
        tuple(map(float, ms_N)),
        tuple(map(float, predicted_N)),
        _told(np.median(error_N[rows_DN], axis=1)),
        _told(error_N[rows_DN].mean(1)),
        Told(*rank),
        within,
    )


def design(choices: Mapping[str, Sequence[Any]], count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return which networks to measure: values of options that fill a space evenly, no two networks the same.

    They are points of Sobol's sequence, scrambled (`scipy.stats.qmc`), so that each value of an option comes about as
    often as its others, and with each of another option's. The first are as even as all, so some of them will do where
    time is short.

    Parameters
    ----------
    choices
        The values of each option, ``Space.choices()``.
    count
        Networks, at least 1; all of them where a space has fewer.
    seed
        Default 0.
    """
    from scipy.stats import qmc

    whole("search.measured", count, low=1)
    most = math.prod(map(len, choices.values()))
    points = qmc.Sobol(len(choices), rng=np.random.default_rng(seed))
    found: dict[tuple[int, ...], None] = {}
    while len(found) < min(count, most):
        for point in points.random(64):
            places = (min(int(x * len(of)), len(of) - 1) for x, of in zip(point, choices.values(), strict=True))
            found.setdefault(tuple(places))
    taken = list(found)[:count]
    return [{name: of[i] for i, (name, of) in zip(place, choices.items(), strict=True)} for place in taken]


def to_measure(space: Any, count: int, seed: int = 0) -> list[Spec]:
    """Return the networks of a space to measure: its smallest and largest, between which all others lie, and a design.

    Parameters
    ----------
    space
        Has ``choices()``, ``spec(values)``, ``smallest`` and ``largest``.
    count, seed
        See `design`; the two count.
    """
    found = dict.fromkeys((space.smallest, space.largest))
    for values in design(space.choices(), count, seed):
        if len(found) < count:
            found.setdefault(space.spec(values))
    return list(found)


def _fitted(parts_NK: np.ndarray, ms_N: np.ndarray, strength: float) -> np.ndarray:
    """Return the price of each part, float64 [K], of least squares of relative errors."""
    from sklearn.linear_model import Ridge

    shares_NK = parts_NK / ms_N[:, None]
    scale_K = shares_NK.mean(0)
    seen = scale_K > 0
    fit = Ridge(alpha=strength, positive=True, fit_intercept=False)
    fit.fit(shares_NK[:, seen] / scale_K[seen], np.ones(len(ms_N)))
    prices_K = np.zeros(parts_NK.shape[1])
    prices_K[seen] = fit.coef_ / scale_K[seen]
    return prices_K


def _from_all_others(parts_NK: np.ndarray, ms_N: np.ndarray, seed: int) -> np.ndarray:
    """Return each network's time as all others predict it, whose ridge has a strength chosen by them alone."""
    from sklearn.model_selection import LeaveOneOut

    return _from_others(parts_NK, ms_N, LeaveOneOut(), lambda parts, ms: _strength(parts, ms, seed))


def _strength(parts_NK: np.ndarray, ms_N: np.ndarray, seed: int) -> float:
    """Return the strength by which networks that are held out, fold by fold, are predicted best."""
    from sklearn.model_selection import KFold

    folds = KFold(min(FOLDS, len(ms_N)), shuffle=True, random_state=seed)

    def error(strength: float) -> float:
        predicted_N = _from_others(parts_NK, ms_N, folds, lambda parts, ms: strength)
        return float(np.mean(np.abs(predicted_N / ms_N - 1)))

    return min(STRENGTHS, key=error)


def _from_others(
    parts_NK: np.ndarray, ms_N: np.ndarray, folds: Any, strength: Callable[[np.ndarray, np.ndarray], float]
) -> np.ndarray:
    """Return each network's time as those outside its fold predict it, with a strength that they alone give."""
    predicted_N = np.empty(len(ms_N))
    for fit, left in folds.split(parts_NK):
        others = parts_NK[fit], ms_N[fit]
        predicted_N[left] = parts_NK[left] @ _fitted(*others, strength(*others))
    return predicted_N


def _told(values: np.ndarray) -> Told:
    value = float(values[0])
    low, high = (float(each) for each in np.percentile(values[1:], (2.5, 97.5)))
    return Told(value, min(low, value), max(high, value))


def _macs(spec: Spec, size: tuple[int, int]) -> int:
    from itae.portable.nets.costs import cost

    return cost(spec, *size).macs
