"""The door: the one place where an attention call of a frozen model is seen, and may be answered otherwise.

Every block that matters calls ``F.scaled_dot_product_attention(q, k, v)`` once. A `Door` is a ``TorchFunctionMode``
that sees that call and answers it. The model itself is never touched: no module is replaced, no weight is changed.

Letters: B images, H heads, N tokens, D head width, E embedding width, R attention rows.
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

from itae.base.errors import UserError

Answer = Callable[..., Tensor]


class Tape:
    """What a block computes on its way to its attention call, so that it is computed once for many edits.

    The first door that has it records; the others, on the same input of the same block, get the very tensors
    again. In order, since a forward of a frozen block on one input takes the same steps each time.
    """

    def __init__(self) -> None:
        self._steps: list[tuple[Callable, Any]] = []
        self._next: int | None = None

    def rewind(self) -> None:
        """Play from the start what was recorded, if anything was."""
        self._next = 0 if self._steps else None

    def step(self, func: Callable, args: tuple, kwargs: dict) -> Any:
        """Return what `func` gave when it was recorded, or record it."""
        if self._next is None:
            self._steps.append((func, func(*args, **kwargs)))
            return self._steps[-1][1]
        recorded, out = self._steps[self._next]
        assert recorded == func, f"a block took another step on the same input: {func}, not {recorded}"
        self._next += 1
        return out


class Door(TorchFunctionMode):
    """Answer every ``scaled_dot_product_attention`` call with `answer(q, k, v, **kwargs)`, and count them.

    With a `tape`, what comes before the next call is taken from there, or recorded. With `qkv`, the layer that gives
    all three, the queries are computed for the first `rows` tokens alone.
    """

    def __init__(self, answer: Answer, tape: Tape | None = None, qkv: nn.Linear | None = None, rows: int = 1) -> None:
        super().__init__()
        self.answer, self.tape, self.qkv, self.rows = answer, tape, qkv, rows
        self.calls = 0
        if tape is not None:
            tape.rewind()

    def __torch_function__(self, func: Callable, types: Iterable, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Pass everything through but the one call."""
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            self.calls += 1
            self.tape = None
            return self.answer(*args, **kwargs)
        if self.tape is not None:
            return self.tape.step(func, args, kwargs)
        if self.qkv is not None and func is F.linear and len(args) == 3 and args[1] is self.qkv.weight:
            return _few_queries(*args, count=self.rows)
        return func(*args, **kwargs)


def fused_qkv(block: nn.Module) -> nn.Linear | None:
    """Return the layer of timm's attention that gives q, k and v, one behind the other, or None if there is none."""
    qkv = getattr(getattr(block, "attn", None), "qkv", None)
    return qkv if isinstance(qkv, nn.Linear) and qkv.out_features % 3 == 0 else None


def _few_queries(x_BNE: Tensor, weight: Tensor, bias: Tensor | None, count: int = 1) -> Tensor:
    """Return ``F.linear(x, weight, bias)`` with zeros for the first third, the query, of all but the first tokens."""
    device, dtype = x_BNE.device.type, x_BNE.dtype
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
    x, weight = x_BNE.to(dtype), weight.to(dtype)
    bias = weight.new_zeros(len(weight)) if bias is None else bias.to(dtype)
    third = len(weight) // 3
    out = x.new_empty(*x.shape[:-1], len(weight))
    out[..., :third] = 0
    out[:, :count, :third] = F.linear(x[:, :count], weight[:third], bias[:third])
    rows = out.view(-1, len(weight))  # written in place: a copy of k and v would eat up half of the gain
    torch.addmm(bias[third:], x.reshape(-1, x.shape[-1]), weight[third:].t(), out=rows[:, third:])
    return out


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
