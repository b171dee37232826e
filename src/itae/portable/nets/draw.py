"""Random weights by which a signal neither dies nor grows on its way through a network.

What runs on a device can only be held against torch where the output depends on the input: on a network whose output is
almost constant, a broken conversion looks right. Only what built modules import.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn


class Signal(NamedTuple):
    """Mean and variance of the values that a layer reads, over channels and places."""

    mean: float
    variance: float

    def plus(self, other: Signal) -> Signal:
        """Return the signal of the sum of two that have nothing to do with each other."""
        return Signal(self.mean + other.mean, self.variance + other.variance)

    def beside(self, other: Signal) -> Signal:
        """Return the signal of as many channels of the one as of the other."""
        mean = (self.mean + other.mean) / 2
        return Signal(mean, (self.variance + other.variance) / 2 + ((self.mean - other.mean) / 2) ** 2)


PIXELS = Signal(0.5, 0.25**2)
"""Of pictures in 0..1, about."""
FEW = 4
"""Channels; an output that reads fewer keeps its weights as they are drawn."""
PLAIN = Signal(0.0, 1.0)
"""What comes out of a layer that `drawn` drew."""
ACTIVATED = {
    "relu": Signal(0.3989, 0.3408),
    "prelu": Signal(0.2992, 0.4417),
    "leaky_relu": Signal(0.3192, 0.4181),
    "silu": Signal(0.2066, 0.3131),
    "gelu": Signal(0.2821, 0.3456),
    "hardswish": Signal(0.1662, 0.3039),
}
"""Of each activation of values that are normal with mean 0 and variance 1, by integration."""


def drawn(layer: nn.Module, reads: Signal, generator: torch.Generator, gain: float = 1.0) -> nn.Module:
    """Draw a convolution's weights and biases; its output has variance gain^2, about, and mean 0.

    Weights are normal with variance gain^2 / (fan-in * variance of what is read). What is read has a mean that says
    nothing and, layer by layer, drowns what does; the weights of each output add up to 0, so that it falls out, as in
    networks without normalisation (Brock, De, Smith 2021, arXiv 2101.08692). Where an output reads few channels, or
    pixels, that would leave edges alone, and the bias takes the mean away. Biases are a tenth of the output's standard
    deviation, drawn, so that a lost one is seen.
    """
    assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
    assert layer.bias is not None
    transposed = isinstance(layer, nn.ConvTranspose2d)
    inputs = (0, 2, 3) if transposed else (1, 2, 3)  # the axes of a weight that are added up
    # Each place of a transposed one's output is reached by kernel / stride taps in each direction.
    taps = layer.kernel_size[0] * layer.kernel_size[1] // (layer.stride[0] * layer.stride[1] if transposed else 1)
    channels = layer.in_channels // layer.groups
    weight = torch.randn(layer.weight.shape, generator=generator) * (gain / (channels * taps * reads.variance) ** 0.5)
    bias = torch.randn(layer.bias.shape, generator=generator) * (0.1 * gain)
    if channels < FEW or reads is PIXELS:
        reached = weight.sum(inputs) * (taps / (layer.kernel_size[0] * layer.kernel_size[1]))
        bias -= reads.mean * reached
    else:
        weight -= weight.mean(inputs, keepdim=True)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    return layer
