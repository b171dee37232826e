"""A clusterer of somebody's own, as CONTRIBUTING has it: it finds k, leaves points out, and needs no seeds."""

from __future__ import annotations

import numpy as np
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import pdist, squareform

from itae.base.errors import UserError
from itae.measure.cluster.clustered import NOISE, Objective, Partition


class Chains:
    """Points that are linked by short steps are a cluster; what is linked with fewer than `least` others is noise."""

    noise = True

    def __init__(self, step: float = 0.02, least: int = 2) -> None:
        self.step, self.least = step, least

    def check(self, n, n_classes):
        if n <= self.least:
            raise UserError(f"clusterer.least={self.least} leaves no cluster of {n} images; lower it.")

    def seed_list(self, base_seed):
        return None

    def fit(self, vectors, k, seed, device):
        assert k is None
        assert seed is None
        far = pdist(vectors)
        _, parts = connected_components(squareform(far <= np.quantile(far, self.step)))
        sizes = np.bincount(parts)
        kept = np.flatnonzero(sizes > self.least)
        number = np.full(len(sizes), NOISE)
        number[kept] = np.arange(len(kept))
        return Partition(
            number[parts], Objective("linked", float(sizes[kept].sum()), "higher"), info={"steps": len(far)}
        )


class Two:
    """The signs of the first two embeddings' difference: of both spaces, which it asks for; no noise, no objective."""

    spaces = "both"

    def check(self, n, n_classes):
        return 2

    def seed_list(self, base_seed):
        return [base_seed, base_seed + 1]

    def fit(self, vectors, k, seed, device):
        untouched, own = vectors
        score = (untouched + own)[:, seed % untouched.shape[1]]
        return Partition(
            (score > np.median(score)).astype(np.int32), info={"apart": float(np.abs(untouched - own).max())}
        )
