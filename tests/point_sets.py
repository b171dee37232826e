"""Points whose clusters are known."""

from __future__ import annotations

import numpy as np


def blobs(n=240, width=16, k=3, spread=0.3, seed=0):
    random = np.random.default_rng(seed)
    labels = np.arange(n) % k
    centres = random.normal(size=(k, width))
    return (centres[labels] + spread * random.normal(size=(n, width))).astype(np.float32), labels
