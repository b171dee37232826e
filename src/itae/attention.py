"""One attention call, edited: the door that sees it, and the rows that are answered.

Every block that matters calls ``F.scaled_dot_product_attention(q, k, v)`` once. A `Door` is a
``TorchFunctionMode`` that sees that call and answers it. The model itself is never touched: no module is
replaced, no weight is changed, and fused attention stays where the attenuator's formula allows it.

Letters: B images, H heads, N tokens, P prefix tokens, D head width, S = 1 or H, R attention rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from itae.attenuate import Attenuator
from itae.errors import UserError

# Logits of all rows are held for as many images at a time as fit: about a second-level cache on a CPU.
_LOGIT_BYTES = {"cpu": 2**21, "cuda": 2**28}

Answer = Callable[..., Tensor]
Rule = tuple[Attenuator, Tensor]
"""An attenuator and the keys that it is for: flags [B, S, N] bool."""
Rows = Callable[[list[Rule]], Sequence[Tensor]]


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
    all three, the queries are computed for the first token alone.
    """

    def __init__(self, answer: Answer, tape: Tape | None = None, qkv: nn.Linear | None = None) -> None:
        super().__init__()
        self.answer, self.tape, self.qkv = answer, tape, qkv
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
            return _one_query(*args)
        return func(*args, **kwargs)


def fused_qkv(block: nn.Module) -> nn.Linear | None:
    """Return the layer of timm's attention that gives q, k and v, one behind the other, or None if there is none."""
    qkv = getattr(getattr(block, "attn", None), "qkv", None)
    return qkv if isinstance(qkv, nn.Linear) and qkv.out_features % 3 == 0 else None


def _one_query(x_BNE: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return ``F.linear(x, weight, bias)`` with zeros for the first third, the query, of all tokens but the first."""
    device, dtype = x_BNE.device.type, x_BNE.dtype
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
    x, weight = x_BNE.to(dtype), weight.to(dtype)
    bias = weight.new_zeros(len(weight)) if bias is None else bias.to(dtype)
    third = len(weight) // 3
    out = x.new_empty(*x.shape[:-1], len(weight))
    out[..., :third] = 0
    out[:, :1, :third] = F.linear(x[:, :1], weight[:third], bias[:third])
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


def edited_rows(q: Tensor, k: Tensor, v: Tensor, rules: Sequence[Rule], prefix: int, scale: float) -> list[Tensor]:
    """Return the attention of the rows `q` under each of several rules, [B, H, R, D] each.

    A rule with a fused formula takes it; the others share their logits, which are most of their price.

    Parameters
    ----------
    q
        [B, H, R, D], the rows to compute, all of them edited.
    k, v
        [B, H, N, D].
    rules
        Attenuators with their flags, [B, S, N] bool, False for the prefix.
    prefix
        How many tokens before the first patch.
    scale
        The factor of the logits.
    """
    return _parted(
        rules,
        lambda attenuator: attenuator.fused,
        lambda some: [_fused_rows(q, k, v, rule, prefix, scale) for rule in some],
        lambda some: _rows_by_logits(q, k, v, some, prefix, scale),
    )


def _parted(rules: Sequence[Rule], test: Callable[[Attenuator], bool], yes: Rows, no: Rows) -> list[Tensor]:
    """Return the rows of each rule, in their order: by `yes` of all those that pass the test, by `no` of the others."""
    out: dict[int, Tensor] = {}
    for passed, rows in ((True, yes), (False, no)):
        places = [i for i, (attenuator, _) in enumerate(rules) if test(attenuator) is passed]
        if places:
            out |= zip(places, rows([rules[i] for i in places]), strict=True)
    return [out[i] for i in range(len(rules))]


def _fused_rows(q: Tensor, k: Tensor, v: Tensor, rule: Rule, prefix: int, scale: float) -> Tensor:
    k, v, bias = rule[0].operands(k, v, rule[1], prefix)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=scale)


def _rows_by_logits(q: Tensor, k: Tensor, v: Tensor, rules: Sequence[Rule], prefix: int, scale: float) -> list[Tensor]:
    batch, heads, rows, width = q.shape
    budget = _LOGIT_BYTES.get(q.device.type, _LOGIT_BYTES["cpu"])
    step = max(1, budget // (4 * heads * rows * k.shape[2]))
    # Laid out as fused attention lays it out, token by token: what follows then needs no copy.
    outs = [v.new_empty(batch, rows, heads, width).transpose(1, 2) for _ in rules]
    with torch.autocast(q.device.type, enabled=False):  # the logits of low-precision operands are fp32
        for i in range(0, batch, step):
            some = slice(i, i + step)
            z = (q[some].float() * scale) @ k[some].float().transpose(-2, -1)
            for out, (attenuator, flags), own in zip(outs, rules, _copies(z, len(rules)), strict=True):
                out[some] = _weighted(attenuator.weights(own, flags[some], prefix), v[some])
    return outs


def _weighted(weights: Tensor, v: Tensor) -> Tensor:
    """Return ``weights.to(v.dtype) @ v``.

    A CPU that has AVX2 and no more, and so no instructions for 16 bits, takes some twenty times as long for it as in
    fp32, which gives the same: there the product of two such numbers is exact, and sums are of fp32 in both.
    """
    weights = weights.to(v.dtype)
    if v.device.type == "cpu" and v.dtype.itemsize == 2 and torch.backends.cpu.get_cpu_capability() == "AVX2":
        return (weights.float() @ v.float()).to(v.dtype)
    return weights @ v


def _copies(x: Tensor, count: int) -> Iterator[Tensor]:
    """Yield `x` `count` times, to be overwritten each time."""
    for _ in range(count - 1):
        yield x.clone()
    yield x


def _by_head(a_BHRX: Tensor, b_BHXY: Tensor) -> Tensor:
    """Return the product, head by head: in one go, `matmul` would copy a q, k or v that is a view of the three."""
    return torch.stack([a_BHRX[:, h] @ b_BHXY[:, h] for h in range(a_BHRX.shape[1])], dim=1)


def cls_logits(q: Tensor, k: Tensor, scale: float) -> Tensor:
    """Return the scaled logits of the CLS row, [B, H, 1, N] in fp32."""
    with torch.autocast(q.device.type, enabled=False):
        return _by_head(q[:, :, :1].float() * scale, k.float().transpose(-2, -1))


def attend(call: Call, rules: Sequence[Rule], prefix: int) -> list[Tensor]:
    """Return the attention of all rows under each of several rules, [B, H, N, D] each."""
    return _parted(
        rules,
        lambda attenuator: attenuator.queries == "all",
        lambda some: edited_rows(call.q, call.k, call.v, some, prefix, call.scale),
        lambda some: _cls_row_edited(call, some, prefix),
    )


def _cls_row_edited(call: Call, rules: Sequence[Rule], prefix: int) -> list[Tensor]:
    rows = cls_rows(call, rules, prefix, cls_logits(call.q, call.k, call.scale))
    outs = list(_copies(call.plain(call.q), len(rules)))
    for out, row in zip(outs, rows, strict=True):
        out[:, :, :1] = row
    return outs


def cls_rows(call: Call, rules: Sequence[Rule], prefix: int, z_BH1N: Tensor) -> list[Tensor]:
    """Return the CLS row of the attention under each of several rules, [B, H, 1, D] each.

    The one row of logits, as `cls_logits` gives them, and one product with the values serve all whose formula is by
    row.
    """
    q_BH1D = call.q[:, :, :1]

    def by_row(some: Sequence[Rule]) -> Sequence[Tensor]:
        with torch.autocast(call.q.device.type, enabled=False):
            weights = [attenuator.weights(z_BH1N.clone(), flags, prefix) for attenuator, flags in some]
            return _by_head(torch.cat(weights, dim=2).to(call.v.dtype), call.v).split(1, dim=2)

    return _parted(
        rules,
        lambda attenuator: attenuator.by_row,
        by_row,
        lambda some: edited_rows(q_BH1D, call.k, call.v, some, prefix, call.scale),
    )


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
