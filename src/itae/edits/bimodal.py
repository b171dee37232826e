"""``detector.rule=bimodal``: one threshold a layer, fitted without labels, where the signal has two modes.

The signal of all patches of the calibration images is pooled in the log domain and described by a mixture of one to
`_MOST_COMPONENTS` Gaussians (scikit-learn, maximum likelihood; as many as BIC finds, Schwarz, 1978). Components are
not modes: a heavy tail takes several. So they are merged as Hennig (2010, doi:10.1007/s11634-010-0058-3) merges
them, by the valleys of their common density. Two modes are accepted if, on the artifacts' side of the median, that
density has a valley that is at most `VALLEY` times as high as the lower of the modes left and right of it.

The threshold is the middle of the deepest such valley's floor. Without one the layer's threshold is NaN: nothing is
flagged there, and the run says so.

One Gaussian for the artifacts and one for the rest is not enough: rare artifacts share theirs with the rest's tail
(experiments/04_known_answers).

Layers are fitted in order, each on the stream as the edits of the layers before it leave it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture


FIT = 2
"""The version of the fit, in the keys of what is flagged by it: raise it with every change of a threshold."""
VALLEY = 0.5
_FLOOR = 0.01  # of the lower mode's density: where the valley counts as empty
_FEWEST = 100  # patches: a mixture is not fitted on less
_MOST_COMPONENTS = 4
_TAILS = (0.01, 0.001)  # shares of the patches that a fit is started with as a component: EM finds no rare mode alone
_NUMBERS = ("theta", "valley", "minority")  # of a fit, and NaN where it has none
_MOST_VALUES = 20_000  # half a second a layer; 20 of them are a mode's


@dataclass(frozen=True)
class Fit:
    """The fitted threshold of one layer, and why.

    Parameters
    ----------
    theta
        The threshold, NaN where there are no two modes.
    reason
        ``bimodal``, or the first condition that failed.
    components
        How many Gaussians describe the signal best; 0 if none were fitted.
    valley, minority
        The depth of the valley as a share of the lower mode, and the share of patches beyond the threshold; NaN if
        not reached.
    """

    theta: float
    reason: str
    components: int = 0
    valley: float = math.nan
    minority: float = math.nan

    def as_json(self) -> dict[str, Any]:
        """Return the fit as values that JSON has; NaN is None."""
        return {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def of_json(cls, told: Mapping[str, Any]) -> Fit:
        """Return the fit that `as_json` tells."""
        numbers = {name: math.nan if told[name] is None else float(told[name]) for name in _NUMBERS}
        return cls(reason=str(told["reason"]), components=int(told["components"]), **numbers)


def fit_threshold(signal: np.ndarray, side: str) -> Fit:
    """Fit the threshold between two modes of `signal`, if it has two.

    Parameters
    ----------
    signal
        Any shape, the pooled signal.
    side
        Which mode is the artifacts': ``low`` or ``high``.
    """
    values = np.asarray(signal, np.float64).ravel()
    values = values[values > 0]  # a norm of exactly 0 is no mode in the log domain
    if len(values) < _FEWEST:
        return Fit(math.nan, f"{len(values)} patches are too few")
    if len(values) > _MOST_VALUES:
        values = np.random.default_rng(0).choice(values, _MOST_VALUES, replace=False)
    logs = np.log(values)
    if np.ptp(logs) < 1e-6:
        return Fit(math.nan, "the signal is constant")
    mixture = min((_mixture(logs, n, side) for n in range(1, _MOST_COMPONENTS + 1)), key=lambda m: m.bic(logs[:, None]))
    if (components := mixture.n_components) == 1:
        return Fit(math.nan, "one component describes it best", 1)
    grid = np.linspace(logs.min(), logs.max(), 2001)
    density = np.exp(mixture.score_samples(grid[:, None]))
    left, right = np.maximum.accumulate(density), np.maximum.accumulate(density[::-1])[::-1]
    lower = np.minimum(left, right)
    beyond = grid > np.median(logs) if side == "high" else grid < np.median(logs)
    bottom = int(np.where(beyond, density / lower, np.inf).argmin())
    valley = float(density[bottom] / lower[bottom])
    if valley > VALLEY:
        return Fit(math.nan, f"the valley is {valley:.2f} of the lower mode, above {VALLEY:g}", components, valley)
    theta = math.exp(_middle_of_the_floor(grid, density, bottom, _FLOOR * lower[bottom]))
    minority = float((values <= theta).mean() if side == "low" else (values >= theta).mean())
    return Fit(theta, "bimodal", components, valley, minority)


def _mixture(logs: np.ndarray, components: int, side: str) -> GaussianMixture:
    """Return the likeliest mixture of so many components, of several starts: EM ends at the nearest maximum."""
    from sklearn.mixture import GaussianMixture

    def even(values: np.ndarray, n: int) -> np.ndarray:
        return np.quantile(values, (np.arange(n) + 0.5) / n)

    starts = [even(logs, components)]
    for share in _TAILS if components > 1 else ():
        cut = np.quantile(logs, 1 - share if side == "high" else share)
        tail = logs >= cut if side == "high" else logs <= cut
        if not tail.all():
            starts.append(np.append(even(logs[~tail], components - 1), logs[tail].mean()))
    fits = [
        GaussianMixture(components, means_init=start[:, None], random_state=0, max_iter=500).fit(logs[:, None])
        for start in starts
    ]
    return max(fits, key=lambda fit: fit.lower_bound_)


def _middle_of_the_floor(grid: np.ndarray, density: np.ndarray, bottom: int, floor: float) -> float:
    """Return the middle of the stretch around the valley's bottom where next to nothing is.

    The bottom itself lies close to the narrower mode, where a new image's patches would fall on either side.
    """
    above = np.flatnonzero(density > max(density[bottom], floor))
    left, right = above[above < bottom].max() + 1, above[above > bottom].min() - 1
    return float((grid[left] + grid[right]) / 2)
