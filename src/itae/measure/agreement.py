"""How much two clusterings of the same images agree, whatever the images are: no label is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.measure.scores import summarise

if TYPE_CHECKING:
    from itae.measure.cluster.clustered import Clustered


def agreement(one_N: np.ndarray, other_N: np.ndarray) -> dict[str, float]:
    """Return ``ari`` and ``nmi`` of two clusterings, whole numbers [N]; noise (-1) is a cluster of its own in each.

    1 for the same clusters under whatever numbers. ``ari`` (Hubert & Arabie, 1985) is 0 on average for clusters drawn
    apart from each other; ``nmi``, over the arithmetic mean of the entropies, is above it, and the more so the more
    clusters there are.
    """
    from sklearn import metrics

    return {
        "ari": float(metrics.adjusted_rand_score(one_N, other_N)),
        "nmi": float(metrics.normalized_mutual_info_score(one_N, other_N, average_method="arithmetic")),
    }


def between(before: Clustered, after: Clustered) -> dict[str, Mapping[str, Any]]:
    """Return ``ari`` and ``nmi`` of what two sides came to.

    Returns
    -------
    dict
        Each as ``chosen``, of the clusterings that were chosen by their objective, and as ``mean``, ``std`` and
        ``per_seed``, of both sides under the same seed.
    """
    chosen = agreement(before.assignments, after.assignments)
    pairs = [(before.assignments, after.assignments)]
    if before.per_seed is not None and after.per_seed is not None:
        pairs = list(zip(before.per_seed, after.per_seed, strict=True))
    spread = summarise([agreement(*pair) for pair in pairs])
    return {name: {"chosen": chosen[name], **spread[name]} for name in chosen}
