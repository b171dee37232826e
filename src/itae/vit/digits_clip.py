"""The embedded backbone that shares a space with words: `digits_vit`, locked, and a projection behind it.

Its file of weights holds both towers, as a CLIP's does: the image tower, which is `digits_vit` to the last bit, with
the projection as its head, and under ``text.`` the tower of words, which `itae.search.text` reads. Both projections
were trained on templates with labels: see `weights/MODEL_CARD.md`.

Importing this module registers `digits_clip` with timm. It needs torch and timm, so it is imported only when that
backbone is built.
"""

from __future__ import annotations

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from itae.vit.digits_vit import DEPTH, HEADS, IMAGE_SIZE, PATCH_SIZE, WEIGHTS, WIDTH

JOINT = 64
"""Width of the space of images and words."""
TEXT = "text."
"""What the names of the text tower's weights begin with."""

default_cfgs = generate_default_cfgs(
    {
        "digits_clip": {
            "file": str(WEIGHTS / "digits_clip.safetensors"),
            "num_classes": JOINT,
            "input_size": (3, IMAGE_SIZE, IMAGE_SIZE),
            "fixed_input_size": True,
            "pool_size": None,
            "crop_pct": 1.0,
            "interpolation": "bicubic",
            "mean": (0.5, 0.5, 0.5),
            "std": (0.5, 0.5, 0.5),
            "first_conv": "patch_embed.proj",
            "classifier": "head",
            "license": "apache-2.0",
        }
    }
)


def image_tower(state: dict[str, Tensor], model: VisionTransformer) -> dict[str, Tensor]:
    """Return those weights of a file that are the image tower's."""
    return {name: tensor for name, tensor in state.items() if not name.startswith(TEXT)}


@register_model
def digits_clip(pretrained: bool = False, **kwargs: Any) -> VisionTransformer:
    """`digits_vit` with a projection of its CLS token into a space of images and words."""
    shape = {
        "img_size": IMAGE_SIZE,
        "patch_size": PATCH_SIZE,
        "embed_dim": WIDTH,
        "depth": DEPTH,
        "num_heads": HEADS,
        "num_classes": JOINT,
        "global_pool": "token",
    }
    model: VisionTransformer = build_model_with_cfg(
        VisionTransformer, "digits_clip", pretrained, pretrained_filter_fn=image_tower, **{**shape, **kwargs}
    )
    return model
