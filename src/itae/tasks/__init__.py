"""What is done with embeddings. A task is a callable that returns a `TaskResult`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class TaskResult:
    """What a task found.

    Attributes
    ----------
    metrics
        Plain values, ready for JSON.
    assignments
        int64 [n], one for each embedding, in the same order.
    """

    metrics: dict[str, Any]
    assignments: np.ndarray
