"""The file with the text tower of the weights that a base's images were embedded with.

Both towers have to be from one training, so both are of one file wherever there is one: `backbone.checkpoint`, or the
hub's file of images where it is open_clip's. Else the text tower is of open_clip's file on the hub, whose own image
tower is held against the one that embedded the images. Only safetensors are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import safe_open

from itae.base.errors import UserError
from itae.search.text.towers import Tower
from itae.vit.backbone import Backbone
from itae.vit.facts import Facts
from itae.vit.hub import OF_BOTH_TOWERS, from_hub

if TYPE_CHECKING:
    from torch import Tensor

_TEXT = ("text_projection", "positional_embedding", "token_embedding.", "transformer.", "ln_final.")
"""What the names of a text tower's weights begin with, behind "text." or, in OpenAI's layout, behind nothing."""
_WORDS = "token_embedding.weight"
_COUNTED = (_WORDS, "positional_embedding")
_SAME = (
    ("patch_embed.proj.weight", "visual.conv1.weight", "visual.trunk.patch_embed.proj.weight"),
    ("norm.weight", "visual.ln_post.weight", "visual.trunk.norm.weight"),
)
"""Weights of an image tower by which two files are compared, by all their names."""
_ROUNDING = 1e-2  # by which they may differ: one of the two may have been saved in fp16 or bf16


def weights_of_texts(backbone: Backbone, facts: Facts, tower: Tower) -> Path:
    """Return the file with the text tower of the weights that a backbone embeds images with.

    Raises
    ------
    UserError
        If the backbone's own file has none, and there is no other, or another image tower in it.
    """
    images = backbone.weights(facts)
    if _has_texts(images):
        return images
    if backbone.checkpoint is not None:
        raise UserError(
            f"backbone.checkpoint={backbone.checkpoint} holds an image tower and no text tower, so texts can't be "
            f"embedded in its space; rebuild the base with a file of both, such as open_clip's {OF_BOTH_TOWERS}: "
            "itae knowledge rebuild KB NEW backbone.checkpoint=FILE."
        )
    for repo in dict.fromkeys([str(facts.hub_repo), *_repos(tower)]):
        try:
            texts = from_hub(repo, [OF_BOTH_TOWERS])
        except UserError as error:
            reason = error
            continue
        _check_same(images, texts)
        return texts
    raise UserError(
        f"The text tower of {backbone.model_name} is not on this machine and the hub gave none; run `itae prepare "
        f"backbone=... backbone.pool={backbone.pool}` where there is a network, or rebuild the base with "
        "backbone.checkpoint=FILE, an open_clip file of both towers."
    ) from reason


def text_names(file: Any) -> dict[str, str]:
    """Return what an open safetensors file calls the weights of a text tower, by open_clip's own names; none, if none.

    Parameters
    ----------
    file
        Of `safetensors.safe_open`.
    """
    names = {name.removeprefix("module."): name for name in file.keys()}  # noqa: SIM118
    prefix = "text." if f"text.{_WORDS}" in names else ""
    if prefix + _WORDS not in names:
        return {}
    here = {name.removeprefix(prefix): there for name, there in names.items() if name.startswith(prefix)}
    return {name: there for name, there in here.items() if name.startswith(_TEXT)}


def name_of(tower: Tower, path: Path) -> str:
    """Return what open_clip calls the model in a file: the one with as many words and places.

    Raises
    ------
    UserError
        If it is none that the tower may be.
    """
    import open_clip

    with safe_open(path, framework="numpy") as file:
        names = text_names(file)
        words, places = (file.get_slice(names[name]).get_shape()[0] if name in names else 0 for name in _COUNTED)
    for name in tower.configs:
        told = open_clip.get_model_config(name)["text_cfg"]
        if (told["vocab_size"], told["context_length"]) == (words, places):
            return name
    raise UserError(
        f"The text tower in {path} has {words} words and {places} places, which is none of open_clip's "
        f"{', '.join(tower.configs)}; give the file that belongs to the backbone."
    )


def _repos(tower: Tower) -> list[str]:
    """Return where open_clip has weights of that tag, in its order of names."""
    import open_clip

    told = [open_clip.get_pretrained_cfg(name, tower.tag.removeprefix("v2_")) for name in tower.configs]
    return [each["hf_hub"].rstrip("/") for each in told if each and each.get("hf_hub")]


def _has_texts(path: Path) -> bool:
    with safe_open(path, framework="numpy") as file:
        return bool(text_names(file))


def _check_same(images: Path, texts: Path) -> None:
    """Raise a `UserError` if the image towers in two files are not of one training."""
    for names in _SAME:
        ours, theirs = (_first(path, names) for path in (images, texts))
        if (
            ours is None
            or theirs is None
            or ours.shape != theirs.shape
            or bool((ours - theirs).abs().max() > _ROUNDING)
        ):
            raise UserError(
                f"The image tower in {texts} isn't the one in {images} that the base's images were embedded with, so "
                "its texts are of another space; give one file of both towers as backbone.checkpoint."
            )


def _apart(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


def _first(path: Path, names: Sequence[str]) -> Tensor | None:
    with safe_open(path, framework="pt") as file:
        there = set(file.keys())
        return next((file.get_tensor(name).float() for name in names if name in there), None)
