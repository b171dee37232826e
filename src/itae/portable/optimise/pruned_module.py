"""The module of a pruned U-Net: convolutions of other widths in the places of those that it had.

Only what builds a network imports this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.utils import skip_init

from itae.base.errors import UserError

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def widths_of(module: nn.Module) -> dict[str, list[int]]:
    """Return channels in and out of each convolution of a module, by name."""
    named = module.named_modules()
    return {name: [each.in_channels, each.out_channels] for name, each in named if isinstance(each, CONVOLUTIONS)}


def narrow(module: nn.Module, widths: Mapping[str, Sequence[int]], multiple: int) -> None:
    """Give the convolutions of a U-Net's module, and the slopes behind them, other widths, in place.

    Weights are the first channels of those that it had, repeated where there are fewer.

    Raises
    ------
    UserError
        When a convolution isn't in `widths`, one there isn't in the module, or a picture can't pass through.
    """
    named = dict(module.named_modules())
    wanted = {name for name, each in named.items() if isinstance(each, CONVOLUTIONS)}
    for name in sorted(wanted ^ widths.keys()):
        has = "lacks the convolution" if name in wanted else "names a convolution that this net hasn't:"
        raise UserError(f"net.widths {has} {name}; set the options of net that were pruned.")
    before = 0
    for name, each in named.items():
        if isinstance(each, CONVOLUTIONS):
            c, before = widths[name]
            _put(module, name, _convolution(each, c, before))
        elif isinstance(each, nn.PReLU):  # stands behind the convolution that it belongs to
            slopes = skip_init(nn.PReLU, before)
            slopes.weight.data.copy_(_cut(each.weight.data, 0, before))
            _put(module, name, slopes)
    try:
        with torch.no_grad():
            module(torch.zeros(1, 3, multiple, multiple))
    except RuntimeError as error:
        raise UserError(
            f"net.widths don't fit together ({str(error).splitlines()[0]}); take them as pruning wrote them."
        ) from error


def _convolution(old: Any, c: int, d: int) -> nn.Module:
    groups = d if old.groups > 1 else 1
    if c % groups:
        raise UserError(f"net.widths={[c, d]}: a convolution of each channel alone has as many out as in.")
    options = {"stride": old.stride, "padding": old.padding, "groups": groups}
    new: Any = skip_init(type(old), c, d, old.kernel_size, **options)
    of_out, of_in = (1, 0) if old.transposed else (0, 1)
    cut = _cut(old.weight.data, of_out, d)
    new.weight.data.copy_(_cut(cut, of_in, c // groups))
    new.bias.data.copy_(_cut(old.bias.data, 0, d))
    return new


def _cut(tensor: torch.Tensor, axis: int, count: int) -> torch.Tensor:
    return tensor.index_select(axis, torch.arange(count) % tensor.shape[axis])


def _put(module: nn.Module, name: str, new: nn.Module) -> None:
    above, _, own = name.rpartition(".")
    setattr(module.get_submodule(above), own, new)
