"""Which text tower belongs to a backbone, told by its name in timm, and what its images have to be pooled by.

Nothing is imported or looked for to know it, so what is wrong with a space is said at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from itae.base.errors import UserError

CLIP = {
    "vit_base_patch32_clip_quickgelu_224": "ViT-B-32-quickgelu",
    "vit_base_patch16_clip_quickgelu_224": "ViT-B-16-quickgelu",
    "vit_large_patch14_clip_quickgelu_224": "ViT-L-14-quickgelu",
    "vit_large_patch14_clip_quickgelu_336": "ViT-L-14-336-quickgelu",
    "vit_huge_patch14_clip_quickgelu_224": "ViT-H-14-quickgelu",
    "vit_base_patch32_clip_224": "ViT-B-32",
    "vit_base_patch32_clip_256": "ViT-B-32-256",
    "vit_base_patch16_clip_224": "ViT-B-16",
    "vit_large_patch14_clip_224": "ViT-L-14",
    "vit_large_patch14_clip_336": "ViT-L-14-336",
    "vit_huge_patch14_clip_224": "ViT-H-14",
    "vit_giant_patch14_clip_224": "ViT-g-14",
    "vit_gigantic_patch14_clip_224": "ViT-bigG-14",
}
"""timm's name of an image tower, and what open_clip calls the model with both towers."""
SIGLIP = {
    "vit_base_patch16_siglip_224": ("ViT-B-16-SigLIP", "ViT-B-16-SigLIP2"),
    "vit_base_patch16_siglip_256": ("ViT-B-16-SigLIP-256", "ViT-B-16-SigLIP-i18n-256", "ViT-B-16-SigLIP2-256"),
    "vit_base_patch16_siglip_384": ("ViT-B-16-SigLIP-384", "ViT-B-16-SigLIP2-384"),
    "vit_base_patch16_siglip_512": ("ViT-B-16-SigLIP-512", "ViT-B-16-SigLIP2-512"),
    "vit_large_patch16_siglip_256": ("ViT-L-16-SigLIP-256", "ViT-L-16-SigLIP2-256"),
    "vit_large_patch16_siglip_384": ("ViT-L-16-SigLIP-384", "ViT-L-16-SigLIP2-384"),
    "vit_so400m_patch14_siglip_224": ("ViT-SO400M-14-SigLIP", "ViT-SO400M-14-SigLIP2"),
    "vit_so400m_patch14_siglip_384": ("ViT-SO400M-14-SigLIP-384",),
}
"""The same of SigLIP's, whose versions have one image tower and several towers of texts; the file tells which."""
DIGITS = "digits_clip"


@dataclass(frozen=True)
class Tower:
    """The text tower of a space.

    Parameters
    ----------
    configs
        Names of open_clip's that it may have; none for the embedded one.
    tag
        What timm calls the weights, empty where its name has none.
    """

    configs: tuple[str, ...]
    tag: str

    @property
    def natively_quick(self) -> bool:
        """Whether the weights were trained with QuickGELU, and the model of this name has another activation."""
        return self.tag == "openai" and not self.configs[0].endswith("-quickgelu")


def tower_of(backbone: Mapping[str, Any]) -> Tower:
    """Return the text tower of a backbone's space.

    Parameters
    ----------
    backbone
        The resolved node of a config, or of a base's recipe.

    Raises
    ------
    UserError
        If its images and no texts are in that space; it says which base would do.
    """
    name, pool = str(backbone.get("model_name")), backbone.get("pool")
    architecture, _, tag = name.partition(".")
    if architecture in SIGLIP:
        if pool != "head":
            raise _other_pool(name, pool, "its attention pooling", "backbone.pool=head")
        return Tower(SIGLIP[architecture], tag)
    if architecture not in CLIP and architecture != DIGITS:
        raise UserError(
            f"There is no text tower in this space: {name} embeds images alone; search with an image, or make a base "
            "of backbone=clip_b16 backbone.pool=projection, of backbone=siglip_b16, or of backbone=digits_clip, which "
            "needs no download: itae knowledge rebuild KB NEW backbone=NAME."
        )
    tower = Tower((CLIP[architecture],) if architecture in CLIP else (), tag)
    if pool != "projection":
        words = "backbone.pool=projection"
        if tower.configs and tower.natively_quick:
            words = f"backbone.model_name={name.replace('_clip_', '_clip_quickgelu_')} {words}"
        raise _other_pool(name, pool, "its projection", words)
    return tower


def _other_pool(name: str, pool: Any, space: str, words: str) -> UserError:
    are = {"cls": "CLS tokens before the projection", "mean": "means of patch tokens"}
    are |= {"head": "what comes before the projection"} if "projection" in words else {}
    return UserError(
        f"There is no text tower in this space: with backbone.pool={pool} the vectors of {name} are "
        f"{are.get(str(pool), 'others')}, and its texts lie in the space of {space}; rebuild the base there: "
        f"itae knowledge rebuild KB NEW {words}."
    )
