"""Random weights by which a signal neither dies nor grows on its way through a network.

What runs on a device can only be held against torch where the output depends on the input: on a network whose output is
almost constant, a broken conversion looks right. Only what built modules import.

Shapes: B pictures, C channels, H and W height and width of what a layer says.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional

SHIFT = 0.1
"""Standard deviation of the biases over that of a layer's outputs, so that a lost bias is seen."""
_COARSE = 6
"""Values a side of the smooth pictures; between them they are interpolated."""


def probe(side: int, generator: torch.Generator) -> torch.Tensor:
    """Return four pictures in 0..1, float64 [4, 3, side, side]: two of noise, two as smooth as what is blurred."""
    noise = torch.rand(2, 3, side, side, generator=generator, dtype=torch.float64)
    coarse = torch.rand(2, 3, _COARSE, _COARSE, generator=generator, dtype=torch.float64)
    smooth = functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)
    return torch.cat((noise, smooth))


def draw(net: nn.Module, side: int, generator: torch.Generator, gains: Mapping[nn.Module, float]) -> None:
    """Draw the weights and biases of all convolutions of a network, layer by layer as pictures pass through it.

    Weights are normal; then those of each output channel are divided by its standard deviation over the pictures of
    `probe`, and its bias takes its mean away, which would drown what differs (Krähenbühl et al. 2016, arXiv 1511.06856;
    Mishkin, Matas 2016, arXiv 1511.06422). Formulas of moments hold on average, and not for a network of four channels.
    All is computed in float64, so that machines draw the same float32.

    Parameters
    ----------
    net
        Takes pictures [B, 3, side, side]; its convolutions have biases. It is changed in place.
    side
        Height and width of the pictures to look at.
    generator
        Of everything that is drawn.
    gains
        Standard deviation of the output of a layer; 1 for those that aren't in it.
    """
    convolutions = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]

    def scaled(layer: nn.Conv2d | nn.ConvTranspose2d, _: object, said: torch.Tensor) -> torch.Tensor:
        """Have a layer say what it said [B, C, H, W] at its standard deviation, about 0 but for its bias."""
        assert layer.bias is not None
        gain = gains.get(layer, 1.0)
        bias_C = SHIFT * gain * torch.randn(layer.bias.shape, generator=generator)
        scale_C = gain / said.std((0, 2, 3)).clamp(min=torch.finfo(torch.float32).tiny)
        mean_C = said.mean((0, 2, 3))
        layer.weight *= (scale_C if layer.transposed else scale_C[:, None])[..., None, None]
        layer.bias.copy_(bias_C - mean_C * scale_C)
        return (said - mean_C[:, None, None]) * scale_C[:, None, None] + bias_C[:, None, None]

    with torch.no_grad():
        for layer in convolutions:
            for parameter in layer.parameters():
                parameter.zero_()
            layer.weight.normal_(generator=generator)
        hooks = [layer.register_forward_hook(scaled) for layer in convolutions]
        net.double()(probe(side, generator))
        for hook in hooks:
            hook.remove()
        net.float()
