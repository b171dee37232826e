"""What is reached by who is told the blur: Wiener's filter with the PSF of each picture, in linear light.

It is what a network is held against, and no bound: the filter is linear, and a network isn't; but a network isn't told.

Letters: N pairs, H, W height and width of a picture, K side of a PSF.
"""

from __future__ import annotations

import numpy as np

from itae.portable.data.light import linear_to_srgb, srgb_to_linear
from itae.portable.data.pairs import Pairs
from itae.portable.train.quality import Quality, psnr, quality, rounded

BALANCES = (0.001, 0.003, 0.01, 0.02, 0.05, 0.1, 0.3)
"""Weights of smoothness against what was seen, of which one is chosen."""
BALANCE = 0.02
"""The one that is taken where there is nothing to choose by."""


def ceiling(pairs: Pairs, chosen_on: Pairs | None = None) -> Quality | None:
    """Return what Wiener's filter is worth that is told the PSFs; None where pairs have none.

    Parameters
    ----------
    pairs
        Which it restores.
    chosen_on
        Validation pairs, on which the balance with the best mean PSNR is chosen. None (default): `BALANCE`.
    """
    if pairs.psfs is None:
        return None
    return quality(told(pairs, BALANCE if chosen_on is None else balance(chosen_on)), pairs)


def balance(pairs: Pairs) -> float:
    """Return which of `BALANCES` has the best mean PSNR on pairs; `BALANCE` where those have no PSFs."""
    if pairs.psfs is None:
        return BALANCE
    return max(BALANCES, key=lambda each: float(np.mean(psnr(told(pairs, each), pairs))))


def told(pairs: Pairs, weight: float, psfs_NKK: np.ndarray | None = None) -> np.ndarray:
    """Return the blurred pictures as Wiener's filter restores them, uint8 [N, 3, H, W].

    Parameters
    ----------
    pairs
        Whose `blurred` is restored.
    weight
        Of smoothness (the Laplacian's energy) against what was seen: `balance` of `skimage.restoration.wiener`.
    psfs_NKK
        What it is told, each of sum 1. None (default): the truth.
    """
    psfs_NKK = pairs.psfs if psfs_NKK is None else psfs_NKK
    if psfs_NKK is None:
        raise ValueError("pairs have no PSFs")
    return np.stack([_told(each, psf, weight) for each, psf in zip(pairs.blurred, psfs_NKK, strict=True)])


def _told(picture: np.ndarray, psf_KK: np.ndarray, weight: float) -> np.ndarray:
    """Return one picture [3, H, W] restored.

    The filter takes a picture as if it went round. So that its edges meet, each colour runs off to its mean over twice
    the PSF's side; that was worth 1.7 dB over mirrored edges on pairs of 128 pixels.
    """
    from skimage.restoration import wiener

    edge = 2 * len(psf_KK)
    restored = []
    for colour in srgb_to_linear(picture / 255):
        wide = np.pad(colour, edge, "linear_ramp", end_values=colour.mean())
        restored.append(wiener(wide, psf_KK.astype(np.float64), weight, clip=False)[edge:-edge, edge:-edge])
    return rounded(linear_to_srgb(np.stack(restored).clip(0, 1)))
