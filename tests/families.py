"""Small random models of every family that an edit has to reach, built by timm itself.

LayerScale starts at 1e-5 in DINO-style models, under which no edit would show; it is set to 1 here.
"""

from __future__ import annotations

import hashlib
from typing import Any

import timm
import torch

SMALL = {"depth": 3, "embed_dim": 24, "num_heads": 2}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("vit_small_patch16_224", {"img_size": 64}),
    "dinov2": ("vit_small_patch14_dinov2", {"img_size": 56, "init_values": 1.0}),
    "registers": ("vit_small_patch14_reg4_dinov2", {"img_size": 56, "init_values": 1.0}),
    "dinov3": ("vit_small_patch16_dinov3", {"img_size": 64, "init_values": 1.0}),
    "dinov3_qkvb": ("vit_small_patch16_dinov3_qkvb", {"img_size": 64, "init_values": 1.0}),
    "eva02": ("eva02_tiny_patch14_224", {"img_size": 56}),
    "rope_mixed": ("vit_small_patch16_rope_mixed_224", {"img_size": 64, "init_values": 1.0}),
    "clip": ("vit_base_patch32_clip_224", {"img_size": 128}),
    "siglip": ("vit_base_patch16_siglip_224", {"img_size": 64}),
}


def small(family: str, **options) -> torch.nn.Module:
    """Build the small model of `family`, in eval mode, with weights large enough that attention is uneven."""
    name, args = FAMILIES[family]
    torch.manual_seed(0)
    model = timm.create_model(name, **{**SMALL, **args, **options}).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(1)
    for key, weight in model.named_parameters():
        if weight.ndim == 2 and ".attn." in key:
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.35)
        elif key.endswith(("cls_token", "reg_token", "pos_embed")):
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.5)
    return model


def pixels(model: torch.nn.Module, count: int = 3, seed: int = 2) -> torch.Tensor:
    """Return `count` images of noise of the model's size."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, *model.patch_embed.img_size, generator=generator)  # type: ignore[misc,union-attr]


def double(model: torch.nn.Module) -> torch.nn.Module:
    """Put `model` in fp64, but for the positions of RoPE-mixed: timm before 1.0.31 multiplies them by fp32."""
    model.double()
    for name, buffer in model.named_buffers():
        if name in ("rope.t_x", "rope.t_y"):
            buffer.data = buffer.data.float()
    return model


def digests(count: int) -> list[bytes]:
    """Return what stands for the sha256 of so many different images."""
    return [hashlib.sha256(str(i).encode()).digest() for i in range(count)]
