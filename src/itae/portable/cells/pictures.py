"""Pictures to run on: none is like another, and each has the spectrum of a photograph.

What a network computes on costs the same whatever it shows; a new picture each round is what a device that hands back
an old output is caught by.

Shapes: H, W height and width.
"""

from __future__ import annotations

import numpy as np


def picture(seed: int, number: int, size: tuple[int, int]) -> np.ndarray:
    """Return picture `number` of a seed: noise with an amplitude of 1 / frequency, float32 [1, 3, H, W] in 0..1."""
    rng = np.random.default_rng((seed, number))
    down, right = np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1])[None]
    frequency = np.hypot(down, right)
    frequency[0, 0] = np.inf  # no mean
    spectrum_3HF = np.fft.rfft2(rng.standard_normal((3, *size))) / frequency
    drawn_3HW = np.fft.irfft2(spectrum_3HF, s=size)
    low, high = drawn_3HW.min(), drawn_3HW.max()
    return ((drawn_3HW - low) / max(high - low, 1e-12)).astype(np.float32)[None]
