"""What the detectors saw, streamed during the pass and kept beside the vectors.

Memory is bounded: a histogram a layer and one small count an image. A cached run shows the same as the run
that computed it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.runtime import own_memory

if TYPE_CHECKING:
    from itae.detect import Flags
    from itae.edit import Edit

_BINS_PER_DECADE = 128
_DECADES = (-5, 5)
SIGNAL_EDGES = np.logspace(*_DECADES, (_DECADES[1] - _DECADES[0]) * _BINS_PER_DECADE + 1)
"""Edges of the bins of a signal's histogram, 1.8 % apart; what lies outside falls into the first or last bin."""

QUANTILES = (0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0)


class Collector:
    """Gather one edit's vectors and diagnostics over a shard of images.

    Parameters
    ----------
    edit
        The edit, or None for the untouched model, which has vectors only.
    images
        How many will come.
    """

    def __init__(self, edit: Edit | None, images: int) -> None:
        self.layers = edit.layers if edit else ()
        self._place = {layer: i for i, layer in enumerate(self.layers)}
        depth = len(self.layers)
        self._vectors = np.empty((0, 0), np.float32)
        self._flagged = own_memory((images, depth), np.uint16)
        self._seen = [0] * depth  # images so far, by layer
        self._added = 0
        self._sums = {
            "rate": np.zeros(depth),
            "threshold": np.zeros(depth),
            "left_alone": np.zeros(depth, np.int64),
            "signal": np.zeros((depth, len(SIGNAL_EDGES) - 1), np.int64),
            "signal_flagged": np.zeros((depth, len(SIGNAL_EDGES) - 1), np.int64),
        }

    def see(self, layer: int, flags: Flags) -> None:
        """Take what one batch showed in one block."""
        i = self._place[layer]
        mask_BST = flags.mask
        self._sums["rate"][i] += float(mask_BST.float().mean(dim=(1, 2)).double().sum())
        self._sums["threshold"][i] += float(flags.threshold.double().mean(dim=(1, 2)).sum())
        self._sums["left_alone"][i] += int(mask_BST.all(dim=-1).any(dim=-1).sum())
        self._sums["signal"][i] += _histogram(flags.signal.cpu().numpy())
        self._sums["signal_flagged"][i] += _histogram(flags.signal[mask_BST].cpu().numpy())
        some = slice(self._seen[i], self._seen[i] + len(mask_BST))
        self._flagged[some, i] = mask_BST.any(dim=1).sum(dim=-1).cpu().numpy()
        self._seen[i] = some.stop

    def add(self, vectors: np.ndarray) -> None:
        """Take the vectors of one batch, float32 [b, E]."""
        if not self._added:
            self._vectors = own_memory((len(self._flagged), vectors.shape[1]), np.float32)
        self._vectors[self._added : self._added + len(vectors)] = vectors
        self._added += len(vectors)

    def rows(self) -> dict[str, np.ndarray]:
        """Return what has a row an image: `vectors` [b, E], and the patches `flagged` in each layer [b, L]."""
        assert self._added == len(self._flagged), "fewer images came than were announced"
        return {"vectors": self._vectors} | ({"flagged": self._flagged} if self.layers else {})

    def sums(self) -> dict[str, np.ndarray]:
        """Return what adds up over shards, the counts in four bytes each: a shard has far fewer patches than that."""
        kept = self._sums if self.layers else {}
        return {name: array.astype(np.uint32) if array.ndim > 1 else array for name, array in kept.items()}

    @property
    def nbytes(self) -> int:
        """How many bytes `rows` and `sums` hold beside the vectors."""
        return (self._flagged.nbytes if self.layers else 0) + sum(array.nbytes for array in self.sums().values())


def _histogram(signal: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        place = (np.log10(np.maximum(signal[np.isfinite(signal)], 0)) - _DECADES[0]) * _BINS_PER_DECADE
    return np.bincount(np.clip(place, 0, len(SIGNAL_EDGES) - 2).astype(np.int64), minlength=len(SIGNAL_EDGES) - 1)


def by_layer(diagnostics: Mapping[str, np.ndarray], n: int) -> list[dict[str, Any]]:
    """Return one row of plain values for each edited block.

    Parameters
    ----------
    diagnostics
        As kept beside the vectors; empty for an untouched backbone.
    n
        Number of images.

    Returns
    -------
    list of dict
        ``layer``; ``artifact_rate``, the mean share of flagged patches (of patches and heads with
        ``scope: head``); ``artifacts_per_image``; ``images_with_artifacts``, a share; ``left_alone``, the number
        of images in which every patch (with ``scope: head``: of some head) was flagged; ``threshold``, its mean;
        ``signal``, quantiles of the signal over all patches and images, to 1 %; ``bimodality``, see `bimodality`.
    """
    if "layers" not in diagnostics:
        return []
    flagged = diagnostics["flagged"]
    return [
        {
            "layer": int(layer),
            "artifact_rate": float(diagnostics["rate"][i] / n),
            "artifacts_per_image": float(flagged[:, i].mean()),
            "images_with_artifacts": float((flagged[:, i] > 0).mean()),
            "left_alone": int(diagnostics["left_alone"][i]),
            "threshold": _finite(diagnostics["threshold"][i] / n),
            "signal": _quantiles(diagnostics["signal"][i], diagnostics["signal_edges"]),
            "bimodality": bimodality(diagnostics["signal"][i], diagnostics["signal_edges"]),
        }
        for i, layer in enumerate(diagnostics["layers"])
    ]


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def bimodality(counts: np.ndarray, edges: np.ndarray) -> float | None:
    """Return Sarle's bimodality coefficient, (skewness^2 + 1) / kurtosis, of a histogram.

    It lies in (0, 1]: 1 for two points, 5/9 for a uniform distribution, 1/3 for a normal one; above 5/9 speaks
    for two modes, but a heavy skew does so too (SAS/STAT User's Guide, 1990; Pfister et al., 2013,
    doi:10.3389/fpsyg.2013.00700; here without the terms for small samples). The kurtosis is the fourth
    standardised moment, 3 for a normal distribution.

    Parameters
    ----------
    counts, edges
        Counts [bins] and the edges [bins + 1] of their bins; a bin stands for its geometric middle.

    Returns
    -------
    float or None
        None where all values share a bin, or there are none.
    """
    seen = counts > 0
    if seen.sum() < 2:
        return None
    weights, values = counts[seen] / counts.sum(), np.sqrt(edges[:-1] * edges[1:])[seen]
    off = values - weights @ values
    variance, third, fourth = (float(weights @ off**power) for power in (2, 3, 4))
    return (third**2 / variance**3 + 1) * variance**2 / fourth


def _quantiles(counts: np.ndarray, edges: np.ndarray) -> dict[str, float]:
    middles = np.sqrt(edges[:-1] * edges[1:])
    reached = np.cumsum(counts) / max(1, counts.sum())
    places = [min(int(np.searchsorted(reached, p, side="left" if p else "right")), len(middles) - 1) for p in QUANTILES]
    return {f"p{round(100 * p):02d}": float(middles[place]) for p, place in zip(QUANTILES, places, strict=True)}
