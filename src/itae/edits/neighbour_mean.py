"""Patches are replaced by the mean of their neighbours: an edit of the tokens themselves.

SC-CLIP (Bai et al., "Self-Calibrated CLIP for Training-Free Open-Vocabulary Segmentation", arXiv 2411.15869) finds
anomalous tokens behind the last block but one and puts the mean of the others in their 3 x 3 neighbourhood in their
place. That is what enters the last block, ``layers=last`` here.

Letters: B images, N tokens, P prefix tokens, T patches in rows x columns, E embedding width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from itae.base.checks import number
from itae.base.errors import UserError
from itae.base.identity import key_of
from itae.edits.edit import METHOD, parse_layers
from itae.edits.found import AnyDetector, ByDetector, flags_nothing, resolved

if TYPE_CHECKING:
    from torch import Tensor

    from itae.edits.site import Flags
    from itae.vit.facts import Facts


@dataclass(frozen=True)
class NeighbourMean:
    """``edit=neighbour_mean``: tokens that `detector` flags are replaced where they enter the blocks `layers`.

    In each of these blocks the detector sees the attention call as it would be without the replacement. Then flagged
    patches of the block's input, the residual stream, get the mean of the unflagged ones in their 3 x 3 neighbourhood,
    three to eight of them where none is flagged, and the block runs on that. So a replacement in the last block reaches
    an embedding that is the CLS token, and a later block feels what was replaced before it. A patch whose
    neighbourhood is flagged whole stays as it was; in how many images that happened is reported as ``left_alone``.

    No attention is edited: the attenuator is not read.

    Parameters
    ----------
    strength
        a in [0, 1]: x <- (1-a) x + a * mean. 1 replaces the token, 0 changes nothing.

    Raises
    ------
    UserError
        If it is outside that.
    """

    strength: float = 1.0

    def __post_init__(self) -> None:
        """Check the value."""
        number("edit.strength", self.strength, low=0.0, high=1.0)

    def make(self, detector: Any, attenuator: Any, layers: Any, facts: Facts) -> NeighbourMeanEdit | None:
        """Return the edit in a model of these facts, or None if it can't change anything; `attenuator` is not read."""
        chosen = parse_layers(layers, facts.depth)
        if flags_nothing(detector) or not chosen or self.strength == 0:
            return None
        return NeighbourMeanEdit(resolved(detector, chosen, facts.depth), self, chosen, facts.grid)

    def spec(self) -> dict[str, Any]:
        """Return the setting as a plain value."""
        return {"strength": float(self.strength)}


@dataclass(frozen=True)
class NeighbourMeanEdit(ByDetector):
    """Replace the tokens that `detector` flags where they enter the blocks `layers`.

    Parameters
    ----------
    detector
        The rule.
    settings
        How far they are replaced.
    layers
        Indices of the edited blocks, from 0, ascending, at least one.
    grid
        Patches in height and width.
    thetas
        Threshold of each layer, for a detector whose rule is fitted; NaN flags nothing there.
    """

    detector: AnyDetector
    settings: NeighbourMean
    layers: tuple[int, ...]
    grid: tuple[int, int]
    thetas: Mapping[int, float] | None = None

    def at(self, layer: int) -> str:
        """Return what is done in one edited block, in a form that is equal for two edits that do the same there."""
        look = layer if self.found_in is None else self.found_in
        return repr((self.finds(look), key_of(self.settings)))

    def check(self, facts: Facts) -> None:
        """Raise a `UserError` if the detector needs a CLS token that isn't there, or flags heads and no tokens."""
        super().check(facts)
        if getattr(self.judge, "scope", "token") == "head":
            raise UserError(
                "detector.scope=head: edit=neighbour_mean replaces tokens, which have no heads; set detector.scope="
                "token."
            )

    def replaced(self, x_BNE: Tensor, flags: Flags, prefix: int) -> tuple[Tensor, Flags]:
        """Return the tokens that enter a block, with the flagged ones replaced, and the flags as they are reported.

        Raises
        ------
        UserError
            If a detector of somebody's own flags heads, or the patches don't fill the grid.
        """
        rows, columns = self.grid
        if flags.mask.shape[1] != 1 or flags.mask.shape[2] != rows * columns:
            raise UserError(
                f"{type(self.detector).__name__} flags {tuple(flags.mask.shape)}; edit=neighbour_mean needs [images, "
                f"1, patches], one flag for each of {rows} x {columns}."
            )
        patches_BTE, flagged_BT = x_BNE[:, prefix:], flags.mask[:, 0]
        mean_BTE, known_BT1 = neighbour_means(patches_BTE, flagged_BT, self.grid)
        if self.settings.strength < 1:
            mean_BTE = patches_BTE.float().lerp(mean_BTE, self.settings.strength)
        out_BNE = x_BNE.clone()
        here_BT1 = flagged_BT.unsqueeze(2) & known_BT1
        out_BNE[:, prefix:] = mean_BTE.to(x_BNE.dtype).where(here_BT1, patches_BTE)
        stuck_B11 = (flagged_BT.unsqueeze(2) & ~known_BT1).any(dim=1, keepdim=True)
        return out_BNE, replace(flags, stuck=stuck_B11)

    def spec(self, depth: int, pool: str) -> dict[str, Any]:
        """Return what the vectors depend on, as plain values: the edit's part of the cache key."""
        return {
            "method": METHOD,
            "detector": self.detector_spec(),
            "neighbour_mean": key_of(self.settings),
            "layers": list(self.layers),
        }


def neighbour_means(x_BTE: Tensor, flagged_BT: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the mean of the unflagged tokens in the 3 x 3 neighbourhood of each patch, and where there is any.

    Only tensor methods are used here. What is flagged adds nothing, whatever its size: not even infinity.

    Parameters
    ----------
    x_BTE
        Tokens of the patches, row by row.
    flagged_BT
        Bool.
    grid
        Rows and columns, T in all.

    Returns
    -------
    Tensor, Tensor
        fp32 (fp64 of fp64) [B, T, E], and bool [B, T, 1].
    """
    tokens_BTE = x_BTE if x_BTE.dtype.itemsize == 8 else x_BTE.float()
    left_BT1 = (~flagged_BT).unsqueeze(2)
    sums_BTE = _summed(tokens_BTE.masked_fill(~left_BT1, 0), grid)
    count_BT1 = _summed(left_BT1.to(tokens_BTE.dtype), grid)
    return sums_BTE / count_BT1.clamp(min=1), count_BT1 > 0


def _summed(x_BTE: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return the sums over 3 x 3 patches: over three columns, then three rows."""
    x_BYXE = x_BTE.unflatten(1, grid)
    rows = x_BYXE.clone()
    rows[:, :, 1:] += x_BYXE[:, :, :-1]
    rows[:, :, :-1] += x_BYXE[:, :, 1:]
    sums = rows.clone()
    sums[:, 1:] += rows[:, :-1]
    sums[:, :-1] += rows[:, 1:]
    return sums.flatten(1, 2)
