"""Whether a converted network still computes what torch computes, and what is wrong with it where it doesn't.

Shapes: H, W height and width of a picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import permutations
from typing import TYPE_CHECKING, Any

from itae.base.errors import UserError
from itae.portable.devices.device import Device, Net, Runner

if TYPE_CHECKING:
    import numpy as np

BEST = 200.0
"""dB at which a parity is capped; equal to the bit is this."""
_SUSPECT = 40.0  # dB below which a device without a budget is looked at: int8 has more, on what was measured
_EXPLAINS = 6.0  # dB that an explanation has to win: four times less squared error


def parity_db(output: np.ndarray, reference: np.ndarray) -> float:
    """Return the PSNR (peak 1) of an output against torch's, in dB, at most `BEST`; -inf where it isn't finite."""
    import numpy as np

    error = float(np.mean((output.astype(np.float64) - reference.astype(np.float64)) ** 2))
    if not np.isfinite(error):
        return -np.inf
    return BEST if error == 0 else min(BEST, -10 * float(np.log10(error)))


def array_of(output: Any, told: str, shape: Sequence[int]) -> np.ndarray:
    """Return what a device gave if it is the array that it should be; `told` says who gave it.

    Raises
    ------
    UserError
        If it is something else, or of other numbers or another shape: says what it is.
    """
    import numpy as np

    if not isinstance(output, np.ndarray):
        found = f"{type(output).__name__}, which is no numpy array"
    elif not np.issubdtype(output.dtype, np.floating):
        found = f"an array of {output.dtype}"
    elif output.shape != tuple(shape):
        found = f"an array of shape {list(output.shape)}"
    else:
        return output
    raise UserError(f"{told} gave {found}, where one of float32 and shape {list(shape)} is right.")


def check(
    device: Device,
    net: Net,
    runner: Runner,
    expected: Callable[[np.ndarray], np.ndarray],
    pictures: Sequence[np.ndarray],
) -> float:
    """Return the least parity of a network on a device with torch, over some pictures, in dB.

    Parameters
    ----------
    runner
        The network, open on the device.
    expected
        What torch computes from a picture.
    pictures
        Float32 [1, 3, H, W] in 0..1 each.

    Raises
    ------
    UserError
        If it is below the device's budget. If swapped channels or a shift of half a pixel explain it, they are named;
        those are refused on a device without a budget, too.
    """
    least = BEST
    for picture in pictures:
        reference = expected(picture)
        timed = runner.timed(picture)
        told = f"{device.name} computes {net.name} wrong: it"
        output = array_of(getattr(timed, "output", timed), told, reference.shape)
        found = parity_db(output, reference)
        least = min(least, found)
        budget = device.budget_db
        if found >= (_SUSPECT if budget is None else budget):
            continue
        why = explained(output, picture, expected, found)
        if budget is None and not why:
            continue
        needs = "" if budget is None else f", and at least {budget:g} are needed"
        raise UserError(
            f"{device.name} computes {net.name} wrong: its parity with torch is {found:.1f} dB{needs}"
            f"{f'; {why}' if why else ''}; leave {device.name} out, or take another net."
        )
    return least


def explained(
    output: np.ndarray, picture: np.ndarray, expected: Callable[[np.ndarray], np.ndarray], found: float
) -> str:
    """Return what is wrong with an output whose parity is `found`, in words; empty if nothing known explains it."""
    import numpy as np

    if not np.isfinite(output).all():
        return "some of its values are not finite"
    best, words = found + _EXPLAINS, ""
    for told, guess, edge in _guesses(picture, expected):
        inner = np.s_[..., edge : guess.shape[-2] - edge, edge : guess.shape[-1] - edge]
        reached = parity_db(output[inner], guess[inner])
        if reached > best:
            best, words = reached, told
    return words


def _guesses(
    picture: np.ndarray, expected: Callable[[np.ndarray], np.ndarray]
) -> Iterator[tuple[str, np.ndarray, int]]:
    """Yield what can be wrong, what the output would be then, and how far from the edge that holds."""
    import numpy as np

    reference = expected(picture)
    for order in list(permutations(range(3)))[1:]:
        named = ", ".join("RGB"[channel] for channel in order)
        back = list(np.argsort(order))
        turned = expected(np.ascontiguousarray(picture[:, order]))
        yield f"its channels come out swapped, as {named}", reference[:, order], 0
        yield f"its channels go in swapped, as {named}", turned, 0
        yield f"its channels go in and come out swapped, as {named}", turned[:, back], 0
    for down in (-0.5, 0.0, 0.5):
        for right in (-0.5, 0.0, 0.5):
            if down or right:
                by = f"is shifted by half a pixel ({down:+g} down, {right:+g} to the right)"
                yield f"its output {by}", _shifted(reference, down, right), 2
                yield f"its input {by}", expected(_shifted(picture, down, right)), 2


def _shifted(picture: np.ndarray, down: float, right: float) -> np.ndarray:
    """Return a picture moved by less than a pixel, by linear interpolation; edges are repeated."""
    import numpy as np

    for axis, by in ((2, down), (3, right)):
        if by:
            step = 1 if by > 0 else -1
            neighbour = np.roll(picture, step, axis)
            edge = [slice(None)] * 4
            edge[axis] = slice(0, 1) if step > 0 else slice(-1, None)
            neighbour[tuple(edge)] = picture[tuple(edge)]
            picture = ((1 - abs(by)) * picture + abs(by) * neighbour).astype(np.float32)
    return picture
