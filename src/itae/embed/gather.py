"""Gather, without labels, what edits take from calibration images: values of flagged patches, and mean registers.

Letters: B images of a batch, n images, L blocks, R registers, E embedding width.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from itae.base.errors import UserError
from itae.edits.gathered import Gathered
from itae.edits.shuffle import Pool, Shuffle
from itae.embed.fit_layers import fit_layers

if TYPE_CHECKING:
    from torch import Tensor, nn

    from itae.edits.bimodal import Fit
    from itae.edits.edit import Edit
    from itae.embed.edited_blocks import EditedBlocks

Batches = Iterable[tuple["Tensor", Sequence[bytes]]]
Settled = tuple[Gathered, dict[int, "Fit"]]
"""What was gathered for an edit, and the thresholds that were fitted on the way."""


def gather_values(blocks: EditedBlocks, edits: Sequence[Edit], batches: Batches) -> list[Settled]:
    """Return the values of flagged patches for each of `edits`, and the thresholds that were fitted on the way.

    Parameters
    ----------
    blocks
        The blocks of the model with these edits.
    edits
        Edits by `itae.edits.shuffle.Shuffle`.
    batches
        Pixels [b, 3, S, S] and digests (b of 32 bytes) of the calibration images.

    Raises
    ------
    UserError
        If values are not finite in this precision.
    """
    made = [edit.attenuator for edit in edits]
    images = 0

    def counted() -> Batches:
        nonlocal images
        for pixels, digests in batches:
            images += len(pixels)
            yield pixels, digests

    def gather(layer: int, positions: list[int], pool: Pool) -> None:
        if not np.isfinite(pool.values).all():
            _not_finite(f"The values of block {layer}")
        for position in positions:
            attenuator = made[position]
            assert isinstance(attenuator, Shuffle)
            made[position] = attenuator.with_pool(layer, pool)

    fits = fit_layers(blocks, edits, counted(), gather)
    return [(one.gathered(images), found) for one, found in zip(made, fits, strict=True) if isinstance(one, Shuffle)]


def register_means(model: nn.Module, prefix: int, registers: int, batches: Batches) -> Gathered:
    """Return the mean of each register token where it enters each block: ``means``, float32 [L, R, E].

    Parameters
    ----------
    model
        A frozen vision transformer.
    prefix, registers
        How many tokens before the first patch, and how many of these, the last ones, are registers.
    batches
        As `gather_values` takes them.

    Raises
    ------
    UserError
        If tokens are not finite in this precision.
    """
    blocks: list[nn.Module] = list(model.blocks)  # type: ignore[arg-type]
    sums: list[Any] = [0.0] * len(blocks)
    images = 0

    def before(layer: int) -> Any:
        def see(_block: nn.Module, args: tuple[Tensor, ...]) -> None:
            # In fp64: the mean of what is equal in all images, as in the first block, is that number.
            sums[layer] = sums[layer] + args[0][:, prefix - registers : prefix].double().sum(dim=0)

        return see

    with contextlib.ExitStack() as stack, torch.inference_mode():
        for layer, block in enumerate(blocks):
            stack.callback(block.register_forward_pre_hook(before(layer)).remove)
        for pixels, _ in batches:
            model.forward_features(pixels)  # type: ignore[operator]
            images += len(pixels)
    means_LRE = (torch.stack(sums) / images).float().cpu().numpy()
    if not np.isfinite(means_LRE).all():
        _not_finite("The register tokens")
    return Gathered({"means": means_LRE}, images)


def _not_finite(what: str) -> None:
    raise UserError(f"{what} are not finite in this precision; use backbone.precision=bf16 or fp32.")
