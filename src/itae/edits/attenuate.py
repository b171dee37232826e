"""What happens to the attention paid to flagged patches.

An attenuator is written in one of two ways, or in both:

- `operands` changes keys or values, or adds a bias to the logits of a key. The attention call itself is
  then still the fused one, over all rows.
- `weights` gives the attention weights from the scaled logits z = q k^T / sqrt(D); a formula that changes the
  logits alone is written in `logits`, and its softmax follows. Over all rows this is slower, for all of z is in
  memory. For the CLS row alone it costs next to nothing, and the CLS rows of many edits are one product with v.

A new attenuator is a subclass with one of them. Only tensor methods are used here, never `torch` itself:
a wrong setting is answered without importing it.

Letters: B images, H heads, N tokens, P prefix tokens, D head width, R rows (queries) that are edited,
S = 1 or H. Flags come as [B, S, N] bool over all tokens, False for the prefix.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from itae.base.checks import number, one_of
from itae.base.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from itae.edits.site import Site


@dataclass(frozen=True)
class Attenuator:
    """Attenuate the attention paid to flagged keys.

    Parameters
    ----------
    strength
        a in [0, 1]: 0 changes nothing, 1 most.
    queries
        Rows of the attention that are edited: ``all``, or the ``cls`` token's alone.

    Raises
    ------
    UserError
        If a value is outside what is said above.
    """

    strength: float = 1.0
    queries: str = "all"

    def __post_init__(self) -> None:
        """Check both values."""
        number("attenuator.strength", self.strength, low=0.0, high=1.0)
        one_of("attenuator.queries", self.queries, ("all", "cls"))
        if not (self.fused or self.by_row):
            raise UserError(f"attenuator={type(self).__name__} has no formula; write its operands() or its logits().")

    def operands(self, k: Tensor, v: Tensor, flags: Tensor, prefix: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return keys [B, H, N, D], values [B, H, N, D] and a logit bias [B, S, 1, N] or None."""
        raise NotImplementedError

    def logits(self, z: Tensor, flags: Tensor, prefix: int) -> Tensor:
        """Return the edited scaled logits [B, H, R, N], in fp32 like `z`, which may be overwritten."""
        raise NotImplementedError

    def weights(self, z: Tensor, flags: Tensor, prefix: int) -> Tensor:
        """Return the edited attention weights [B, H, R, N] from the scaled logits `z`, which may be overwritten."""
        from torch import softmax

        moved = self.logits(z, flags, prefix)
        return softmax(moved, dim=-1, out=moved)  # in place: a second array of this size would fall out of the cache

    @property
    def fused(self) -> bool:
        """Whether there is a formula for fused attention, in `operands`."""
        return type(self).operands is not Attenuator.operands

    @property
    def by_row(self) -> bool:
        """Whether there is a formula for the weights of single rows, in `weights` or `logits`."""
        return type(self).weights is not Attenuator.weights or type(self).logits is not Attenuator.logits

    @property
    def renormalises(self) -> bool:
        """Whether rows still sum to 1, so that what flagged patches lose is handed to others.

        So it is where logits are what is edited, whose softmax follows.
        """
        return type(self).logits is not Attenuator.logits

    def lacking(self, layers: Sequence[int]) -> tuple[int, ...]:
        """Return the blocks for which something is yet to be gathered of calibration images."""
        return ()

    def known(self, layer: int) -> str | None:
        """Return what tells apart what was gathered for a block, or None."""
        return None

    def at(self, site: Site) -> Attenuator:
        """Return what is done at one attention call: itself, unless something is drawn for its images."""
        return self

    def spec(self) -> dict[str, Any]:
        """Return all settings as plain values: the attenuator's part of the cache key."""
        return {name: float(v) if isinstance(v, int) else v for name, v in asdict(self).items()}


@dataclass(frozen=True)
class Floor(Attenuator):
    """z_ij <- (1-a) z_ij + a * min of z_i over all patches, per head: the source paper's rule at a = 1."""

    def logits(self, z: Tensor, flags: Tensor, prefix: int) -> Tensor:
        """Pull flagged logits down to the row's smallest."""
        lowest = z[..., prefix:].amin(dim=-1, keepdim=True)
        return z.lerp_(lowest, _shares(flags, self.strength))


@dataclass(frozen=True)
class Cap(Attenuator):
    """z_j <- (1-a) z_j + a * min(z_j, max of z over unflagged patches), row by row.

    An image (or head) in which every patch is flagged is left alone.
    """

    def logits(self, z: Tensor, flags: Tensor, prefix: int) -> Tensor:
        """Hold flagged logits down to the row's largest unflagged one."""
        unflagged = z[..., prefix:].masked_fill(flags.unsqueeze(2)[..., prefix:], -math.inf)
        highest = unflagged.amax(dim=-1, keepdim=True)
        highest = highest.where(highest.isfinite(), math.inf)  # every patch is flagged: nothing is capped
        return z.lerp_(z.minimum(highest), _shares(flags, self.strength))


@dataclass(frozen=True)
class Scale(Attenuator):
    """w_j <- (1-a) w_j, then each row renormalised: z_j <- z_j + log(1-a). a = 1 removes the key."""

    def operands(self, k: Tensor, v: Tensor, flags: Tensor, prefix: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Add log(1-a) to the logits of flagged keys."""
        return k, v, k.new_zeros(flags.shape).masked_fill(self._shrunk(flags, prefix), self._bias).unsqueeze(2)

    def logits(self, z: Tensor, flags: Tensor, prefix: int) -> Tensor:
        """Add log(1-a) to flagged logits."""
        return (z + self._bias).where(self._shrunk(flags, prefix).unsqueeze(2), z)

    @property
    def _bias(self) -> float:
        return math.log1p(-self.strength) if self.strength < 1 else -math.inf

    @staticmethod
    def _shrunk(flags: Tensor, prefix: int) -> Tensor:
        # With every key flagged a row would have none left; renormalised, nothing changes.
        return flags if prefix else flags & ~flags.all(dim=-1, keepdim=True)


@dataclass(frozen=True)
class Fade(Attenuator):
    """The term w_j v_j is multiplied by (1-a), without renormalising; the same as v_j <- (1-a) v_j."""

    def operands(self, k: Tensor, v: Tensor, flags: Tensor, prefix: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Shrink the values of flagged keys."""
        return k, (v * (1 - self.strength)).where(flags.unsqueeze(-1), v), None

    def weights(self, z: Tensor, flags: Tensor, prefix: int) -> Tensor:
        """Shrink the weights of flagged keys, without renormalising."""
        w = z.softmax(dim=-1)
        return (w * (1 - self.strength)).where(flags.unsqueeze(2), w)


@dataclass(frozen=True)
class Blend(Attenuator):
    """z_j <- (1-a) z_j + a * mean of z over unflagged patches; the same on k_j, since z is linear in k.

    An image (or head) in which every patch is flagged is left alone.
    """

    def operands(self, k: Tensor, v: Tensor, flags: Tensor, prefix: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Pull flagged keys towards the mean of the others."""
        return towards_unflagged_mean(k, flags, prefix, self.strength), v, None

    def logits(self, z: Tensor, flags: Tensor, prefix: int) -> Tensor:
        """Pull flagged logits towards the mean of the others."""
        flags_BS1N = flags.unsqueeze(2)
        others_BS1T = (~flags_BS1N[..., prefix:]).to(z.dtype)
        count = others_BS1T.sum(dim=-1, keepdim=True)
        mean = (z[..., prefix:] * others_BS1T).sum(dim=-1, keepdim=True) / count.clamp(min=1)
        return z.lerp(mean, self.strength).where(flags_BS1N & (count > 0), z)


@dataclass(frozen=True)
class MeanValue(Attenuator):
    """v_j <- (1-a) v_j + a * mean v of unflagged patches: the substitution control.

    An image (or head) in which every patch is flagged is left alone.
    """

    renormalises: ClassVar[bool] = True  # as `weights` has it

    def operands(self, k: Tensor, v: Tensor, flags: Tensor, prefix: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Pull flagged values towards the mean of the others."""
        return k, towards_unflagged_mean(v, flags, prefix, self.strength), None

    def weights(self, z: Tensor, flags: Tensor, prefix: int) -> Tensor:
        """Hand the share a of the flagged keys' weights out to the others, in equal parts."""
        flags_BS1N = flags.unsqueeze(2)
        others_BS1T = ~flags_BS1N[..., prefix:]
        count = others_BS1T.sum(dim=-1, keepdim=True)
        w = z.softmax(dim=-1)
        taken = (w * flags_BS1N * self.strength).where(count > 0, w.new_zeros(()))
        given = taken.sum(dim=-1, keepdim=True) / count.clamp(min=1) * others_BS1T
        w = w - taken
        w[..., prefix:] += given
        return w


def _shares(flags: Tensor, strength: float) -> Tensor:
    """Return how far each key's logits are moved, [B, S, 1, N] in fp32: `strength` where flagged, else 0."""
    return flags.unsqueeze(2).float() * strength


def towards_unflagged_mean(y: Tensor, flags: Tensor, prefix: int, strength: float) -> Tensor:
    """Move flagged rows of `y` [B, H, N, D] by `strength` towards the mean of the unflagged patches' rows.

    The mean is taken in fp32. Where every patch is flagged, `y` is returned as it is.
    """
    flags_BSN1 = flags.unsqueeze(-1)
    others_BST1 = (~flags_BSN1[:, :, prefix:]).to(y.dtype)
    count = others_BST1.float().sum(dim=2, keepdim=True)
    mean = (y[:, :, prefix:] * others_BST1).float().sum(dim=2, keepdim=True) / count.clamp(min=1)
    return y.lerp(mean.to(y.dtype), strength).where(flags_BSN1 & (count > 0), y)
