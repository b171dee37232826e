"""The U-Net of a spec as a torch module, its weights drawn. Only what builds a network imports this.

Every operator is a module of torch.nn, none is in place, and nothing asks for a size: what converts modules can follow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.utils import skip_init

from itae.portable.nets.draw import draw
from itae.portable.nets.spec import Spec

CORRECTION = 0.02
"""Standard deviation of what the last convolution says, about, of pictures in 0..1.

That of what a blur of 34 dB takes away. In the networks of the study bfloat16 keeps 22 to 34 dB of it, and so more
than 50 of the picture.
"""
SIDE = 8
"""Places a side at the bottom, of the pictures by which weights are drawn."""
_ACTIVATIONS: dict[str, Callable[[int], nn.Module]] = {
    "relu": lambda channels: nn.ReLU(),
    "prelu": nn.PReLU,
    "leaky_relu": lambda channels: nn.LeakyReLU(0.2),
    "silu": lambda channels: nn.SiLU(),
    "gelu": lambda channels: nn.GELU(),
    "hardswish": lambda channels: nn.Hardswish(),
}


class UNetModule(nn.Module):
    """A U-Net: sharp picture = module(blurred picture), both [B, 3, H, W], H and W multiples of `spec.multiple`.

    Its weights are drawn from a seed; without one they are whatever the memory held, for who has others to put there.
    """

    def __init__(self, spec: Spec, seed: int | None) -> None:
        super().__init__()
        made = _Maker(spec)
        colours, c = 3 * spec.unshuffle**2, spec.channels
        self.skip, self.residual = spec.skip, spec.residual
        self.unshuffle = nn.PixelUnshuffle(spec.unshuffle) if spec.unshuffle > 1 else nn.Identity()
        self.head = nn.Sequential(made.conv(colours, c, 3), made.activation(c))
        self.encoders, self.downs, self.ups, self.decoders = (nn.ModuleList() for _ in range(4))
        for scale in range(spec.depth):
            here = c << scale
            self.encoders.append(made.blocks(here, here))
            self.downs.append(made.down(here, 2 * here))
        self.bottom = made.blocks(c << spec.depth, c << spec.depth)
        for scale in reversed(range(spec.depth)):
            here = c << scale
            self.ups.append(made.up(2 * here, here))
            self.decoders.append(made.blocks(2 * here if spec.skip == "concat" else here, here))
        self.tail = made.conv(c, colours, 3)
        self.shuffle = nn.PixelShuffle(spec.unshuffle) if spec.unshuffle > 1 else nn.Identity()
        if seed is not None:
            draw(self, SIDE * spec.multiple, torch.Generator().manual_seed(seed), {self.tail: CORRECTION})

    def forward(self, blurred: torch.Tensor) -> torch.Tensor:
        """Return the sharp picture."""
        x = self.head(self.unshuffle(blurred))
        skipped = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            x = encoder(x)
            skipped.append(x)
            x = down(x)
        x = self.bottom(x)
        for up, decoder, beside in zip(self.ups, self.decoders, reversed(skipped), strict=True):
            x = up(x)
            if self.skip == "concat":
                x = torch.cat((beside, x), 1)
            elif self.skip == "add":
                x = beside + x
            x = decoder(x)
        x = self.shuffle(self.tail(x))
        return blurred + x if self.residual else x


class Inverted(nn.Module):
    """A bottleneck turned inside out: wide between, narrow at both ends, its input added where that can be."""

    def __init__(self, inside: nn.Sequential, adds: bool) -> None:
        super().__init__()
        self.inside, self.adds = inside, adds

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's output."""
        return x + self.inside(x) if self.adds else self.inside(x)


class _Maker:
    """Makes the parts of a U-Net; torch's own generator is left alone."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec

    def conv(self, c: int, d: int, kernel: int, **options: Any) -> nn.Module:
        return skip_init(nn.Conv2d, c, d, kernel, padding=kernel // 2, **options)

    def activation(self, channels: int) -> nn.Module:
        return _ACTIVATIONS[self.spec.activation](channels)

    def blocks(self, c: int, d: int) -> nn.Sequential:
        """Return the blocks of one scale, from `c` channels to `d`."""
        return nn.Sequential(self.block(c, d), *(self.block(d, d) for _ in range(self.spec.blocks - 1)))

    def block(self, c: int, d: int) -> nn.Module:
        kernel = self.spec.kernel
        if self.spec.conv == "dense":
            return nn.Sequential(self.conv(c, d, kernel), self.activation(d))
        if self.spec.conv == "depthwise":
            return nn.Sequential(self.conv(c, c, kernel, groups=c), self.conv(c, d, 1), self.activation(d))
        e = self.spec.expansion * c
        inside = nn.Sequential(
            self.conv(c, e, 1), self.activation(e),
            self.conv(e, e, kernel, groups=e), self.activation(e),
            self.conv(e, d, 1),
        )  # fmt: skip
        return Inverted(inside, c == d)

    def down(self, c: int, d: int) -> nn.Module:
        if self.spec.down == "stride":
            return self.conv(c, d, 3, stride=2)
        if self.spec.down == "max_pool":
            return nn.Sequential(nn.MaxPool2d(2), self.conv(c, d, 1))
        return nn.Sequential(nn.PixelUnshuffle(2), self.conv(4 * c, d, 1))

    def up(self, c: int, d: int) -> nn.Module:
        if self.spec.up in ("transposed", "transposed4"):
            kernel = 4 if self.spec.up == "transposed4" else 2
            return skip_init(nn.ConvTranspose2d, c, d, kernel, stride=2, padding=kernel // 2 - 1)
        if self.spec.up == "pixel_shuffle":
            return nn.Sequential(self.conv(c, 4 * d, 1), nn.PixelShuffle(2))
        corners = False if self.spec.up == "bilinear" else None
        return nn.Sequential(
            self.conv(c, d, 1), nn.Upsample(scale_factor=2.0, mode=self.spec.up, align_corners=corners)
        )
