"""What a detector flagged in one batch and block, counted on the device: the host waits for none of it.

Letters: B images, S = 1 or H heads, T patches.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from itae.base.device import on_device
from itae.embed.diagnostics.collect import counts_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from itae.edits.site import Flags

_BINS_PER_DECADE = 128
_DECADES = (-5, 5)
_BINS = (_DECADES[1] - _DECADES[0]) * _BINS_PER_DECADE
SIGNAL_EDGES = np.logspace(*_DECADES, _BINS + 1)
"""Edges of the bins of a signal's histogram, 1.8 % apart; what lies outside falls into the first or last bin."""


def counted(flags: Flags) -> dict[str, Tensor]:
    """Return what is kept of the flags of one batch, counted once for all edits that have the same.

    Returns
    -------
    dict
        ``sums`` [2] in fp64: of the images' thresholds (with ``scope: head`` means over heads), and of how many have
        one. ``signals`` [2, bins]: histograms of the signal of the patches that are not flagged, and of those that are.
        ``flagged_at`` [T]: images in which a patch is flagged in any head. Of each image, [B]: ``flagged``, how many
        are; ``share``, of patches and heads; ``alone_in``, whether every patch is, of some head, or, where neighbours
        are asked, whether some flagged patch has none; ``tied_in``, whether for ties none is.
    """
    return flags.once("counted", lambda: _counted(flags))


def _counted(flags: Flags) -> dict[str, Tensor]:
    import torch

    mask_BST, threshold_BS1 = flags.mask, flags.threshold.double()
    known_BS1 = ~threshold_BS1.isnan()
    any_head_BT = mask_BST.any(dim=1)
    thresholds = threshold_BS1.where(known_BS1, 0.0).mean(dim=(1, 2)).sum()
    found = {
        "sums": torch.stack([thresholds, known_BS1.double().mean(dim=(1, 2)).sum()]),
        "share": mask_BST.float().mean(dim=(1, 2)),
        "alone_in": (mask_BST.all(dim=-1) if flags.stuck is None else flags.stuck[..., 0]).any(dim=-1),
        "signals": histograms(flags.signal, mask_BST),
        "flagged_at": any_head_BT.sum(dim=0),
        "flagged": any_head_BT.sum(dim=-1),
    }
    if flags.tied is not None:
        found["tied_in"] = flags.tied.any(dim=(1, 2))
    return found


def histograms(signal: Tensor, mask: Tensor) -> Tensor:
    """Return histograms over `SIGNAL_EDGES` of what isn't masked and of what is, [2, bins]; finite values count."""
    signal = signal.float()  # a detector of somebody's own may have it in the model's precision
    place = _place(signal).where(signal.isfinite(), _BINS)
    places = (place + mask * (_BINS + 1)).reshape(-1)
    return counts_of(places, 2 * (_BINS + 1)).view(2, _BINS + 1)[:, :_BINS]


def _place(signal: Tensor) -> Tensor:
    import torch

    return torch.bucketize(signal, _least_on(signal.device), right=True)


@functools.cache
def _least_on(device: torch.device) -> Tensor:
    import torch

    with torch.inference_mode(False):
        return on_device(torch.from_numpy(_least()), device)


@functools.cache
def _least() -> np.ndarray:
    """Return the least fp32 number of each bin but the first, by `bin_of`: its logarithm is rounded at the edges."""
    low, high = np.zeros(_BINS - 1, np.int32), np.full(_BINS - 1, np.float32(np.finfo(np.float32).max).view(np.int32))
    while (low < high).any():  # numbers above 0 have the order of their bits
        middle = low + (high - low) // 2
        reached = bin_of(middle.view(np.float32)) > np.arange(_BINS - 1)
        low, high = np.where(reached, low, middle + 1), np.where(reached, middle, high)
    return low.view(np.float32)


def bin_of(signal: np.ndarray) -> np.ndarray:
    """Return the bin of each finite number >= 0 in fp32, as counts on the disk have it."""
    with np.errstate(divide="ignore"):
        place = (np.log10(signal) - _DECADES[0]) * _BINS_PER_DECADE
    return np.clip(place, 0, _BINS - 1).astype(np.int64)
