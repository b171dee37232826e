"""What the clusterings of one set of embeddings came to, and how they score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Clustered:
    """What was found of one set of embeddings.

    Attributes
    ----------
    metrics
        Plain values, ready for JSON.
    assignments
        int64 [n], one for each embedding, in the same order.
    per_seed
        Whole numbers [seeds, n], the assignments of every seed, or None. From them come the intervals of deltas.
    knn_correct
        bool [n], whether the neighbours name each image's class; None where that was not asked.
    """

    metrics: dict[str, Any]
    assignments: np.ndarray
    per_seed: np.ndarray | None = None
    knn_correct: np.ndarray | None = None
