"""Small models registered with timm, as a user's own module would: ``backbone.module=tiny_models``."""

from __future__ import annotations

import functools

import torch
from timm.models import register_model
from timm.models.vision_transformer import VisionTransformer

CFG = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "interpolation": "bicubic", "input_size": (3, 32, 32)}


def build(cls, pretrained_cfg_overlay=None, pretrained=False, **options):
    from safetensors.torch import load_file

    options = {k: v for k, v in options.items() if k not in ("pretrained_cfg", "cache_dir")}
    model = cls(**{"patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 0, **options})
    model.pretrained_cfg = CFG
    if pretrained:
        model.load_state_dict(load_file(pretrained_cfg_overlay["file"]))
    return model


class Afterthought(VisionTransformer):
    """A model whose forward does more than its blocks and its norm."""

    def forward_features(self, x, **kwargs):
        return super().forward_features(x, **kwargs) + 1


class Twice(VisionTransformer):
    """A model whose second block attends twice."""

    def __init__(self, **options):
        super().__init__(**options)
        attn = self.blocks[1].attn
        plain = attn.forward
        attn.forward = lambda x, **kwargs: plain(plain(x, **kwargs), **kwargs)


class ByHand(VisionTransformer):
    """A model whose second block doesn't attend as torch does."""

    def __init__(self, **options):
        super().__init__(**options)
        self.blocks[1].attn.forward = lambda x, **kwargs: x.mean(dim=1, keepdim=True).expand_as(x)


class Sinks(VisionTransformer):
    """A model in which the values of patches `SILENT` are next to nothing."""

    def __init__(self, **options):
        super().__init__(**options)
        for block, left in zip(self.blocks, (0.03, 0.01), strict=True):
            block.attn.qkv.register_forward_hook(functools.partial(_silenced, left))


SILENT = (2, 9)


def _silenced(left, _qkv, _args, out):
    third = out.shape[-1] // 3
    if out.shape[1] == 1:  # the CLS token alone, at the end of a pass
        return out
    silenced = out.clone()
    silenced[:, [1 + patch for patch in SILENT], 2 * third :] *= left
    return silenced


class Lost(VisionTransformer):
    """A model that counts a CLS token and has none, as timm's with ``pos_embed="none"`` did from 1.0.23 to 1.0.25."""

    def _pos_embed(self, x):
        return super()._pos_embed(x)[:, 1:]


@register_model
def tiny_vit(pretrained=False, **options):
    return build(VisionTransformer, pretrained=pretrained, **options)


@register_model
def tiny_sinks(pretrained=False, **options):
    return build(Sinks, pretrained=pretrained, **options)


@register_model
def tiny_reg4(pretrained=False, **options):
    """With four registers behind its CLS token."""
    return build(VisionTransformer, pretrained=pretrained, reg_tokens=4, **options)


@register_model
def tiny_nowhere(pretrained=False, **options):
    """Whose tokens have no position."""
    return build(VisionTransformer, pretrained=pretrained, pos_embed="none", **options)


@register_model
def tiny_afterthought(pretrained=False, **options):
    return build(Afterthought, pretrained=pretrained, **options)


@register_model
def tiny_twice(pretrained=False, **options):
    return build(Twice, pretrained=pretrained, **options)


@register_model
def tiny_lost(pretrained=False, **options):
    return build(Lost, pretrained=pretrained, **options)


@register_model
def tiny_by_hand(pretrained=False, **options):
    return build(ByHand, pretrained=pretrained, **options)


def save(path, name="tiny_vit", **options):
    """Write random weights of a model to `path`."""
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model = timm.create_model(name, img_size=32, **options)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, path)
    return path
