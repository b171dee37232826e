"""Can edits of this model be trusted? Asked once, of the built model."""

from __future__ import annotations

import torch
from torch import nn

from itae.base.errors import UserError
from itae.edits.attenuate import Floor
from itae.edits.detect import Nothing
from itae.edits.edit import Edit
from itae.embed.replay import SharedPass


def prove(model: nn.Module, prefix: int, pool: str, image_size: int, name: str) -> None:
    """Raise a `UserError` unless an edit of all blocks that flags nothing gives the untouched embedding.

    One image of noise, in fp32: this finds a model whose forward does more than its blocks and its norm.
    """
    device = next(model.parameters()).device
    noise = torch.rand(1, 3, image_size, image_size, generator=torch.Generator().manual_seed(0)).to(device)
    nothing = Edit(Nothing(), Floor(queries="all"), tuple(range(len(list(model.blocks)))))  # type: ignore[arg-type]
    untouched, edited = SharedPass(model, prefix, pool, [None, nothing])(noise, [bytes(32)])
    gap = (untouched - edited).norm() / untouched.norm()
    if not gap < 1e-4:
        raise UserError(
            f"backbone.model_name={name}: replaying its blocks gives other embeddings than its own forward (relative "
            f"gap {gap:.1e}), so an edit of it can't be trusted; choose another backbone."
        )
