"""What a U-Net is made of, as plain values: what a study changes, a cost is counted from, and a module is built from.

A U-Net has scales 0..depth. Scale s has channels * 2^s channels at 1 / 2^s of the height and width. What goes down
from scale to scale comes up again, and at each scale meets what went down there.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from itae.base.checks import one_of, true_or_false, whole
from itae.base.errors import UserError

KERNELS = (3, 5, 7)
UPS = ("transposed", "transposed4", "bilinear", "nearest", "pixel_shuffle")
SKIPS = ("concat", "add", "none")
DOWNS = ("stride", "max_pool", "space_to_depth")
ACTIVATIONS = ("relu", "prelu", "leaky_relu", "silu", "gelu", "hardswish")
CONVS = ("dense", "depthwise", "inverted")
UNSHUFFLES = (1, 2, 4)
WIDEST = 4096
"""Channels that the lowest scale may have: one 3x3 convolution of so many has 151 million weights."""


@dataclass(frozen=True)
class Spec:
    """The architecture of a U-Net.

    A 3x3 convolution with an activation comes first and a 3x3 convolution without one last, both at scale 0. All
    convolutions have biases and zero padding; there is no normalisation.

    Parameters
    ----------
    channels
        Of scale 0; doubled with each scale. Default 16.
    depth
        Scales below scale 0. Default 3.
    blocks
        Convolutions a scale, on the way down, at the bottom, and on the way up. Default 2.
    kernel
        Side of those, 3 (default), 5 or 7. What changes scale has a side of its own.
    up
        From scale to scale, halving channels: ``transposed`` (default), a 2x2 transposed convolution of stride 2;
        ``transposed4``, a 4x4 one; ``bilinear`` and ``nearest``, a 1x1 convolution, then interpolation;
        ``pixel_shuffle``, a 1x1 convolution to four times as many, then the shuffle.
    skip
        How what went down meets what comes up: ``concat`` (default), ``add``, or ``none``, where it doesn't.
    down
        From scale to scale, doubling channels: ``stride`` (default), a 3x3 convolution of stride 2; ``max_pool`` 2x2,
        then a 1x1 convolution; ``space_to_depth`` 2x2, then a 1x1 convolution.
    activation
        ``relu`` (default), ``prelu`` (a slope a channel, .25 at first), ``leaky_relu`` (.2), ``silu``, ``gelu`` (by the
        error function) or ``hardswish``; after the first convolution and in each block.
    conv
        A block: ``dense`` (default), a convolution and an activation; ``depthwise``, a convolution of each channel, a
        1x1 convolution and an activation; ``inverted``, 1x1 to `expansion` times as many channels, activation, a
        convolution of each channel, activation, 1x1, and its input added where it has as many channels
        (MobileNetV2, Sandler et al. 2018).
    expansion
        Of ``inverted``; else it does nothing. Default 2.
    unshuffle
        1 (default); 2 or 4: so many pixels by so many become channels first and pixels again at last, and all scales
        are so much smaller.
    residual
        The output is the input plus what the network says. Default true.

    Raises
    ------
    UserError
        When a value isn't one of those.
    """

    channels: int = 16
    depth: int = 3
    blocks: int = 2
    kernel: int = 3
    up: str = "transposed"
    skip: str = "concat"
    down: str = "stride"
    activation: str = "relu"
    conv: str = "dense"
    expansion: int = 2
    unshuffle: int = 1
    residual: bool = True

    def __post_init__(self) -> None:
        """Check every value."""
        whole("net.channels", self.channels, low=1, high=WIDEST)
        whole("net.depth", self.depth, low=1, high=8)
        whole("net.blocks", self.blocks, low=1, high=16)
        whole("net.expansion", self.expansion, low=1, high=16)
        for name, options in (("kernel", KERNELS), ("unshuffle", UNSHUFFLES)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value not in options:
                raise UserError(f"net.{name}={value!r} is not one of {', '.join(map(str, options))}.")
        one_of("net.up", self.up, UPS)
        one_of("net.skip", self.skip, SKIPS)
        one_of("net.down", self.down, DOWNS)
        one_of("net.activation", self.activation, ACTIVATIONS)
        one_of("net.conv", self.conv, CONVS)
        true_or_false("net.residual", self.residual)
        if self.channels << self.depth > WIDEST:
            raise UserError(
                f"net.channels={self.channels} and net.depth={self.depth} make {self.channels << self.depth:,} "
                f"channels at the lowest scale, and {WIDEST:,} are allowed; lower one of them."
            )

    @property
    def multiple(self) -> int:
        """What height and width have to be multiples of: each scale halves them, after `unshuffle`."""
        return self.unshuffle << self.depth

    def architecture(self) -> dict[str, Any]:
        """Return the values of this class alone, without what a subclass adds."""
        return {field.name: getattr(self, field.name) for field in fields(Spec)}
