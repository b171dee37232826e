"""Thresholds of ``detector.rule=bimodal``, fitted layer by layer during one pass."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from itae.base.errors import UserError
from itae.edits.bimodal import Fit, fit_threshold
from itae.embed.walk import walk

if TYPE_CHECKING:
    from torch import Tensor

    from itae.edits.found import ByDetector
    from itae.embed.edited_blocks import EditedBlocks
    from itae.embed.walk import Gathering


def fit_layers(
    blocks: EditedBlocks,
    edits: Sequence[ByDetector],
    batches: Iterable[tuple[Tensor, Sequence[bytes]]],
    gather: Gathering | None = None,
) -> list[dict[int, Fit]]:
    """Return the fit of each edited layer, for each of `edits`.

    Parameters
    ----------
    blocks
        The blocks of the model with these edits.
    edits
        Edits whose detectors have a fitted rule, or for which something is gathered.
    batches
        Pixels [b, 3, S, S] and digests (b of 32 bytes) of the calibration images.
    gather
        What takes the values of flagged patches on the way, see `itae.embed.walk.walk`.
    """
    fits: list[dict[int, Fit]] = [{} for _ in edits]

    def fit(layer: int, positions: list[int], signals: list[Tensor]) -> float:
        pooled = torch.cat([signal.flatten().float() for signal in signals]).cpu().numpy()
        if not np.isfinite(pooled).all():
            raise UserError(
                f"The signal of block {layer} is not finite in this precision, so no threshold can be fitted; use "
                "backbone.precision=bf16 or fp32."
            )
        found = fit_threshold(pooled, edits[positions[0]].judge.side)
        for position in positions:
            fits[position][layer] = found
        return found.theta

    walk(blocks, batches, fit, gather)
    return fits
