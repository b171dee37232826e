"""One attention call, edited: the rows that are answered under each of several rules.

Fused attention stays where the attenuator's formula allows it.

Letters: B images, H heads, N tokens, P prefix tokens, D head width, S = 1 or H, R attention rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from itae.edits.attenuate import Attenuator
from itae.vit.door import Call

# Logits of all rows are held for as many images at a time as fit: about a second-level cache on a CPU.
_LOGIT_BYTES = {"cpu": 2**21, "cuda": 2**28}
Rule = tuple[Attenuator, Tensor]
"""An attenuator and the keys that it is for: flags [B, S, N] bool."""
Rows = Callable[[list[Rule]], Sequence[Tensor]]


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


def first_logits(q: Tensor, k: Tensor, scale: float, rows: int = 1) -> Tensor:
    """Return the scaled logits of the first rows, by default the CLS row alone: [B, H, R, N] in fp32."""
    with torch.autocast(q.device.type, enabled=False):
        return _by_head(q[:, :, :rows].float() * scale, k.float().transpose(-2, -1))


def attend(call: Call, rules: Sequence[Rule], prefix: int) -> list[Tensor]:
    """Return the attention of all rows under each of several rules, [B, H, N, D] each."""
    return _parted(
        rules,
        lambda attenuator: attenuator.queries == "all",
        lambda some: edited_rows(call.q, call.k, call.v, some, prefix, call.scale),
        lambda some: _cls_row_edited(call, some, prefix),
    )


def _cls_row_edited(call: Call, rules: Sequence[Rule], prefix: int) -> list[Tensor]:
    rows = first_rows(call, rules, prefix, first_logits(call.q, call.k, call.scale))
    outs = list(_copies(call.plain(call.q), len(rules)))
    for out, row in zip(outs, rows, strict=True):
        out[:, :, :1] = row
    return outs


def first_rows(call: Call, rules: Sequence[Rule], prefix: int, z_BHRN: Tensor) -> list[Tensor]:
    """Return the first rows of the attention under each of several rules, all of them edited, [B, H, R, D] each.

    Their logits, as `first_logits` gives them, and one product with the values serve all whose formula is by row.
    """
    q_BHRD = call.q[:, :, : z_BHRN.shape[2]]

    def by_row(some: Sequence[Rule]) -> Sequence[Tensor]:
        with torch.autocast(call.q.device.type, enabled=False):
            weights = [attenuator.weights(z_BHRN.clone(), flags, prefix) for attenuator, flags in some]
            return _by_head(torch.cat(weights, dim=2).to(call.v.dtype), call.v).split(z_BHRN.shape[2], dim=2)

    return _parted(
        rules,
        lambda attenuator: attenuator.by_row,
        by_row,
        lambda some: edited_rows(q_BHRD, call.k, call.v, some, prefix, call.scale),
    )


def prefix_rows(call: Call, rules: Sequence[Rule], prefix: int, z_BHPN: Tensor) -> list[Tensor]:
    """Return the rows of all prefix tokens under each of several rules, [B, H, P, D] each.

    As `first_rows` where the rule is for all rows; one for the CLS row alone leaves the others as they are.
    """

    def of_cls(some: Sequence[Rule]) -> Sequence[Tensor]:
        edited = first_rows(call, some, prefix, z_BHPN[:, :, :1])
        others = call.plain(call.q[:, :, 1 : z_BHPN.shape[2]])
        return [torch.cat([row, others], dim=2) for row in edited]

    return _parted(
        rules,
        lambda attenuator: attenuator.queries == "all",
        lambda some: first_rows(call, some, prefix, z_BHPN),
        of_cls,
    )
