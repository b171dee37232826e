"""Quality by the length of the blur: a mean hides that a network may undo short blurs alone.

Letters: N pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from itae.portable.data.pairs import Pairs
from itae.portable.train.quality import Mean, Quality, mean_over

_PARTS = 4


@dataclass(frozen=True)
class Length:
    """Pairs whose blur is about as long.

    Parameters
    ----------
    low, high
        Pixels of the blur's path; `high` is in the next part, but for the last.
    pairs
        How many there are.
    psnr, gain
        Mean PSNR in dB, and by how much that is above the blurred pictures', with intervals over photographs.
    """

    low: float
    high: float
    pairs: int
    psnr: Mean
    gain: Mean


def by_length(found: Quality, blurred: Quality, pairs: Pairs, edges: Sequence[float] | None = None) -> list[Length]:
    """Return quality by the length of the blur; empty parts, and pairs whose length nobody knows, are left out.

    Parameters
    ----------
    found, blurred
        Of what was restored, and of what was given, on these pairs.
    pairs
        With their `blur_px`.
    edges
        Between parts, in pixels, from the least to the greatest. None (default): four parts of about as many pairs.
    """
    known_N = np.isfinite(pairs.blur_px)
    if not known_N.any():
        return []
    if edges is None:
        edges = np.unique(np.quantile(pairs.blur_px[known_N], np.linspace(0, 1, _PARTS + 1))).tolist()
        edges = edges if len(edges) > 1 else [edges[0], edges[0]]
    parts = []
    for low, high in pairwise(edges):
        below_N = pairs.blur_px <= high if high == edges[-1] else pairs.blur_px < high
        chosen = np.flatnonzero(known_N & (pairs.blur_px >= low) & below_N)
        if len(chosen):
            of = [pairs.photographs[each] for each in chosen]
            gain_N = found.psnr_each - blurred.psnr_each
            psnr, gain = (mean_over(values[chosen], of) for values in (found.psnr_each, gain_N))
            parts.append(Length(float(low), float(high), len(chosen), psnr, gain))
    return parts
