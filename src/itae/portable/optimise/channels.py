"""Which channels a pruned U-Net keeps, by the library torch-pruning. Only what prunes imports this.

The library follows channels through convolutions, sums and concatenations, but not through a shuffle of pixels. So it
is given a stand-in that computes the same without: a 1x1 convolution before or after a shuffle of 2x2 is a 2x2
convolution of stride 2, transposed on the way up; and the shuffles at both ends of the net belong to the pictures.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.utils import skip_init

from itae.portable.devices.quiet import quiet
from itae.portable.nets.spec import Spec
from itae.portable.optimise.pruned_module import widths_of

STEPS = 100
"""In which the library lowers the channels; after each one MACs are counted."""
_MOST = 0.95
"""Share of a layer's channels that may go."""


def pruned(
    module: nn.Module,
    spec: Spec,
    importance: str,
    round_to: int,
    enough: Callable[[dict[str, list[int]]], bool],
) -> tuple[dict[str, torch.Tensor], dict[str, list[int]]] | None:
    """Return weights and widths of a U-Net's module with the least channels gone that are enough.

    Parameters
    ----------
    module
        Of `spec`, maybe narrower; it is left as it is.
    importance
        ``group_norm`` or ``magnitude``: see `Prune`.
    round_to
        Channels of a layer stay a multiple of this.
    enough
        Told the widths, whether so many are gone that it may end.

    Returns
    -------
    tuple
        None if the least net that can be had isn't enough.
    """
    import torch_pruning as tp

    net = _stand_in(module, spec)
    measure = {"group_norm": tp.importance.GroupMagnitudeImportance, "magnitude": tp.importance.MagnitudeImportance}
    with quiet():
        pruner = tp.BasePruner(
            *(net, torch.zeros(1, 3 * spec.unshuffle**2, 2 << spec.depth, 2 << spec.depth)),
            importance=measure[importance](p=2),
            global_pruning=True,
            pruning_ratio=_MOST,
            max_pruning_ratio=_MOST,
            iterative_steps=STEPS,
            ignored_layers=[net.tail],
            round_to=round_to,
        )
        for _ in range(STEPS):
            if enough(_widths(net, spec)):
                return _back(net, module, spec), _widths(net, spec)
            pruner.step()
    return (_back(net, module, spec), _widths(net, spec)) if enough(_widths(net, spec)) else None


def _stand_in(module: nn.Module, spec: Spec) -> Any:
    net: Any = copy.deepcopy(module)
    net.shuffle = net.unshuffle = nn.Identity()
    for place, inner in enumerate(net.downs):
        if spec.down == "space_to_depth":
            one = inner[1]
            conv: Any = skip_init(nn.Conv2d, one.in_channels // 4, one.out_channels, 2, stride=2)
            conv.weight.data.copy_(one.weight.data.view(conv.weight.shape))
            conv.bias.data.copy_(one.bias.data)
            net.downs[place] = conv
    for place, inner in enumerate(net.ups):
        if spec.up == "pixel_shuffle":
            one, d = inner[0], inner[0].out_channels // 4
            up: Any = skip_init(nn.ConvTranspose2d, one.in_channels, d, 2, stride=2)
            up.weight.data.copy_(one.weight.data.view(d, 2, 2, -1).permute(3, 0, 1, 2))
            up.bias.data.copy_(torch.arange(d))  # which channel each was: it has four biases
            net.ups[place] = up
    return net


def _back(net: Any, module: Any, spec: Spec) -> dict[str, torch.Tensor]:
    """Return the weights of a stand-in, as the module that it stands for names them."""
    weights = {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}
    for place in range(spec.depth):
        if spec.down == "space_to_depth":
            weight = weights.pop(f"downs.{place}.weight")
            weights[f"downs.{place}.1.weight"] = weight.flatten(1)[..., None, None]
            weights[f"downs.{place}.1.bias"] = weights.pop(f"downs.{place}.bias")
        if spec.up == "pixel_shuffle":
            weight, left = weights.pop(f"ups.{place}.weight"), weights.pop(f"ups.{place}.bias").long()
            weights[f"ups.{place}.0.weight"] = weight.permute(1, 2, 3, 0).flatten(0, 2)[..., None, None]
            weights[f"ups.{place}.0.bias"] = module.ups[place][0].bias.data.view(-1, 4)[left].flatten()
    return weights


def _widths(net: nn.Module, spec: Spec) -> dict[str, list[int]]:
    widths = widths_of(net)
    for place in range(spec.depth):
        if spec.down == "space_to_depth":
            c, d = widths.pop(f"downs.{place}")
            widths[f"downs.{place}.1"] = [4 * c, d]
        if spec.up == "pixel_shuffle":
            c, d = widths.pop(f"ups.{place}")
            widths[f"ups.{place}.0"] = [c, 4 * d]
    return widths
