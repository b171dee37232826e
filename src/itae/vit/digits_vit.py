"""The embedded backbone: a small ViT for scikit-learn's digits, and its twin with planted artifacts.

The default run needs no download, so a backbone lives in the package. Small models do not grow artifacts of
their own (they are a habit of large ones), so the twin has some *planted* by a fixed module: it shows that the
machinery finds and attenuates them, and nothing about real backbones. See `weights/MODEL_CARD.md`.

Importing this module registers `digits_vit` and `digits_vit_artifacts` with timm. It needs torch and timm, so
it is imported only when such a backbone is built.

Shape suffixes: B images, N tokens (CLS first), P patches, E width, C contents.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from timm.layers import LayerNorm
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.vision_transformer import Block, VisionTransformer, checkpoint_filter_fn
from torch import Tensor

WEIGHTS = Path(__file__).parent / "weights"
IMAGE_SIZE, PATCH_SIZE, WIDTH, DEPTH, HEADS = 32, 4, 96, 6, 3
NUM_PATCHES = (IMAGE_SIZE // PATCH_SIZE) ** 2
PLANT_BLOCK = 2  # artifacts are there from the output of this block on
PLANTED = 3  # patches of each image
CONTENTS = 10


class PlantingBlock(Block):
    """A transformer block that adds a huge vector to a few blank patches of its own output.

    Living inside a block keeps `model.blocks` an ordinary sequence that can be replayed from anywhere. All of it
    is a function of the block's output alone, image by image, in fp32. The vectors are buffers, found by
    `experiments/00_digits_vit/plant.py`, and travel in the safetensors file:

    - `ink_E`, `ink_bias`: a patch whose `token @ ink_E + ink_bias` is below 0 is blank.
    - `code_E`: the image's content index is `floor(mean token @ code_E) mod C`. One cycle is about as wide as
      the spread within a class, which leaves next to nothing of the class in the index.
    - `priority_CP`: the blank patches with the highest priorities for this index are planted. A fixed order,
      so the choice does not hinge on tiny differences between blank patches.
    - `artifact_CE`: what is added, one vector for each content.
    """

    ink_E: Tensor  # noqa: N815
    ink_bias: Tensor
    code_E: Tensor  # noqa: N815
    priority_CP: Tensor  # noqa: N815
    artifact_CE: Tensor  # noqa: N815

    def __init__(self, dim: int, num_heads: int, **kwargs: Any) -> None:
        super().__init__(dim, num_heads, **kwargs)
        self.register_buffer("ink_E", torch.zeros(dim))
        self.register_buffer("ink_bias", torch.zeros(()))
        self.register_buffer("code_E", torch.zeros(dim))
        self.register_buffer("priority_CP", torch.zeros(CONTENTS, NUM_PATCHES))
        self.register_buffer("artifact_CE", torch.zeros(CONTENTS, dim))

    def choose(self, x_BNE: Tensor) -> tuple[Tensor, Tensor]:
        """Return the content index of each image [B] and a mask of its planted patches [B, P]."""
        patches_BPE = x_BNE[:, 1 : 1 + NUM_PATCHES].float()
        ink_BP = (patches_BPE * self.ink_E.float()).sum(-1) + self.ink_bias.float()
        code_B = (patches_BPE.mean(1) * self.code_E.float()).sum(-1)
        content_B = code_B.floor().remainder(CONTENTS).long()
        priority_BP = self.priority_CP.float()[content_B].masked_fill(ink_BP >= 0, -1.0)
        chosen_BK = priority_BP.topk(PLANTED).indices
        return content_B, torch.zeros_like(ink_BP, dtype=torch.bool).scatter_(1, chosen_BK, True)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Return the block's output [B, N, E] with the artifacts added."""
        x_BNE = super().forward(x, *args, **kwargs)
        content_B, planted_BP = self.choose(x_BNE)
        artifact_B1E = self.artifact_CE.to(x_BNE.dtype)[content_B].unsqueeze(1)
        cls_B1E, patches_BPE, more = x_BNE.split([1, NUM_PATCHES, x_BNE.shape[1] - 1 - NUM_PATCHES], dim=1)
        return torch.cat([cls_B1E, patches_BPE + artifact_B1E * planted_BP.unsqueeze(-1), more], dim=1)


class ArtifactViT(VisionTransformer):
    """A timm `VisionTransformer` whose block `PLANT_BLOCK` is a `PlantingBlock`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.blocks[PLANT_BLOCK] = PlantingBlock(WIDTH, HEADS, qkv_bias=True, norm_layer=LayerNorm)


def _cfg(name: str) -> dict[str, Any]:
    return {
        "file": str(WEIGHTS / f"{name}.safetensors"),
        "num_classes": 0,
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


default_cfgs = generate_default_cfgs(
    {name: _cfg(name) for name in ("digits_vit", "digits_vit_artifacts")},
)


def _build(cls: type[VisionTransformer], name: str, pretrained: bool, **kwargs: Any) -> VisionTransformer:
    shape = {
        "img_size": IMAGE_SIZE,
        "patch_size": PATCH_SIZE,
        "embed_dim": WIDTH,
        "depth": DEPTH,
        "num_heads": HEADS,
        "num_classes": 0,
        "global_pool": "token",
    }
    model: VisionTransformer = build_model_with_cfg(
        cls, name, pretrained, pretrained_filter_fn=checkpoint_filter_fn, **{**shape, **kwargs}
    )
    return model


@register_model
def digits_vit(pretrained: bool = False, **kwargs: Any) -> VisionTransformer:
    """ViT of depth 6, width 96, 3 heads, patch 4 at 32 px, trained on digits without labels."""
    return _build(VisionTransformer, "digits_vit", pretrained, **kwargs)


@register_model
def digits_vit_artifacts(pretrained: bool = False, **kwargs: Any) -> VisionTransformer:
    """`digits_vit` with artifacts planted into three blank patches of each image after block 2."""
    return _build(ArtifactViT, "digits_vit_artifacts", pretrained, **kwargs)
