"""What a detector sees and what it returns: one attention call, and the patches that it flags."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from torch import Tensor, nn

T = TypeVar("T")


@dataclass(frozen=True)
class _Remembered:
    """What is computed of it once for all that ask.

    Attributes
    ----------
    memo
        What `once` has given so far.
    """

    memo: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def once(self, name: Hashable, make: Callable[[], T]) -> T:
        """Return what `make` gives, computed once for all that ask under this name."""
        if name not in self.memo:
            self.memo[name] = make()
        return self.memo[name]


@dataclass(frozen=True)
class Site(_Remembered):
    """One attention call, as a detector sees it.

    Parameters
    ----------
    q, k, v
        [B, H, N, D], as they enter scaled dot-product attention: after query/key norm and RoPE.
    x
        [B, N, E], the input tokens of the block, before its LayerNorm (the residual stream).
    prefix
        How many tokens before the first patch (CLS, then registers).
    layer
        Index of the block, from 0.
    scale
        The factor of the logits, 1 / sqrt(D) unless the model says otherwise.
    digests
        B of 32 bytes, the sha256 of each image's file; what a detector draws at random must depend on this, and neither
        on the batch nor on the data set.
    model
        The frozen model, for a detector that goes by its weights.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    x: Tensor
    prefix: int
    layer: int
    scale: float
    digests: Sequence[bytes]
    model: nn.Module | None = None


@dataclass(frozen=True)
class Flags(_Remembered):
    """What a detector found.

    Attributes
    ----------
    mask
        [B, S, T] bool.
    signal, threshold
        [B, S, T] and [B, S, 1] in fp32; a threshold of NaN is none, and flags nothing.
    tied
        [B, S, 1] bool: nothing is flagged since too many patches have one and the same signal. None where no rule can
        be kept from flagging by that.
    stuck
        [B, 1, 1] bool: some flagged patch was left as it was, for want of an unflagged neighbour. None where the edit
        asks no neighbours.
    """

    mask: Tensor
    signal: Tensor
    threshold: Tensor
    tied: Tensor | None = None
    stuck: Tensor | None = None


Paid: TypeAlias = "tuple[Tensor, Tensor | None]"
"""The CLS token's attention on the patches before and after an edit, [B, H, T] each; None where it isn't known."""
