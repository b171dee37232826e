"""The U-Net of a spec as a torch module, its weights drawn. Only what builds a network imports this.

Every operator is a module of torch.nn, none is in place, and nothing asks for a size: what converts modules can follow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.utils import skip_init

from itae.portable.nets.draw import ACTIVATED, PIXELS, PLAIN, Signal, drawn
from itae.portable.nets.spec import Spec

CORRECTION = 0.02
"""Standard deviation of what the last convolution says, about, of pictures in 0..1.

That of what a blur of 34 dB takes away. In the networks of the study bfloat16 keeps 22 to 34 dB of it, and so more
than 50 of the picture.
"""
_ACTIVATIONS: dict[str, Callable[[int], nn.Module]] = {
    "relu": lambda channels: nn.ReLU(),
    "prelu": nn.PReLU,
    "leaky_relu": lambda channels: nn.LeakyReLU(0.2),
    "silu": lambda channels: nn.SiLU(),
    "gelu": lambda channels: nn.GELU(),
    "hardswish": lambda channels: nn.Hardswish(),
}


class UNetModule(nn.Module):
    """A U-Net: sharp picture = module(blurred picture), both [B, 3, H, W], H and W multiples of `spec.multiple`."""

    def __init__(self, spec: Spec, seed: int) -> None:
        super().__init__()
        made = _Maker(spec, torch.Generator().manual_seed(seed))
        colours, c = 3 * spec.unshuffle**2, spec.channels
        self.skip, self.residual = spec.skip, spec.residual
        self.unshuffle = nn.PixelUnshuffle(spec.unshuffle) if spec.unshuffle > 1 else nn.Identity()
        self.head = nn.Sequential(made.conv(colours, c, 3, PIXELS), made.activation(c))
        self.encoders, self.downs, self.ups, self.decoders = (nn.ModuleList() for _ in range(4))
        signal, skipped = made.active, []
        for scale in range(spec.depth):
            here = c << scale
            blocks, signal = made.blocks(here, here, signal)
            self.encoders.append(blocks)
            skipped.append(signal)
            self.downs.append(made.down(here, 2 * here, signal))
            signal = PLAIN
        self.bottom, signal = made.blocks(c << spec.depth, c << spec.depth, signal)
        for scale in reversed(range(spec.depth)):
            here = c << scale
            self.ups.append(made.up(2 * here, here, signal))
            signal = {"concat": skipped[scale].beside, "add": skipped[scale].plus, "none": lambda s: s}[spec.skip](
                PLAIN
            )
            blocks, signal = made.blocks(2 * here if spec.skip == "concat" else here, here, signal)
            self.decoders.append(blocks)
        self.tail = made.conv(c, colours, 3, signal, gain=CORRECTION)
        self.shuffle = nn.PixelShuffle(spec.unshuffle) if spec.unshuffle > 1 else nn.Identity()

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

    def __init__(self, spec: Spec, generator: torch.Generator) -> None:
        self.spec, self.generator = spec, generator
        self.active = ACTIVATED[spec.activation]

    def conv(self, c: int, d: int, kernel: int, reads: Signal, gain: float = 1.0, **options: Any) -> nn.Module:
        padding = kernel // 2
        layer = skip_init(nn.Conv2d, c, d, kernel, padding=padding, **options)
        return drawn(layer, reads, self.generator, gain)

    def activation(self, channels: int) -> nn.Module:
        return _ACTIVATIONS[self.spec.activation](channels)

    def blocks(self, c: int, d: int, signal: Signal) -> tuple[nn.Sequential, Signal]:
        """Return the blocks of one scale, from `c` channels to `d`, and the signal that comes out."""
        made = []
        for _ in range(self.spec.blocks):
            block, signal = self.block(c, d, signal)
            made.append(block)
            c = d
        return nn.Sequential(*made), signal

    def block(self, c: int, d: int, signal: Signal) -> tuple[nn.Module, Signal]:
        kernel = self.spec.kernel
        if self.spec.conv == "dense":
            return nn.Sequential(self.conv(c, d, kernel, signal), self.activation(d)), self.active
        if self.spec.conv == "depthwise":
            each = self.conv(c, c, kernel, signal, groups=c)
            return nn.Sequential(each, self.conv(c, d, 1, PLAIN), self.activation(d)), self.active
        e = self.spec.expansion * c
        inside = nn.Sequential(
            self.conv(c, e, 1, signal), self.activation(e),
            self.conv(e, e, kernel, self.active, groups=e), self.activation(e),
            self.conv(e, d, 1, self.active),
        )  # fmt: skip
        return Inverted(inside, c == d), signal.plus(PLAIN) if c == d else PLAIN

    def down(self, c: int, d: int, signal: Signal) -> nn.Module:
        if self.spec.down == "stride":
            return self.conv(c, d, 3, signal, stride=2)
        if self.spec.down == "max_pool":
            return nn.Sequential(nn.MaxPool2d(2), self.conv(c, d, 1, signal))
        return nn.Sequential(nn.PixelUnshuffle(2), self.conv(4 * c, d, 1, signal))

    def up(self, c: int, d: int, signal: Signal) -> nn.Module:
        if self.spec.up in ("transposed", "transposed4"):
            kernel = 4 if self.spec.up == "transposed4" else 2
            layer = skip_init(nn.ConvTranspose2d, c, d, kernel, stride=2, padding=kernel // 2 - 1)
            return drawn(layer, signal, self.generator)
        if self.spec.up == "pixel_shuffle":
            return nn.Sequential(self.conv(c, 4 * d, 1, signal), nn.PixelShuffle(2))
        corners = False if self.spec.up == "bilinear" else None
        return nn.Sequential(
            self.conv(c, d, 1, signal), nn.Upsample(scale_factor=2.0, mode=self.spec.up, align_corners=corners)
        )
