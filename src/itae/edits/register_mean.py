"""Trained registers that say nothing of the image: an edit that other edits are held against.

Sun, Chen, Kolter and Liu, "Massive Activations in Large Language Models" (arXiv 2402.17762), call it Fix-Reg-Mean: the
register tokens of a model that was trained with them are set to their means over images, in every block. What is then
lost, registers carried from image to image; what is not, they do as constants, as a bias would.

Letters: B images, N tokens, L blocks, R registers, E embedding width.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from itae.base.errors import UserError
from itae.edits.edit import METHOD
from itae.edits.gathered import Gathered, There

if TYPE_CHECKING:
    from torch import Tensor, nn

    from itae.vit.facts import Facts


@dataclass(frozen=True)
class RegisterMeanEdit:
    """Set each register token to its mean over calibration images, where it enters each block.

    That is the stream before the block's first LayerNorm, of the untouched model; each register has a mean of its own.
    Behind the last block registers are as that block leaves them: an embedding that reads them still varies.

    Parameters
    ----------
    settings
        Its part of the key: what it is called, on how many images the means are taken, and which.
    depth, registers
        Blocks L and register tokens R of the model.
    means
        float32 [L, R, E] under the name ``means``; None before they are gathered.
    """

    settings: Mapping[str, Any]
    depth: int
    registers: int
    means: Gathered | None = field(default=None, compare=False)

    extra: ClassVar[int] = 0
    reads_queries: ClassVar[bool] = False

    @property
    def layers(self) -> tuple[int, ...]:
        """All blocks."""
        return tuple(range(self.depth))

    @property
    def ungathered(self) -> bool:
        """Whether the means are yet to be taken."""
        return self.means is None

    @property
    def calibration_images(self) -> int:
        """On how many images the means are taken."""
        return int(self.settings["calibration_images"])

    @property
    def calibration_seed(self) -> int:
        """Which images these are."""
        return int(self.settings["calibration_seed"])

    @cached_property
    def _means(self) -> There:
        assert self.means is not None, "used before the means were taken"
        return There(self.means.arrays["means"])

    def with_gathered(self, found: Gathered) -> RegisterMeanEdit:
        """Return the edit with the means that were taken."""
        return replace(self, means=found)

    def does(self) -> dict[int, str]:
        """Return, for each block, whose means stand there."""
        assert self.means is not None, "used before the means were taken"
        return dict.fromkeys(self.layers, repr(("registers", self.means.digest)))

    def attends(self, layer: int) -> bool:
        """No attention is edited."""
        return False

    def inside(self, block: nn.Module, layer: int, prefix: int) -> contextlib.AbstractContextManager[None]:
        """Edit nothing inside a block: what enters it is replaced."""
        return contextlib.nullcontext()

    def entering(self, x_BNE: Tensor, layer: int, prefix: int) -> Tensor:
        """Return what enters a block in the place of `x_BNE`."""
        from torch import cat

        means_RE = self._means.on(x_BNE.device)[layer].to(x_BNE.dtype)
        first = prefix - self.registers
        return cat([x_BNE[:, :first], means_RE.expand(len(x_BNE), -1, -1), x_BNE[:, prefix:]], dim=1)

    def check(self, facts: Facts) -> None:
        """Raise a `UserError` if the model has no registers."""
        if not facts.registers:
            raise UserError(
                f"control=register_mean: {facts.architecture} has no register tokens; use a model that was trained "
                "with some (backbone=dinov2_s14_reg4, dinov3_s16), or another control."
            )

    def spec(self, depth: int, pool: str) -> dict[str, Any]:
        """Return what the means depend on: they are the same wherever this, the model and the images are."""
        return {"method": METHOD, "register_mean": dict(self.settings)}
