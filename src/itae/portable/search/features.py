"""What a time is predicted from: the operators of a U-Net in their order, each counted from the spec alone.

No module is built. What `itae.portable.nets.costs` adds up is told apart here: which operator, how many
multiply-accumulates, and how many values it reads and writes, since some runtimes wait for memory and not for sums.

Letters: K features.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from itae.portable.nets.costs import cost
from itae.portable.nets.spec import ACTIVATIONS, KERNELS, Spec


class Operator(NamedTuple):
    """One operator of a network, at the size of a picture."""

    kind: str
    """``conv3`` and the like by the kernel's side, ``depthwise3``, ``stride``, ``transposed2``, ``concat``, ..."""
    taps: int
    """Products a place, input and output channel; 0 of what multiplies nothing by weights."""
    into: int
    """Channels that go in; 1 of a convolution of each channel alone."""
    out: int
    """Channels that come out."""
    places: int
    """At which there are those products."""
    wider: int = 1
    """Places that it writes, for each of them."""

    @property
    def of_each_alone(self) -> bool:
        """Whether it is a convolution of each channel alone."""
        return self.kind.startswith("depthwise")

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.taps * self.into * self.out * self.places

    def macs_of_whole(self, vector: int) -> int:
        """Return MACs if channels come by so many at once: what lacks of the last ones costs as much."""
        if self.of_each_alone:
            return 0
        return self.taps * _padded(self.into, vector) * _padded(self.out, vector) * self.places

    @property
    def block(self) -> int:
        """The most of 16, 8, 4 and 1 channels by which both sides can be divided, as runtimes lay them out."""
        sides = (self.out,) if self.of_each_alone else (self.into, self.out)
        return next(each for each in _BLOCKS if not any(side % each for side in sides))

    @property
    def values(self) -> int:
        """Values that it reads and writes, weights aside."""
        read = self.out if self.of_each_alone else self.into
        return (read + self.out * self.wider) * self.places


def _padded(channels: int, vector: int) -> int:
    return -(-channels // vector) * vector


def operators(spec: Spec, height: int, width: int) -> Iterator[Operator]:
    """Give the operators of a U-Net for a picture, which is padded to multiples of `spec.multiple`."""
    places = -(-height // spec.multiple) * -(-width // spec.multiple) * 4**spec.depth  # of scale 0
    colours, first, u = 3 * spec.unshuffle**2, spec.channels, spec.unshuffle
    if u > 1:
        yield _moved("shuffle", colours, places)
    yield _conv("conv3", 9, colours, first, places)
    yield _moved(spec.activation, first, places)
    for scale in range(spec.depth + 1):
        here, there = spec.channels << scale, places // 4**scale
        for _ in range(spec.blocks):
            yield from _block(spec, here, here, there)
        if scale < spec.depth:
            yield from _down(spec, here, 2 * here, there // 4)
            yield from _up(spec, 2 * here, here, there // 4)
            if spec.skip != "none":
                yield _moved(spec.skip, 2 * here, there)
            yield from _block(spec, 2 * here if spec.skip == "concat" else here, here, there)
            for _ in range(spec.blocks - 1):
                yield from _block(spec, here, here, there)
    yield _conv("conv3", 9, first, colours, places)
    if u > 1:
        yield _moved("shuffle", colours, places)
    if spec.residual:
        yield _moved("add", colours, places)


def _block(spec: Spec, c: int, d: int, places: int) -> Iterator[Operator]:
    k = spec.kernel
    if spec.conv == "dense":
        yield _conv(f"conv{k}", k * k, c, d, places)
        yield _moved(spec.activation, d, places)
    elif spec.conv == "depthwise":
        yield _conv(f"depthwise{k}", k * k, 1, c, places)
        yield _conv("conv1", 1, c, d, places)
        yield _moved(spec.activation, d, places)
    else:
        e = spec.expansion * c
        yield _conv("conv1", 1, c, e, places)
        yield _moved(spec.activation, e, places)
        yield _conv(f"depthwise{k}", k * k, 1, e, places)
        yield _moved(spec.activation, e, places)
        yield _conv("conv1", 1, e, d, places)
        if c == d:
            yield _moved("add", 2 * d, places)


def _down(spec: Spec, c: int, d: int, places: int) -> Iterator[Operator]:
    """Give those that go from `c` channels to `d` at so many `places` below."""
    if spec.down == "stride":
        yield _conv("stride", 9, c, d, places)
        return
    yield _moved(spec.down, c, 4 * places)
    yield _conv("conv1", 1, c if spec.down == "max_pool" else 4 * c, d, places)


def _up(spec: Spec, c: int, d: int, places: int) -> Iterator[Operator]:
    """Give those that go from `c` channels at so many `places` to `d` above."""
    if spec.up in ("transposed", "transposed4"):
        k = 4 if spec.up == "transposed4" else 2
        yield Operator(f"transposed{k}", k * k, c, d, places, 4)
        return
    wide = 4 * d if spec.up == "pixel_shuffle" else d
    yield _conv("conv1", 1, c, wide, places)
    yield _moved("shuffle" if spec.up == "pixel_shuffle" else spec.up, d, 4 * places)


def _conv(kind: str, taps: int, c: int, d: int, places: int) -> Operator:
    return Operator(kind, taps, c, d, places)


def _moved(kind: str, channels: int, places: int) -> Operator:
    """Return an operator that multiplies nothing by weights."""
    return Operator(kind, 0, channels, channels, places)


_SUMS = ("conv1", *(f"conv{k}" for k in KERNELS), *(f"depthwise{k}" for k in KERNELS),
         "stride", "transposed2", "transposed4")  # fmt: skip
_MOVES = ("bilinear", "nearest", "shuffle", "concat", "add", "max_pool", "space_to_depth")
_VECTORS = (8, 16)
"""Channels that processors take at once: 256 and 512 bits of float32."""
_BLOCKS = (16, 8, 4, 1)
_NARROW = _BLOCKS[1:]
PARTS = (
    *(f"MACs of {kind}" for kind in _SUMS), *(f"MACs by whole {vector} channels" for vector in _VECTORS),
    *(f"values through {kind}" for kind in (*_MOVES, *ACTIVATIONS)),
    *(f"{of} in blocks of {block}" for of in ("MACs", "depthwise values", "moved values") for block in _NARROW),
    "values through conv1", "values through depthwise", "values through other convolutions",
    "weights", "convolutions", "other operators",
)  # fmt: skip
"""What a time is a sum of: a price for each of these, times how many of it a network has."""


def parts(spec: Spec, height: int, width: int) -> np.ndarray:
    """Return how many of each of `PARTS` a network has for a picture, float64 [K]; MACs, values and weights in 10^6."""
    found = dict.fromkeys(PARTS, 0.0)
    for one in operators(spec, height, width):
        if not one.taps:
            found[f"values through {one.kind}"] += one.values / 1e6
            found["other operators"] += 1
            if one.block in _NARROW:
                found[f"moved values in blocks of {one.block}"] += one.values / 1e6
            continue
        through = "depthwise" if one.of_each_alone else "conv1" if one.kind == "conv1" else "other convolutions"
        found[f"MACs of {one.kind}"] += one.macs / 1e6
        found[f"values through {through}"] += one.values / 1e6
        for vector in _VECTORS:
            found[f"MACs by whole {vector} channels"] += one.macs_of_whole(vector) / 1e6
        found["convolutions"] += 1
        if one.block in _NARROW:
            found[f"MACs in blocks of {one.block}"] += one.macs / 1e6
            if one.of_each_alone:
                found[f"depthwise values in blocks of {one.block}"] += one.values / 1e6
    found["weights"] = cost(spec, height, width).parameters / 1e6
    return np.array([found[name] for name in PARTS])
