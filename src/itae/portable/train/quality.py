"""How good pictures are: PSNR and SSIM of each pair, their means, and intervals over photographs.

Conventions. Pictures are colours in sRGB, rounded to 8 bits as a file would hold them, and compared in 0..1 (peak 1).
PSNR is of the squared error over all pixels and colours of a pair, and at most 200 dB. SSIM is Wang et al.'s (2004), by
a Gaussian window of deviation 1.5 and side 11 where it lies inside, K1 = .01 and K2 = .03, of each colour, then their
mean. Means are over pairs, of the dB. For PSNR nothing is cut from the edges.

Letters: N pairs, G photographs, H, W height and width of a picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from itae.portable.data.pairs import Pairs
from itae.portable.nets.padded import padded
from itae.portable.parity import BEST

if TYPE_CHECKING:
    from torch import Tensor

FEW = 6
"""Photographs below which an interval reaches from the least to the greatest photograph, and is called narrow."""
_LEVEL, _RESAMPLES = 0.95, 9999
_AT_ONCE = 16

Call = Callable[[np.ndarray], np.ndarray]
"""A network: float32 [B, 3, H, W] in 0..1 to the same."""


@dataclass(frozen=True)
class Mean:
    """A mean over pairs, and its 95 % interval over photographs; None where there is one photograph alone."""

    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True, eq=False)
class Quality:
    """What pictures are worth, pair by pair.

    Parameters
    ----------
    psnr_each, ssim_each
        Float64 [N], of each pair, in dB and in -1..1.
    photographs
        Of each pair.
    """

    psnr_each: np.ndarray
    ssim_each: np.ndarray
    photographs: tuple[str, ...]

    @property
    def psnr(self) -> Mean:
        """Mean PSNR in dB."""
        return mean_over(self.psnr_each, self.photographs)

    @property
    def ssim(self) -> Mean:
        """Mean SSIM."""
        return mean_over(self.ssim_each, self.photographs)

    def over(self, other: Quality) -> Gain:
        """Return by how much it is better than another of the same pairs; the intervals are of the differences."""
        if other.photographs != self.photographs:
            raise ValueError("what is compared pair by pair has to be of the same pairs")
        return Gain(
            mean_over(self.psnr_each - other.psnr_each, self.photographs),
            mean_over(self.ssim_each - other.ssim_each, self.photographs),
        )


@dataclass(frozen=True)
class Gain:
    """By how much one is better than another, pair by pair."""

    psnr: Mean
    ssim: Mean


def restored(call: Call, pairs: Pairs, batch: int = 1, multiple: int = 1) -> np.ndarray:
    """Return what a network makes of the blurred pictures, uint8 [N, 3, H, W].

    Parameters
    ----------
    call
        The network.
    pairs
        Whose `blurred` it is given.
    batch
        Pictures at once. Default 1, which is what devices take.
    multiple
        Of the network: pictures are padded to multiples of it, and cropped back. Default 1.
    """
    made = []
    for at in range(0, len(pairs), batch):
        whole = padded(pairs.blurred[at : at + batch].astype(np.float32) / 255, multiple)
        made.append(rounded(whole.cropped(call(whole.picture))))
    return np.concatenate(made)


def rounded(pictures: np.ndarray) -> np.ndarray:
    """Return pictures in 0..1 as a file would hold them, uint8; what isn't finite is black."""
    found = np.nan_to_num(pictures.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    return np.round(found.clip(0, 1) * 255).astype(np.uint8)


def quality(outputs: np.ndarray, pairs: Pairs) -> Quality:
    """Return what pictures, uint8 [N, 3, H, W], are worth against the sharp ones; H and W are at least 11."""
    return Quality(psnr(outputs, pairs), ssim(outputs, pairs), pairs.photographs)


def floor(pairs: Pairs) -> Quality:
    """Return what the blurred pictures are worth: who is below that had better do nothing."""
    return quality(pairs.blurred, pairs)


def psnr(outputs: np.ndarray, pairs: Pairs) -> np.ndarray:
    """Return the PSNR of each of the pictures, uint8 [N, 3, H, W], in dB: float64 [N], at most `BEST`."""
    from torchmetrics.functional.image import peak_signal_noise_ratio

    each = [
        peak_signal_noise_ratio(ours, theirs, data_range=1.0, reduction="none", dim=(1, 2, 3))
        for ours, theirs in _tensors(outputs, pairs)
    ]
    return np.minimum(np.concatenate([some.numpy() for some in each]), BEST)


def ssim(outputs: np.ndarray, pairs: Pairs) -> np.ndarray:
    """Return the SSIM of each of the pictures, uint8 [N, 3, H, W]: float64 [N].

    By scikit-image: torchmetrics' takes fifty times as long in float64, and in float32 a picture isn't quite itself.
    """
    from skimage.metrics import structural_similarity

    _check(outputs, pairs)
    of = {"data_range": 255, "channel_axis": 0, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return np.array([structural_similarity(a, b, **of) for a, b in zip(outputs, pairs.sharp, strict=True)])


def mean_over(values_N: np.ndarray, photographs: Sequence[str]) -> Mean:
    """Return the mean over pairs and its 95 % interval over photographs.

    Pairs of one photograph are alike, so photographs are what is drawn: with replacement, each with all of its pairs
    (`scipy.stats.bootstrap`). The percentiles are those of Hesterberg (2015, The American Statistician 69(4)), which
    widen the interval as Student's t does, since percentiles of few are too narrow. With fewer than `FEW` photographs
    it ends at the least and the greatest of them, and holds the truth less often than in 95 % of cases: with 4 in 87,
    with 3 in 75, with 2 in 50, where photographs lie evenly about their mean.
    """
    from scipy.stats import bootstrap, norm, t

    names, group_N = np.unique(np.asarray(photographs), return_inverse=True)
    mean, count = float(np.mean(values_N)), len(names)
    if count < 2:
        return Mean(mean, None, None)
    sums_G, pairs_G = np.bincount(group_N, values_N), np.bincount(group_N)
    tail = float(norm.cdf(math.sqrt(count / (count - 1)) * t.ppf((1 - _LEVEL) / 2, count - 1)))
    found = bootstrap(
        (sums_G, pairs_G),
        lambda sums, pairs, axis: sums.sum(axis=axis) / pairs.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=_RESAMPLES,
        confidence_level=1 - 2 * tail,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Mean(mean, float(found.low), float(found.high))


def told_intervals(photographs: Sequence[str]) -> str:
    """Say in a sentence what the intervals over photographs are worth."""
    count = len(set(photographs))
    if count == 1:
        return "All pairs are of one photograph, so there is no interval: on another the numbers may be quite others."
    if count < FEW:
        return (
            f"Intervals are over {count} photographs, which is too few for 95 %: they reach from the least to the "
            "greatest of them, and others may lie outside."
        )
    return f"Intervals (95 %) are over {count} photographs, by bootstrap."


def _check(outputs: np.ndarray, pairs: Pairs) -> None:
    if outputs.dtype != np.uint8 or outputs.shape != pairs.sharp.shape:
        raise ValueError(f"outputs are {outputs.dtype} {outputs.shape}; they are uint8 {pairs.sharp.shape}")


def _tensors(outputs: np.ndarray, pairs: Pairs) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield pictures and sharp ones, float64 tensors in 0..1, a few at once."""
    import torch

    _check(outputs, pairs)
    for at in range(0, len(pairs), _AT_ONCE):
        some = slice(at, at + _AT_ONCE)
        yield torch.from_numpy(outputs[some] / 255), torch.from_numpy(pairs.sharp[some] / 255)
