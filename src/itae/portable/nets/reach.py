"""How far a U-Net sees: a blur that is longer than that can't be undone by it.

Counted by hand along one axis, back from a place of the output; a test holds it against the gradient.
"""

from __future__ import annotations

from itae.portable.nets.spec import Spec


def reach(spec: Spec, at: int) -> tuple[int, int]:
    """Return the first and the last pixel, along one axis, that the output's pixel `at` depends on, edges far away."""
    here = at // spec.unshuffle
    first, last = _going_up(spec, 0, here - 1, here + 1)  # the last convolution
    return (first - 1) * spec.unshuffle, (last + 2) * spec.unshuffle - 1  # the first one


def receptive_field(spec: Spec) -> int:
    """Return the most pixels, along one axis, that a pixel of the output depends on."""
    spans = (reach(spec, at) for at in range(spec.multiple))  # after which all comes again
    return max(last - first + 1 for first, last in spans)


def _going_up(spec: Spec, scale: int, first: int, last: int) -> tuple[int, int]:
    """Return what places of a scale see of scale 0, on the way up."""
    if scale == spec.depth:
        return _going_down(spec, scale, first, last)
    first, last = _blocks(spec, first, last)
    far = 1 if spec.up in ("transposed4", "bilinear") else 0  # those reach over to the next place
    below = _going_up(spec, scale + 1, (first - far) // 2, (last + far) // 2)
    if spec.skip == "none":
        return below
    beside = _going_down(spec, scale, first, last)
    return min(below[0], beside[0]), max(below[1], beside[1])


def _going_down(spec: Spec, scale: int, first: int, last: int) -> tuple[int, int]:
    """Return what places of a scale see of scale 0, on the way down."""
    first, last = _blocks(spec, first, last)
    if scale == 0:
        return first, last
    return _going_down(spec, scale - 1, 2 * first - (spec.down == "stride"), 2 * last + 1)


def _blocks(spec: Spec, first: int, last: int) -> tuple[int, int]:
    far = spec.blocks * (spec.kernel // 2)
    return first - far, last + far
