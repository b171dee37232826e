"""What a U-Net costs, from its spec alone: no module is built.

A multiply-accumulate (MAC) is one product of a weight and a value that is added up, in a convolution: a convolution
of k x k from c channels to d has k * k * c * d of them at each place of its output, one of each channel alone
k * k * c, and a transposed one k * k * c * d at each place of its input. Taps on the padding count. Nothing else does:
biases, activations, sums, interpolation, pooling and shuffles cost no MACs, though they cost time.
"""

from __future__ import annotations

from collections.abc import Iterator

from itae.portable.devices.device import Cost
from itae.portable.nets.spec import Spec


def cost(spec: Spec, height: int, width: int) -> Cost:
    """Return MACs and parameters of a U-Net for a picture, which is padded to multiples of `spec.multiple`."""
    places = -(-height // spec.multiple) * -(-width // spec.multiple) * 4**spec.depth  # of scale 0
    macs = parameters = 0
    for scale, of_a_place, held in _terms(spec):
        macs += of_a_place * places // 4**scale
        parameters += held
    return Cost(macs, parameters)


def _terms(spec: Spec) -> Iterator[tuple[int, int, int]]:
    """Give (scale, MACs at each place of that scale, parameters) of each part."""
    colours = 3 * spec.unshuffle**2
    first = spec.channels
    yield 0, 9 * colours * first, 9 * colours * first + first + _slopes(spec, first)
    yield 0, 9 * first * colours, 9 * first * colours + colours
    for scale in range(spec.depth + 1):
        here = spec.channels << scale
        yield scale, *_times(spec.blocks, _block(spec, here, here))  # on the way down, or at the bottom
        if scale < spec.depth:
            below = 2 * here
            yield scale + 1, *_down(spec, here, below)
            yield scale + 1, *_up(spec, below, here)
            met = below if spec.skip == "concat" else here
            yield scale, *_block(spec, met, here)
            yield scale, *_times(spec.blocks - 1, _block(spec, here, here))


def _block(spec: Spec, c: int, d: int) -> tuple[int, int]:
    """Return MACs a place and parameters of one block from `c` channels to `d`."""
    taps = spec.kernel**2
    if spec.conv == "dense":
        return taps * c * d, taps * c * d + d + _slopes(spec, d)
    if spec.conv == "depthwise":
        return taps * c + c * d, taps * c + c + c * d + d + _slopes(spec, d)
    e = spec.expansion * c
    macs = c * e + taps * e + e * d
    return macs, macs + 2 * e + d + 2 * _slopes(spec, e)


def _down(spec: Spec, c: int, d: int) -> tuple[int, int]:
    weights = {"stride": 9, "max_pool": 1, "space_to_depth": 4}[spec.down] * c * d
    return weights, weights + d


def _up(spec: Spec, c: int, d: int) -> tuple[int, int]:
    """Return MACs a place of the lower scale and parameters, from `c` channels there to `d` above."""
    weights = {"transposed": 4, "transposed4": 16, "bilinear": 1, "nearest": 1, "pixel_shuffle": 4}[spec.up] * c * d
    return weights, weights + (4 * d if spec.up == "pixel_shuffle" else d)


def _slopes(spec: Spec, d: int) -> int:
    return d if spec.activation == "prelu" else 0


def _times(n: int, pair: tuple[int, int]) -> tuple[int, int]:
    return n * pair[0], n * pair[1]
