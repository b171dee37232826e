"""Weights of a U-Net carried over to one with other operators, where shapes and meaning fit.

On the way up every operator is a 4x4 transposed convolution of stride 2 in part, on the way down a 3x3 convolution of
stride 2; each is written as one and read as another. What that can't say exactly is folded, so that a constant picture
passes as it did. Only what swaps imports this.

Letters: c channels that come in, d that go out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch.nn import functional

from itae.portable.nets.spec import Spec

Weights = dict[str, torch.Tensor]
_LINEAR = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 4  # by which 2x bilinear interpolation writes a value, inside


def carried(weights: Mapping[str, torch.Tensor], old: Spec, new: Spec) -> Weights:
    """Return those weights of a net of spec `old` that one of spec `new` can begin with, under its names.

    Specs differ in up, skip, down, activation, kernel and conv alone. Widths are those of the weights, which may be
    pruned. Slopes of PReLU are not carried to another activation, nor blocks to another kind of convolution.
    """
    slopes = {name: tensor for name, tensor in weights.items() if tensor.dim() == 1 and name.endswith(".weight")}
    out = {name: tensor for name, tensor in weights.items() if name not in slopes}
    for place in range(old.depth):
        if old.up != new.up:
            _moved(out, f"ups.{place}", _UP[old.up], _UP[new.up], _read_up(old.up), _written_up(new.up))
        if old.down != new.down:
            names = _DOWN[old.down], _DOWN[new.down]
            _moved(out, f"downs.{place}", *names, _read_down(old.down), _written_down(new.down))
    if old.conv != new.conv:
        out = {name: tensor for name, tensor in out.items() if not name.startswith(_BLOCKS)}
    else:
        if old.skip != new.skip:
            _other_skip(out, old, new)
        if old.kernel != new.kernel:
            _other_kernel(out, old, new.kernel)
    return out | (slopes if old.activation == new.activation and old.conv == new.conv else {})


_BLOCKS = ("encoders.", "bottom.", "decoders.")
_UP = {"transposed": "", "transposed4": "", "bilinear": ".0", "nearest": ".0", "pixel_shuffle": ".0"}
_DOWN = {"stride": "", "max_pool": ".1", "space_to_depth": ".1"}
_Pair = tuple[torch.Tensor, torch.Tensor]


def _moved(
    out: Weights, part: str, was: str, becomes: str, read: Callable[..., _Pair], write: Callable[..., _Pair]
) -> None:
    pair = read(out.pop(f"{part}{was}.weight"), out.pop(f"{part}{was}.bias"))
    out[f"{part}{becomes}.weight"], out[f"{part}{becomes}.bias"] = write(*pair)


def _read_up(kind: str) -> Callable[..., _Pair]:
    """Return what makes of its weight and bias a kernel [c, d, 4, 4] and biases [d, 2, 2]."""

    def read(weight: torch.Tensor, bias: torch.Tensor) -> _Pair:
        if kind == "pixel_shuffle":
            d = len(bias) // 4
            return functional.pad(weight.view(d, 2, 2, -1).permute(3, 0, 1, 2), (1, 1, 1, 1)), bias.view(d, 2, 2)
        biases = bias[:, None, None].expand(-1, 2, 2)
        if kind == "transposed4":
            return weight, biases
        if kind == "transposed":
            return functional.pad(weight, (1, 1, 1, 1)), biases
        flat = weight[..., 0, 0].T[..., None, None]
        if kind == "bilinear":
            return flat * torch.outer(_LINEAR, _LINEAR), biases
        return functional.pad(flat.expand(-1, -1, 2, 2), (1, 1, 1, 1)), biases

    return read


def _written_up(kind: str) -> Callable[..., _Pair]:
    """Return what makes of such a kernel and biases the weight and bias of an operator."""

    def write(kernel: torch.Tensor, biases: torch.Tensor) -> _Pair:
        bias = biases.mean((1, 2))
        if kind == "transposed4":
            return kernel, bias
        rows = kernel[:, :, 1:3] + kernel[:, :, [3, 0]]  # taps of one place's neighbours are given to itself
        inner = rows[..., 1:3] + rows[..., [3, 0]]
        if kind == "transposed":
            return inner, bias
        if kind == "pixel_shuffle":
            return inner.permute(1, 2, 3, 0).flatten(0, 2)[..., None, None], biases.flatten()
        return inner.mean((2, 3)).T[..., None, None], bias

    return write


def _read_down(kind: str) -> Callable[..., _Pair]:
    """Return what makes of its weight and bias a kernel [d, c, 3, 3], and its bias."""

    def read(weight: torch.Tensor, bias: torch.Tensor) -> _Pair:
        if kind == "stride":
            return weight, bias
        if kind == "max_pool":  # as if it were the mean
            return functional.pad(weight.expand(-1, -1, 2, 2) / 4, (1, 0, 1, 0)), bias
        return functional.pad(weight.view(len(bias), -1, 2, 2), (1, 0, 1, 0)), bias

    return read


def _written_down(kind: str) -> Callable[..., _Pair]:
    def write(kernel: torch.Tensor, bias: torch.Tensor) -> _Pair:
        if kind == "stride":
            return kernel, bias
        if kind == "max_pool":
            return kernel.sum((2, 3), keepdim=True), bias
        rows = torch.stack((kernel[:, :, 0] + kernel[:, :, 1], kernel[:, :, 2]), 2)
        four = torch.stack((rows[..., 0] + rows[..., 1], rows[..., 2]), 3)
        return four.flatten(1)[..., None, None], bias

    return write


def _other_skip(out: Weights, old: Spec, new: Spec) -> None:
    """Have each first block on the way up take what went down and what comes up, in this order, in another way."""
    if "concat" not in (old.skip, new.skip):
        return
    if old.conv != "dense":  # its first block has other channels all through
        for name in [name for name in out if name.startswith("decoders.") and name.split(".")[2] == "0"]:
            del out[name]
        return
    for place in range(old.depth):
        name = f"decoders.{place}.0.0.weight"
        weight = out[name]
        here = len(out[f"encoders.{old.depth - 1 - place}.{old.blocks - 1}.0.bias"])
        if old.skip == "concat":
            beside, up = weight[:, :here], weight[:, here:]
            out[name] = up if new.skip == "none" or beside.shape != up.shape else (beside + up) / 2
        else:
            beside = weight if old.skip == "add" else weight.new_zeros(len(weight), here, *weight.shape[2:])
            out[name] = torch.cat((beside, weight), 1)


def _other_kernel(out: Weights, old: Spec, kernel: int) -> None:
    """Have the kernels of blocks be cut, or held in larger ones that do the same."""
    far = (kernel - old.kernel) // 2
    for name, weight in out.items():
        if name.startswith(_BLOCKS) and weight.dim() == 4 and weight.shape[-1] == old.kernel:
            out[name] = functional.pad(weight, (far, far, far, far))
