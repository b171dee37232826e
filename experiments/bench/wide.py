"""A model as wide as DINOv2-S and one block deep, so that 50,000 images pass in a minute: for the memory figure."""

from __future__ import annotations

from typing import Any

import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.vision_transformer import VisionTransformer

default_cfgs = generate_default_cfgs(
    {"wide_vit": {"mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "bicubic", "input_size": (3, 32, 32)}}
)


@register_model
def wide_vit(pretrained: bool = False, **options: Any) -> torch.nn.Module:
    """Width 384, depth 1, patches of 16 pixels."""
    options = {"patch_size": 16, "embed_dim": 384, "depth": 1, "num_heads": 6, "num_classes": 0, **options}
    return build_model_with_cfg(VisionTransformer, "wide_vit", pretrained, **options)
