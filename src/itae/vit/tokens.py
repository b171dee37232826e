"""Tokens that no patch stands behind: the registers that a model was trained with, and one more, without a position."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from itae.base.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn


def registers(model: nn.Module) -> int:
    """Return how many register tokens a timm model was trained with; they are the last ones before the first patch."""
    tokens = getattr(model, "reg_token", None)
    return 0 if tokens is None else int(tokens.shape[1])


def appended(model: nn.Module, x_BNE: Tensor, extra: int) -> Tensor:
    """Return what enters the first block with `extra` more tokens, [B, N + extra, E].

    They are zero before the model's norm of what enters, if it has one: so in CLIP they are that norm's bias.
    """
    import torch

    more_BXE = x_BNE.new_zeros(len(x_BNE), extra, x_BNE.shape[-1])
    norm = getattr(model, "norm_pre", None)
    return torch.cat([x_BNE, more_BXE if norm is None else norm(more_BXE).to(x_BNE.dtype)], dim=1)


def longer(kwargs: dict[str, Any], extra: int) -> dict[str, Any]:
    """Return a block's keyword arguments for `extra` more tokens: without a position, they are not rotated by RoPE."""
    if not extra or kwargs.get("rope") is None:
        return kwargs
    import torch

    rope = kwargs["rope"]
    if not isinstance(rope, torch.Tensor):
        raise UserError(
            f"edit=test_time_registers: this model's rotary positions are a {type(rope).__name__}, which has no room "
            "for a token more; choose another backbone or edit=attention."
        )
    still = rope.new_zeros(*rope.shape[:-2], extra, rope.shape[-1])  # sines, then cosines
    still[..., rope.shape[-1] // 2 :] = 1
    return {**kwargs, "rope": torch.cat([rope, still], dim=-2)}
