"""Convolutions that round as the runtimes do in eight bits, and let gradients through. Only what builds imports this.

As ONNX Runtime and NNCF by default: what comes in unsigned with a range a tensor, weights signed and symmetric with a
range an output channel. Rounding lets a gradient through as it is, and stops it outside the range (straight-through
estimator: Bengio et al. 2013, arXiv 1308.3432; Jacob et al. 2018, arXiv 1712.05877).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

_LEAST = 1e-8  # of a scale: a tensor may be all 0


class _Fake:
    """What both kinds of convolutions have; class and forward are all that is another, so weights keep their names."""

    low: float
    high: float
    weight: torch.Tensor

    def _given(self, x: torch.Tensor) -> torch.Tensor:
        scale = max((self.high - self.low) / 255, _LEAST)
        return torch.fake_quantize_per_tensor_affine(x.float(), scale, round(-self.low / scale), 0, 255)

    def _weights(self, axis: int) -> torch.Tensor:
        others = [each for each in range(4) if each != axis]
        scale_C = (self.weight.detach().abs().amax(others) / 127).clamp(min=_LEAST)
        zero_C = torch.zeros_like(scale_C, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(self.weight, scale_C, zero_C, axis, -127, 127)


class FakeConv2d(_Fake, nn.Conv2d):
    """A convolution."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return its output of what was rounded."""
        how: Any = self.stride, self.padding, self.dilation, self.groups
        return functional.conv2d(self._given(x), self._weights(0), self.bias, *how)


class FakeConvTranspose2d(_Fake, nn.ConvTranspose2d):
    """A transposed convolution, of one group."""

    def forward(self, x: torch.Tensor, output_size: Any = None) -> torch.Tensor:
        """Return its output of what was rounded."""
        convolve: Any = functional.conv_transpose2d
        how = self.stride, self.padding, self.output_padding
        return convolve(self._given(x), self._weights(1), self.bias, *how)


_FAKES: dict[type[nn.Module], type[nn.Module]] = {nn.Conv2d: FakeConv2d, nn.ConvTranspose2d: FakeConvTranspose2d}


def quantise(module: nn.Module, calibration: Sequence[np.ndarray]) -> nn.Module:
    """Have the convolutions of a module round, in place, by ranges that the pictures, float32 [1, 3, H, W], make."""
    layers: list[Any] = [each for each in module.modules() if type(each) in _FAKES]
    for layer in layers:
        layer.low = layer.high = 0.0  # 0 is always one of the values

    def widen(layer: Any, given: tuple[torch.Tensor, ...]) -> None:
        layer.low, layer.high = min(layer.low, float(given[0].min())), max(layer.high, float(given[0].max()))

    hooks = [layer.register_forward_pre_hook(widen) for layer in layers]
    with torch.no_grad():
        for picture in calibration:
            module(torch.from_numpy(picture))
    for hook in hooks:
        hook.remove()
    for layer in layers:
        layer.__class__ = _FAKES[type(layer)]
    return module
