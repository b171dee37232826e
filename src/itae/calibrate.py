"""``detector.rule=bimodal``: one threshold a layer, fitted without labels, where the signal has two modes.

The signal of all patches of the calibration images is pooled in the log domain and described by a Gaussian
mixture of one and of two components (scikit-learn, maximum likelihood). Two modes are accepted if

1. two components have the lower BIC (Schwarz, 1978),
2. Ashman's D = sqrt(2) |m1 - m2| / sqrt(s1^2 + s2^2) exceeds 2, the usual mark of a clean separation
   (Ashman, Bird and Zepf, 1994, doi:10.1086/117248), and
3. the mixture's density has a valley between the means, at most half as high as the lower of the two modes:
   a heavy tail has none.

The threshold is the middle of the valley's floor. Where one of these fails, or the flagged side is not the smaller one,
the layer's threshold is NaN: nothing is flagged there, and the run says so.

Layers are fitted in order, each on the stream as the edits of the layers before it leave it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from itae.edit import Edit
    from itae.replay import SharedPass

from itae.errors import UserError

ASHMAN_D = 2.0
VALLEY = 0.5
_FLOOR = 0.01  # of the lower mode's density: where the valley counts as empty
_FEWEST = 100  # patches: five parameters are not fitted on less
_MOST_VALUES = 200_000  # more than enough for five parameters, and quick


@dataclass(frozen=True)
class Fit:
    """The fitted threshold of one layer, and why.

    Parameters
    ----------
    theta
        The threshold, NaN where there are no two modes.
    reason
        ``bimodal``, or the first condition that failed.
    ashman_d, valley, minority
        The measured separation, depth of the valley as a share of the lower mode, and share of patches
        beyond the threshold; NaN if not reached.
    """

    theta: float
    reason: str
    ashman_d: float = math.nan
    valley: float = math.nan
    minority: float = math.nan

    def told(self) -> dict[str, Any]:
        """Return the fit as values that JSON has; NaN is None."""
        return {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in asdict(self).items()
        }


def fit_threshold(signal: np.ndarray, side: str) -> Fit:
    """Fit the threshold between two modes of `signal`, if it has two.

    Parameters
    ----------
    signal
        Any shape, the pooled signal.
    side
        Which mode is the artifacts': ``low`` or ``high``.
    """
    from sklearn.mixture import GaussianMixture

    values = np.asarray(signal, np.float64).ravel()
    values = values[values > 0]  # a norm of exactly 0 is no mode in the log domain
    if len(values) < _FEWEST:
        return Fit(math.nan, f"{len(values)} patches are too few")
    if len(values) > _MOST_VALUES:
        values = np.random.default_rng(0).choice(values, _MOST_VALUES, replace=False)
    logs = np.log(values)
    if np.ptp(logs) < 1e-6:
        return Fit(math.nan, "the signal is constant")
    column = logs[:, None]
    one = GaussianMixture(1).fit(column)
    start = _otsu(logs)
    means = [[logs[logs <= start].mean()], [logs[logs > start].mean()]]
    two = GaussianMixture(2, means_init=means, random_state=0, max_iter=500).fit(column)
    if two.bic(column) >= one.bic(column):
        return Fit(math.nan, "one component describes it better")
    low, high = np.sort(two.means_.ravel())
    d = math.sqrt(2) * (high - low) / math.sqrt(two.covariances_.sum())
    if d <= ASHMAN_D:
        return Fit(math.nan, f"Ashman's D {d:.2f} is not above {ASHMAN_D:g}", d)
    grid = np.linspace(low, high, 1001)
    density = np.exp(two.score_samples(grid[:, None]))
    bottom = int(density.argmin())
    valley = float(density[bottom] / min(density[: bottom + 1].max(), density[bottom:].max()))
    if valley > VALLEY:
        return Fit(math.nan, f"the valley is {valley:.2f} of the lower mode, above {VALLEY:g}", d, valley)
    theta = math.exp(_middle_of_the_floor(grid, density))
    minority = float((values <= theta).mean() if side == "low" else (values >= theta).mean())
    if minority > 0.5:
        return Fit(math.nan, f"{minority:.0%} of the patches lie on the {side} side", d, valley, minority)
    return Fit(theta, "bimodal", d, valley, minority)


def _middle_of_the_floor(grid: np.ndarray, density: np.ndarray) -> float:
    """Return the middle of the stretch around the valley's bottom where next to nothing is.

    The bottom itself lies close to the narrower mode, where a new image's patches would fall on either side.
    """
    bottom = int(density.argmin())
    height = max(density[bottom], _FLOOR * min(density[: bottom + 1].max(), density[bottom:].max()))
    above = np.flatnonzero(density > height)
    left, right = above[above < bottom].max() + 1, above[above > bottom].min() - 1
    return float((grid[left] + grid[right]) / 2)


def _otsu(values: np.ndarray) -> float:
    """Return the threshold with the largest variance between the two sides (Otsu, 1979), on 256 bins."""
    counts, edges = np.histogram(values, 256)
    middles = (edges[:-1] + edges[1:]) / 2
    below, above = np.cumsum(counts)[:-1], np.cumsum(counts[::-1])[::-1][1:]
    sums = np.cumsum(counts * middles)
    mean_below, mean_above = sums[:-1] / below, (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    return float(edges[1:-1][np.argmax(below * above * (mean_above - mean_below) ** 2)])


def fit_layers(
    shared: SharedPass, edits: Sequence[Edit], batches: Iterable[tuple[Tensor, Tensor]]
) -> list[dict[int, Fit]]:
    """Return the fit of each edited layer, for each of `edits`.

    Parameters
    ----------
    shared
        A pass of the model with these edits.
    edits
        Edits whose detectors have a fitted rule.
    batches
        Pixels [b, 3, S, S] and positions [b] of the calibration images.
    """
    fits: list[dict[int, Fit]] = [{} for _ in edits]

    def fit(layer: int, positions: list[int], signals: list[Tensor]) -> float:
        pooled = np.concatenate([signal.flatten().cpu().numpy() for signal in signals])
        if not np.isfinite(pooled).all():
            raise UserError(
                f"The signal of block {layer} is not finite in this precision, so no threshold can be fitted; use "
                "backbone.precision=bf16 or fp32."
            )
        found = fit_threshold(pooled, edits[positions[0]].judge.side)
        for position in positions:
            fits[position][layer] = found
        return found.theta

    shared.walk(batches, fit)
    return fits
