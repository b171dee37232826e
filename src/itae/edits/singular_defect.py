"""Patches that lie along the direction in which the weights themselves stretch every token.

The detector of Wang et al. (SINDER, arXiv 2407.16826, ECCV 2024), who then train the direction away; here it is a
detector like the others, and no image is needed for the direction. How it is read from the weights is told in
`itae.vit.linear`. Their code repairs no patch at the border of the picture; here these are flagged like any other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from itae.base.checks import number
from itae.base.errors import UserError
from itae.edits.detect import ROUNDING, RULES, Detector
from itae.edits.site import Flags, Site

if TYPE_CHECKING:
    from torch import Tensor

DIRECTION = 1
"""The version of the directions, in the keys of what is flagged by them: raise it with every change of one."""


@dataclass(frozen=True)
class SingularDefect(Detector):
    """Absolute cosine between each patch's token, as it enters the block, and the direction of the blocks before it.

    The direction is the first left singular vector of the product of these blocks, each taken for linear (arXiv
    2407.16826): read from the weights alone, by `itae.vit.linear.directions`. Before the first block there is none:
    there the signal is 0, and nothing is flagged.

    Parameters
    ----------
    rule
        ``std`` is the authors' threshold: the image's mean -/+ `stds` standard deviations. It flags no more than one
        patch in 1 + `stds` squared (one in 17 for 4), however far off: what is flagged widens the deviation itself.
        All others are those of `itae.edits.detect.Detector`.
    stds
        ``std``: how many standard deviations of the image's patches, at least 0.

    Raises
    ------
    UserError
        If a value is outside what is said there, or `layer` is the first block.
    """

    rule: str = "std"
    side: str = "high"
    stds: float = 4.0

    rules: ClassVar[tuple[str, ...]] = (*RULES, "std")
    scopes: ClassVar[tuple[str, ...]] = ("token",)
    reads_weights: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check every value."""
        super().__post_init__()
        number("detector.stds", self.stds, low=0.0)
        if self.layer == 0:
            raise UserError(
                "detector.layer=0: no block comes before the first one, so there is no direction yet; choose a later "
                "block, or null."
            )

    def __call__(self, site: Site, theta: float | None = None) -> Flags:
        """Flag the patches of `site`, none before the first block, and not for want of a difference."""
        flags = super().__call__(site, theta)
        return flags if site.layer else replace(flags, mask=flags.mask & False, tied=None)

    def signal(self, site: Site) -> Tensor:
        """Return the cosines, [B, 1, T]."""
        return site.once("singular defect", lambda: self._cosines(site))

    def _cosines(self, site: Site) -> Tensor:
        from itae.vit.linear import directions

        assert site.model is not None, "a site without its model"
        x_BTE = site.x[:, site.prefix :].float()
        # A product and a sum, not a matmul: under autocast a matmul would drop to the low precision.
        along_BT = (x_BTE * directions(site.model)[site.layer]).sum(dim=-1).abs()
        return (along_BT / x_BTE.norm(dim=-1).clamp_min(1e-30)).unsqueeze(1)

    def cut(self, signal: Tensor) -> Tensor:
        """Return the threshold of each image, [B, 1, 1]; NaN where all patches are alike, up to rounding."""
        if self.rule != "std":
            return super().cut(signal)
        mean = signal.mean(dim=-1, keepdim=True)
        deviation = (signal - mean).square().mean(dim=-1, keepdim=True).sqrt()
        spread = self.stds * deviation.masked_fill(deviation <= ROUNDING * mean.abs(), math.nan)
        return mean - spread if self.side == "low" else mean + spread

    def spec(self) -> dict[str, Any]:
        """Return the settings that are read, and the version of the directions."""
        return super().spec() | {"direction": DIRECTION}
