"""A file of weights held against a model: what its embeddings need has to be there and to be numbers.

No head matters, but for CLIP's projection where that is the embedding.

timm loads a file whose names and shapes are the model's to the last classifier. A fine-tuned one has a classifier of
its own, or none; one that a training wrapper saved has a word before each name.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from itae.base.errors import UserError

log = logging.getLogger(__name__)

HEADS = ("head", "head_dist", "classifier", "fc")
"""What classifiers are called; an embedding is what goes into one."""
POOLING = ("attn_pool", "fc_norm")
"""What comes between the final norm and the classifier, which ``pool=head`` alone reads."""
_PROJECTIONS = {"visual.proj": 1, "visual.head.proj.weight": 0, "head.weight": 0}
"""What files call a projection into a joint space, and the axis that is as long as the space is wide.

In turn: OpenAI's and open_clip's, open_clip's with an image tower of timm's, and timm's own.
"""
_STEM = "patch_embed.proj.weight"
_WRAPPERS = ("module.", "_orig_mod.")  # of torch, for several devices and for its compiler


def unused(model: nn.Module, pool: str) -> tuple[str, ...]:
    """Return the parts of a timm model, by their names, on which no embedding depends."""
    if pool == "projection":
        return ()
    told: Any = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    classifiers = (told,) if isinstance(told, str) else tuple(told)
    return (*classifiers, *HEADS, *(() if pool == "head" else POOLING))


def fitted(path: Path, model: nn.Module, pool: str) -> dict[str, Tensor]:
    """Return the weights of a file under the model's own names, with zeros where nothing depends on what they are.

    Parameters
    ----------
    path
        A safetensors file.
    model
        Without its weights.
    pool
        The embedding: what it doesn't read need not be in the file.

    Raises
    ------
    UserError
        If it has other weights than the model; it says which.
    """
    parts, target = unused(model, pool), model.state_dict()
    found = _bare(load_file(path))
    if pool == "projection" and "head.weight" in found:  # a projection has no bias, and timm's layer has one
        found.setdefault("head.bias", torch.zeros(len(found["head.weight"])))
    state = {name: tensor for name, tensor in found.items() if not _under(name, parts)}
    if why := _difference(state, {name: tensor for name, tensor in target.items() if not _under(name, parts)}):
        raise UserError(why)
    for name in (name for name in target if _under(name, parts)):
        there = found.get(name)
        fits = there is not None and there.shape == target[name].shape
        state[name] = there if there is not None and fits else torch.zeros(target[name].shape)
    return state


def projection_width(path: Path) -> int:
    """Return the width of the joint space into which a safetensors file projects images.

    Raises
    ------
    UserError
        If it has no projection.
    """
    with safe_open(path, framework="numpy") as file:
        shapes = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    for name, axis in _PROJECTIONS.items():
        if (place := _place(name, shapes)) is not None and len(shapes[place]) == 2:
            return int(shapes[place][axis])
    raise UserError(
        f"The weights in {path} have no projection into a space of images and texts (visual.proj, or head.weight in "
        "timm's files), which backbone.pool=projection embeds in; use backbone.pool=cls, mean or head, or a file of "
        "CLIP's."
    )


def check_projection(model: nn.Module, path: Path, architecture: str) -> None:
    """Raise a `UserError` if the head that a model has from a file is a classifier.

    CLIP's projection has no bias, and a classifier that was trained has one. EVA's CLIPs alone have one, too.
    """
    bias: Any = getattr(model.head, "bias", None)
    if bias is None or not bool(bias.any()) or re.match(r"eva.*_clip_", architecture):
        return
    raise UserError(
        f"The head of the weights in {path} is a classifier of {len(bias)} classes and no projection into a space of "
        "images and texts; use backbone.pool=cls, mean or head, or a file of CLIP's."
    )


def check_weights(model: nn.Module, path: Path, pool: str) -> None:
    """Raise a `UserError` unless the numbers that a model has from a file are numbers, and not all zero.

    A weight that no file wrote is NaN here: see `itae.vit.blank.blank`. What nothing depends on is set to 0 then.
    """
    parts, state, empty = unused(model, pool), model.state_dict(), []
    with safe_open(path, framework="numpy") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        shapes = {name: list(one.get_shape()) for name, one in slices.items()}
        types = {name: one.get_dtype() for name, one in slices.items()}
    numbers = {name: tensor for name, tensor in state.items() if tensor.is_floating_point() and not _under(name, parts)}
    for name, tensor in numbers.items():
        total = float(tensor.sum())  # finite, and not 0, of nearly all that are as they should be: one pass over them
        if not math.isfinite(total) and not bool(tensor.isfinite().all()):
            what = "NaN" if bool(tensor.isnan().any()) else "infinite numbers"
            raise UserError(_spoilt(path, f"{name} {f'holds {what}' if _place(name, shapes) else 'is not in it'}"))
        if not types.get(_place(name, shapes) or "", "F").startswith(("F", "BF")):  # F32, BF16, ...
            raise UserError(_spoilt(path, f"{name} holds whole numbers, as a quantised model does"))
        if total == 0 and tensor.ndim > 1 and name.endswith("weight") and not bool(tensor.any()):
            empty.append(name)
    for tensor in (tensor for name, tensor in state.items() if tensor.is_floating_point() and name not in numbers):
        tensor.nan_to_num_(0, 0, 0)
    if _STEM in empty:
        raise UserError(_spoilt(path, f"{_STEM} holds nothing but zeros, so all images would be one"))
    if empty:
        log.warning("%s holds nothing but zeros in %s, and %d such weights are there in all; is the file whole?",
                    empty[0], path, len(empty))  # fmt: skip
    here = list(state[_STEM].shape) if _STEM in state else []
    there = shapes.get(_place(_STEM, shapes) or "", [])
    if len(there) == len(here) == 4 and there[2:] != here[2:]:  # timm resamples it
        log.warning("%s was saved with patches of %d pixels, and is resampled to the model's %d: is it the right one?",
                    path, there[-1], here[-1])  # fmt: skip


def _place(name: str, names: Mapping[str, Any]) -> str | None:
    """Return what a file calls a weight of the model, which may have a wrapper's word before it."""
    return name if name in names else next((each for each in names if each.endswith(f".{name}")), None)


def _spoilt(path: Path, why: str) -> str:
    return f"The weights in {path} can't be used: {why}; give another backbone.checkpoint, or fetch or save it again."


def _under(name: str, parts: Iterable[str]) -> bool:
    return any(name == part or name.startswith(f"{part}.") for part in parts)


def _bare(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state without what wrappers put before its names: those of torch, and any that a model is kept under.

    Of what does not lie under that name, such as a loss's weights, nothing is taken.
    """
    while wrapper := next((each for each in _WRAPPERS if state and all(name.startswith(each) for name in state)), None):
        state = {name.removeprefix(wrapper): tensor for name, tensor in state.items()}
    prefixes = {name.removesuffix(_STEM) for name in state if name.endswith(f".{_STEM}")}
    if len(prefixes) != 1 or _STEM in state:
        return dict(state)
    (prefix,) = prefixes
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def _difference(state: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> str:
    """Say what tells a file from a model; nothing if it is what timm makes equal, as positions of another size."""
    if not state.keys() & target.keys():
        return f"none of its names is the model's, its first is {min(state, default='none at all')}"
    there, here = _depth(state), _depth(target)
    if there != here:
        return f"it has {there} blocks and the model {here}"
    for name in sorted(state.keys() & target.keys(), key=lambda name: (name != _STEM, name)):
        a, b = list(state[name].shape), list(target[name].shape)
        if (a[:1] if name == _STEM else a) != (b[:1] if name == _STEM else b) and name != "pos_embed":
            return f"{name} is {a} there and {b} in the model"
    for told, names in (
        ("it lacks", target.keys() - state.keys()),
        ("the model lacks", state.keys() - target.keys()),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            return f"{told} {min(names)}{more}"
    return ""


def _depth(state: Mapping[str, Tensor]) -> int:
    return len({found[1] for name in state if (found := re.match(r"blocks\.(\d+)\.", name))})
