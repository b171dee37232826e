"""One attention call, edited: the door that sees it, and the rows that are answered.

Every block that matters calls ``F.scaled_dot_product_attention(q, k, v)`` once. A `Door` is a
``TorchFunctionMode`` that sees that call and answers it. The model itself is never touched: no module is
replaced, no weight is changed, and fused attention stays where the attenuator's formula allows it.

Letters: B images, H heads, N tokens, P prefix tokens, D head width, S = 1 or H, R attention rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from itae.attenuate import Attenuator
from itae.edit import Edit
from itae.errors import UserError

# Logits of all rows are held for as many images at a time as fit: about a second-level cache on a CPU.
_LOGIT_BYTES = {"cpu": 2**21, "cuda": 2**28}

Answer = Callable[..., Tensor]


class Door(TorchFunctionMode):
    """Answer every ``scaled_dot_product_attention`` call with `answer(q, k, v, **kwargs)`, and count them."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer
        self.calls = 0

    def __torch_function__(self, func: Callable, types: Iterable, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Pass everything through but the one call."""
        if func is not F.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        self.calls += 1
        return self.answer(*args, **(kwargs or {}))


@dataclass(frozen=True)
class Call:
    """The operands of one attention call."""

    q: Tensor
    k: Tensor
    v: Tensor
    kwargs: dict[str, Any]

    @property
    def scale(self) -> float:
        """The factor of the logits."""
        return self.kwargs.get("scale") or self.q.shape[-1] ** -0.5

    def plain(self, q: Tensor) -> Tensor:
        """Return the untouched attention of the rows `q`, [B, H, R, D]."""
        return F.scaled_dot_product_attention(q, self.k, self.v, **self.kwargs)


def edited_rows(
    q: Tensor, k: Tensor, v: Tensor, attenuator: Attenuator, flags: Tensor, prefix: int, scale: float
) -> Tensor:
    """Return the attenuated attention of the rows `q`, [B, H, R, D].

    Parameters
    ----------
    q
        [B, H, R, D], the rows to compute, all of them edited.
    k, v
        [B, H, N, D].
    attenuator
        What happens to flagged keys.
    flags
        [B, S, N] bool, False for the prefix.
    prefix
        How many tokens before the first patch.
    scale
        The factor of the logits.
    """
    if not attenuator.on_logits:
        k, v, bias = attenuator.operands(k, v, flags, prefix)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=scale)
    batch, heads, rows, _ = q.shape
    budget = _LOGIT_BYTES.get(q.device.type, _LOGIT_BYTES["cpu"])
    step = max(1, budget // (4 * heads * rows * k.shape[2]))
    with torch.autocast(q.device.type, enabled=False):  # the logits of low-precision operands are fp32
        out = [
            _from_logits(
                q[i : i + step],
                k[i : i + step],
                v[i : i + step],
                attenuator,
                flags[i : i + step],
                prefix,
                scale,
            )
            for i in range(0, batch, step)
        ]
    return torch.cat(out).to(v.dtype) if len(out) > 1 else out[0].to(v.dtype)


def _from_logits(
    q: Tensor, k: Tensor, v: Tensor, attenuator: Attenuator, flags: Tensor, prefix: int, scale: float
) -> Tensor:
    z_BHRN = (q.float() * scale) @ k.float().transpose(-2, -1)
    return attenuator.logits(z_BHRN, flags, prefix).softmax(dim=-1) @ v.float()


def attend(call: Call, edit: Edit, flags: Tensor, prefix: int, cls_only: bool) -> Tensor:
    """Return the edited attention, all rows [B, H, N, D] or the CLS row [B, H, 1, D]."""
    attenuator = edit.attenuator
    if cls_only:
        return edited_rows(call.q[:, :, :1], call.k, call.v, attenuator, flags, prefix, call.scale)
    if attenuator.queries == "all":
        return edited_rows(call.q, call.k, call.v, attenuator, flags, prefix, call.scale)
    out = call.plain(call.q)
    out[:, :, :1] = edited_rows(call.q[:, :, :1], call.k, call.v, attenuator, flags, prefix, call.scale)
    return out


@contextmanager
def fused(blocks: Iterable[nn.Module]) -> Iterator[None]:
    """Have every attention of `blocks` take its fused path, and put back what was before."""
    modules = [m for block in blocks for m in block.modules() if hasattr(m, "fused_attn")]
    before = [m.fused_attn for m in modules]
    try:
        for module in modules:
            module.fused_attn = True  # type: ignore[assignment]
        yield
    finally:
        for module, value in zip(modules, before, strict=True):
            module.fused_attn = value


def exactly_once(layer: int, calls: int) -> None:
    """Raise a `UserError` unless block `layer` reached its attention call exactly once."""
    if calls != 1:
        raise UserError(
            f"Block {layer} called scaled_dot_product_attention {calls} times in one forward, not once, "
            "so its attention can't be edited; choose other layers or another backbone."
        )
