"""How a camera is shaken while it exposes: a path, and the time that it spends at each pixel of it, the PSF.

The model is that of Boracchi and Foi ("Modeling the performance of image restoration from motion blur", IEEE TIP 2012):
a point that keeps its direction (inertia), trembles, is pulled back, and is at times jerked about. Here its speed is
constant, so that a path has the length that was asked for, to the last digit.

`deepinv.physics.generator.MotionBlurGenerator` makes PSFs, too: histograms of a path, whose length nobody knows, and
whose part outside of the frame is lost.
"""

from __future__ import annotations

import math

import numpy as np

STEPS = 256
"""Of a path: 1/16 pixel each, for one of 16 pixels."""


def path(length: float, restless: float, rng: np.random.Generator) -> np.ndarray:
    """Return where a shaken camera points, at times evenly over its exposure.

    Parameters
    ----------
    length
        Of the path, in pixels.
    restless
        0 for a straight line, to 1. It scales the most that there is of each: trembling that turns the way by 4 radian
        (standard deviation over the whole path), a pull back to the start that turns it by 6, and one jerk on average,
        after which it goes nearly back.
    rng
        Draws the direction, how much there is of each, and the trembling.

    Returns
    -------
    ndarray
        Complex [`STEPS` + 1], x + iy in pixels; 0 at first.
    """
    step = length / STEPS
    tremble, pull = restless * rng.uniform(0, 4) / math.sqrt(STEPS), restless * rng.uniform(0, 6) / STEPS
    jerks = set(rng.integers(1, STEPS, rng.poisson(restless)).tolist())
    turns = rng.normal(0, tremble, STEPS).tolist() if tremble else [0.0] * STEPS
    about = rng.uniform(-0.5, 0.5, STEPS).tolist()
    heading, x, y = rng.uniform(0, 2 * math.pi), 0.0, 0.0
    xs, ys = [x], [y]
    for i, turn in enumerate(turns):
        heading += turn
        if i in jerks:
            heading += math.pi + about[i]
        if pull and (x or y):  # by the sine between the way and the way back, and stronger further off
            back = math.atan2(-y, -x)
            heading += pull * math.hypot(x, y) / length * math.sin(back - heading)
        x, y = x + step * math.cos(heading), y + step * math.sin(heading)
        xs.append(x)
        ys.append(y)
    return np.array(xs) + 1j * np.array(ys)


def side(longest: float) -> int:
    """Return the side of a PSF that holds each path of so many pixels, centred: odd.

    No point of a path is farther from its mean than half its length; one pixel more is for what lies between two.
    """
    return 2 * (math.ceil(longest / 2) + 1) + 1


def psf(path_T: np.ndarray, size: int) -> np.ndarray:
    """Return the time that a path spends at each pixel: a point's is shared among the four pixels around it.

    That keeps the mean of the path, which is put in the middle: a picture convolved by it doesn't move.

    Parameters
    ----------
    path_T
        Complex [T], in pixels.
    size
        Odd; see `side`.

    Returns
    -------
    ndarray
        Float32 [size, size], sum 1.
    """
    centred = path_T - path_T.mean()
    out = np.zeros(size * size)
    x, y = centred.real + size // 2, centred.imag + size // 2
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, low = x - left, y - top  # shares of the pixel right of it, and of the one below
    for down, of_row in ((0, 1 - low), (1, low)):
        for across, of_column in ((0, 1 - right), (1, right)):
            row, column = np.minimum(top + down, size - 1), np.minimum(left + across, size - 1)
            out += np.bincount(row * size + column, of_row * of_column, minlength=size * size)
    return (out / len(path_T)).reshape(size, size).astype(np.float32)
