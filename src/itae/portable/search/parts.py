"""Where a U-Net's weights lie in those that all U-Nets of a space share.

Every weight of a network of a given spec is a part of a larger one, its *slot*: that of the place in the network and of
the operator there. A network of fewer channels takes the first ones. Two things have to be minded: what is
concatenated is two halves, each of which begins with its own first channels; and scales are counted from the size of
the picture, so that with an unshuffled input scale 0 of the spec is scale 1 here, where a network without it has
features of the same size.

What belongs to one width alone, biases, slopes of PReLU and a gain for each output channel, isn't shared between
widths or activations, as batch norms aren't in slimmable networks (Yu et al. 2019, arXiv 1812.08928): without
normalisation nothing else would keep the signal of a narrow network, which lacks most of a sum's terms, at its size.
The last convolution alone has a gain that is fixed. What a network says at first only harms, and to learn a gain of 0
is the shortest way to say nothing; then nothing else learns any more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from itae.portable.nets.spec import Spec


@dataclass(frozen=True)
class Part:
    """Where one parameter of a U-Net is to be found."""

    slot: str
    """The shared weight that it is a part of; where it is private, it itself."""
    private: str | None
    """Of a shared weight: its gain, which is learned. Of the last convolution's and of what isn't shared: None."""
    shape: tuple[int, ...]
    halves: int | None
    """The axis that is two halves, if there is one."""
    outputs: int
    """The axis of output channels."""
    fan_in: float
    """Terms of the sum of one output value, in the mean over places."""


def parts(spec: Spec, shapes: dict[str, tuple[int, ...]]) -> dict[str, Part]:
    """Return where each parameter of a U-Net lies, by its name in the module.

    Parameters
    ----------
    spec
        Of the U-Net.
    shapes
        Of its parameters, by name.
    """
    return {name: _part(spec, name, shape) for name, shape in shapes.items()}


def taken(shared: torch.Tensor, part: Part) -> torch.Tensor:
    """Return the part of a shared weight, of `part.shape`: the first of each axis, or of each half of it."""
    for axis, n in enumerate(part.shape):
        if axis == part.halves:
            beside, up = shared.chunk(2, axis)
            shared = torch.cat((beside.narrow(axis, 0, n // 2), up.narrow(axis, 0, n // 2)), axis)
        else:
            shared = shared.narrow(axis, 0, n)
    return shared


def _part(spec: Spec, name: str, shape: tuple[int, ...]) -> Part:
    place, rest, first = _place(spec, name)
    slot = f"{place}/{rest}".replace(".", "_")
    width = f"{spec.channels / spec.unshuffle:g}".replace(".", "_")  # as if of scale 0, whatever the input's
    if len(shape) < 4:
        return Part(f"{slot}/{width}/{spec.activation}", None, shape, None, 0, 0)
    transposed = place.startswith("up/") and spec.up in ("transposed", "transposed4")
    outputs = 1 if transposed else 0
    terms = math.prod(shape) / shape[outputs] / (4 if transposed else 1)  # a stride of 2: a quarter of the taps each
    halves = None
    if first and spec.skip == "concat":  # of a block that is given two halves
        alone = spec.conv == "depthwise" and shape[1] == 1
        halves = 0 if alone else 1 if _takes_the_input(spec, rest) else None
    gain = None if place.startswith("tail/") else f"{slot}/gain/{width}/{spec.activation}"
    return Part(slot, gain, shape, halves, outputs, terms)


def _takes_the_input(spec: Spec, rest: str) -> bool:
    """Tell whether a weight's input channels are those of the first block of a scale, not its hidden ones."""
    return spec.conv != "inverted" or rest.endswith("inside.0.weight")


def _place(spec: Spec, name: str) -> tuple[str, str, bool]:
    """Return the place of a parameter with its operator, its name there, and whether what meets comes in there."""
    top = spec.unshuffle.bit_length() - 1  # the scale, by the size of the picture, of the spec's scale 0
    block = f"{spec.conv}{spec.kernel}" + (f"x{spec.expansion}" if spec.conv == "inverted" else "")
    module, _, rest = name.partition(".")
    if module in ("head", "tail"):
        return f"{module}/{top}", rest, False
    if module == "bottom":
        return f"bottom/{top + spec.depth}/{block}", rest, False
    number, _, rest = rest.partition(".")
    i = int(number)
    if module == "encoders":
        return f"encoder/{top + i}/{block}", rest, False
    if module == "downs":
        return f"down/{top + i}/{spec.down}", rest, False
    scale = top + spec.depth - 1 - i
    if module == "ups":
        up = "interpolated" if spec.up in ("bilinear", "nearest") else spec.up
        return f"up/{scale}/{up}", rest, False
    assert module == "decoders", name
    first = rest.startswith("0.")
    return f"decoder/{scale}/{block}" + (f"/{spec.skip}" if first else ""), rest, first
