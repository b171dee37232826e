"""Can this model be edited at all? Asked before any work, and before any weights are loaded."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from itae.base.errors import UserError
from itae.vit.door import Door, fused
from itae.vit.tokens import longer


def reachable(model: Any, name: str) -> int:
    """Return the patch size of a model whose attention an edit can reach.

    Parameters
    ----------
    model
        Without its weights; a large one on the meta device, so that this costs no arithmetic and no memory.
    name
        What to call it.

    Raises
    ------
    UserError
        If it isn't a stack of blocks and a norm, each block with one attention call, that puts out its prefix tokens
        and one token a patch.
    """
    parts = ("blocks", "norm", "patch_embed", "num_prefix_tokens", "forward_features")
    missing = [part for part in parts if not hasattr(model, part)]
    if missing:
        raise UserError(
            f"backbone.model_name={name}: a {type(model).__name__} has no {missing[0]!r}, so it isn't a plain or RoPE "
            "vision transformer, and itae can't edit its attention; choose another backbone."
        )
    for i, block in enumerate(model.blocks):
        if not hasattr(getattr(block, "attn", None), "num_heads"):
            raise UserError(
                f"backbone.model_name={name}: block {i}, a {type(block).__name__}, has no attention by itself, so "
                "itae can't edit it; choose another backbone."
            )
    calls, tokens = _one_forward(model, name)
    wrong = {i: calls[i] for i in range(len(model.blocks)) if calls[i] != 1}
    if wrong:
        layer, count = next(iter(wrong.items()))
        raise UserError(
            f"backbone.model_name={name}: block {layer} calls scaled_dot_product_attention {count} times in a forward "
            "instead of once, so itae can't edit its attention; choose another backbone."
        )
    patch = int(model.patch_embed.feat_ratio())
    rows, columns = (side // patch for side in model.patch_embed.img_size)
    expected = model.num_prefix_tokens + rows * columns
    if tokens != expected:
        raise UserError(
            f"backbone.model_name={name}: a forward puts out {tokens} tokens and not {expected} "
            f"({model.num_prefix_tokens} prefix tokens and {rows} x {columns} patches), so itae can't tell which are "
            "patches; choose another backbone."
        )
    return patch


def _one_forward(model: Any, name: str) -> tuple[Counter[int], int]:
    """Return how often each block attends in a forward, and how many tokens come out."""
    calls: Counter[int] = Counter()
    inside = -1

    def enter(layer: int) -> Any:
        def before(block: nn.Module, args: tuple) -> None:
            nonlocal inside
            inside = layer

        return before

    def count(q: Tensor, k: Tensor, v: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        calls[inside] += 1
        extra = [key for key in ("attn_mask", "is_causal", "dropout_p", "enable_gqa") if _is_set(kwargs.get(key))]
        if args or extra:
            raise UserError(
                f"backbone.model_name={name}: block {inside} gives its attention {', '.join(extra) or 'a mask'}, which "
                "an edit would drop; choose another backbone."
            )
        return F.scaled_dot_product_attention(q, k, v, *args, **kwargs)

    side = model.patch_embed.img_size
    handles = [block.register_forward_pre_hook(enter(i)) for i, block in enumerate(model.blocks)]
    try:
        with torch.inference_mode(), fused(model.blocks), Door(count):
            out = model.eval().forward_features(_image(model))
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(
            f"backbone.model_name={name}: a forward of {side[0]} x {side[1]} pixels fails "
            f"({' '.join(str(error).split())[:200]}); choose another backbone or backbone.image_size."
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return calls, out.shape[1]


def neurons(model: Any) -> int:
    """Return how many inputs each block's ``mlp.fc2`` has; 0 if not every block has one, or none takes a token more.

    Parameters
    ----------
    model
        As of `reachable`.
    """
    widths = {getattr(getattr(getattr(block, "mlp", None), "fc2", None), "in_features", 0) for block in model.blocks}
    if len(widths) > 1:
        return 0
    handles = [
        block.register_forward_pre_hook(
            lambda _block, args, kwargs, i=i: ((F.pad(args[0], (0, 0, 0, i == 0)), *args[1:]), longer(kwargs, 1)),
            with_kwargs=True,
        )
        for i, block in enumerate(model.blocks)
    ]
    try:
        with torch.inference_mode(), fused(model.blocks):
            model.eval().forward_features(_image(model))
    except Exception:  # whatever a block of somebody's says to a token more, it can be edited in other ways
        return 0
    finally:
        for handle in handles:
            handle.remove()
    return widths.pop()


def _image(model: Any) -> Tensor:
    return torch.zeros(1, 3, *model.patch_embed.img_size, device=next(model.parameters()).device)


def _is_set(value: Any) -> bool:
    return isinstance(value, Tensor) or bool(value)
