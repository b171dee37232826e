"""What a step learns from: crops that are a function of the seed and the number of the step, and of nothing before it.

So a training that goes on after a kill sees the same as one that wasn't killed, and there is no state to keep.
"""

from __future__ import annotations

import numpy as np

from itae.portable.data.pairs import Pairs


def crops(pairs: Pairs, step: int, batch: int, side: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the blurred and the sharp crops of a step, float32 [batch, 3, side, side] each in 0..1.

    Pairs are drawn with replacement, each with a place, and one of the eight flips and quarter turns. A motion blur
    that is flipped or turned is one, too.

    Parameters
    ----------
    pairs
        Of training.
    step
        Its number, from 0.
    batch
        Crops.
    side
        Pixels; at most the height and the width of the pairs.
    seed
        With `step`, what all is drawn from.
    """
    rng = np.random.default_rng((seed, step))
    height, width = pairs.sharp.shape[-2:]
    chosen = rng.integers(len(pairs), size=batch)
    tops, lefts = rng.integers(height - side + 1, size=batch), rng.integers(width - side + 1, size=batch)
    turns = rng.integers(8, size=batch)
    found = np.empty((2, batch, 3, side, side), np.float32)
    for at, (pair, top, left, turn) in enumerate(zip(chosen, tops, lefts, turns, strict=True)):
        for into, array in zip(found, (pairs.blurred, pairs.sharp), strict=True):
            into[at] = turned(array[pair, :, top : top + side, left : left + side], int(turn))
    found /= 255
    return found[0], found[1]


def turned(picture: np.ndarray, turn: int) -> np.ndarray:
    """Return a picture [3, H, W] in one of the eight ways: 0 as it is; bits say flipped right, down, and transposed."""
    if turn & 1:
        picture = picture[:, :, ::-1]
    if turn & 2:
        picture = picture[:, ::-1]
    return picture.transpose(0, 2, 1) if turn & 4 else picture
