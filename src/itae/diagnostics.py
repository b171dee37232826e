"""What the detectors saw, streamed during the pass and kept beside the vectors.

Memory is bounded: a histogram and a map of the picture a layer, one small count an image, masks of a few images. A
cached run shows the same as the run that computed it. The norms of the untouched model are in `itae.norms`.

What is flagged is counted in all images. Norms and attention are looked at in a sixteenth of many images: to read all
queries, keys and values once more costs a twentieth of a pass in fp32 and a quarter in bf16 (measured on a CPU). These
images come in short runs, so that most batches pass as if nobody looked: small operations in every block cost more than
the reading.

Letters: B images, S = 1 or H heads, T patches, L edited layers, E embedding width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.runtime import own_memory

if TYPE_CHECKING:
    from torch import Tensor

    from itae.backbone import Facts
    from itae.detect import Flags
    from itae.edit import AnyEdit, Edit
    from itae.registers import RegisterEdit
    from itae.replay import Paid

_BINS_PER_DECADE = 128
_DECADES = (-5, 5)
SIGNAL_EDGES = np.logspace(*_DECADES, (_DECADES[1] - _DECADES[0]) * _BINS_PER_DECADE + 1)
"""Edges of the bins of a signal's histogram, 1.8 % apart; what lies outside falls into the first or last bin."""

QUANTILES = (0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0)


EXAMPLES = 12
"""Images of which it is kept which patches were flagged, to be drawn."""


_ROUNDING = 1e-12  # what a cosine distance of float32 vectors is off by
_RUN = 8  # images that are looked at in a row


def looked_at(n: int) -> np.ndarray:
    """Return the positions of the images that are looked at: a sixteenth of `n` in runs of 8, or more to have 64."""
    share = min(16, max(1, n // 64))
    i = np.arange(n)
    return i[i % (_RUN * share) < _RUN]


class Collector:
    """Gather vectors over a shard of images.

    Parameters
    ----------
    images
        How many will come.
    """

    def __init__(self, images: int) -> None:
        self.images = images
        self._vectors = np.empty((0, 0), np.float32)
        self._added = 0
        self._sums: dict[str, np.ndarray] = {}
        self._some: dict[str, np.ndarray] = {}

    def add(self, vectors: np.ndarray) -> None:
        """Take the vectors of one batch, float32 [b, E]."""
        if not self._added:
            self._vectors = own_memory((self.images, vectors.shape[1]), np.float32)
        self._vectors[self._added : self._added + len(vectors)] = vectors
        self._added += len(vectors)

    def rows(self) -> dict[str, np.ndarray]:
        """Return what has a row an image: `vectors` [b, E]."""
        assert self._added == self.images, "fewer images came than were announced"
        return {"vectors": self._vectors}

    def sums(self) -> dict[str, np.ndarray]:
        """Return what adds up over shards, counts in four bytes each: a shard has far fewer patches than that."""
        return {
            name: array.astype(np.uint32) if array.ndim > 1 and array.dtype == np.int64 else array
            for name, array in self._sums.items()
        }

    def some(self) -> dict[str, np.ndarray]:
        """Return what has a row for some of the images only."""
        return self._some

    @property
    def nbytes(self) -> int:
        """How many bytes a shard holds beside the vectors and what is of some images only."""
        return sum(array.nbytes for array in self.sums().values())


class FlagCollector(Collector):
    """Gather an edit's vectors over a shard of images, and what it flagged.

    Parameters
    ----------
    edit
        The edit.
    images
        How many will come.
    patches
        How many there are in an image.
    wanted
        Which of the images attention is looked at in, bool [images].
    examples
        Places in the shard of the images of which masks [k, L, T] and the CLS token's attention, mean over heads
        [k, 2, L, T], are kept. None keeps neither these nor maps.
    """

    def __init__(
        self,
        edit: Edit,
        images: int,
        patches: int = 0,
        wanted: np.ndarray | None = None,
        examples: Sequence[int] | None = None,
    ) -> None:
        super().__init__(images)
        self._wanted = np.zeros(images, bool) if wanted is None else wanted
        self.layers = edit.layers
        self._place = {layer: i for i, layer in enumerate(self.layers)}
        depth, count = len(self.layers), len(examples or ())
        self._whole = examples is not None
        self._examples = np.array(examples or (), np.int64)
        self._flagged = own_memory((images, depth), np.uint16)
        self._so_far = [0] * depth  # images, by layer
        self._sums = {
            "rate": np.zeros(depth),
            "threshold": np.zeros(depth),
            "threshold_of": np.zeros(depth),  # images (or parts of one, by head) that have a threshold
            "tied": np.zeros(depth, np.int64),
            "left_alone": np.zeros(depth, np.int64),
            "signal": np.zeros((depth, len(SIGNAL_EDGES) - 1), np.int64),
            "signal_flagged": np.zeros((depth, len(SIGNAL_EDGES) - 1), np.int64),
        }
        if self._whole:
            self._sums["flagged_at"] = np.zeros((depth, patches), np.int64)
            self._sums |= {"paid": np.zeros((2, depth)), "paid_of": np.zeros(depth, np.int64)}
            self._some = {
                "example_mask": own_memory((count, depth, patches), np.bool_),
                "example_paid": own_memory((count, 2, depth, patches), np.float16),
            }

    def see(self, layer: int, flags: Flags, paid: Paid | None = None) -> None:
        """Take what one batch showed in one block.

        `paid` is the CLS token's attention before and after, [B, H, T] each, the latter None where it isn't known;
        needed only where any image of the batch is looked at.
        """
        i = self._place[layer]
        mask_BST = flags.mask
        self._sums["rate"][i] += float(mask_BST.float().mean(dim=(1, 2)).double().sum())
        threshold_BS1 = flags.threshold.double()
        known_BS1 = ~threshold_BS1.isnan()
        self._sums["threshold"][i] += float(threshold_BS1.where(known_BS1, 0.0).mean(dim=(1, 2)).sum())
        self._sums["threshold_of"][i] += float(known_BS1.double().mean(dim=(1, 2)).sum())
        if flags.tied is not None:
            self._sums["tied"][i] += int(flags.tied.any(dim=1).sum())
        self._sums["left_alone"][i] += int(mask_BST.all(dim=-1).any(dim=-1).sum())
        signal_BST = flags.signal.float()  # a detector of somebody's own may have it in the model's precision
        self._sums["signal"][i] += _histogram(signal_BST.cpu().numpy())
        self._sums["signal_flagged"][i] += _histogram(signal_BST[mask_BST].cpu().numpy())
        some = slice(self._so_far[i], self._so_far[i] + len(mask_BST))
        any_head = mask_BST.any(dim=1)
        self._flagged[some, i] = any_head.sum(dim=-1).cpu().numpy()
        self._so_far[i] = some.stop
        if self._whole:
            self._sums["flagged_at"][i] += any_head.sum(dim=0).cpu().numpy()
            if len(rows := np.flatnonzero(self._wanted[some])):
                self._see_paid(i, rows, mask_BST, paid)
                self._see_examples(i, some, any_head, paid)

    def _see_paid(self, i: int, rows: np.ndarray, mask_BST: Tensor, paid: Paid | None) -> None:
        self._sums["paid_of"][i] += len(rows)
        for side, weights_BHT in enumerate(paid or (None, None)):
            if weights_BHT is None:
                self._sums["paid"][side, i] = np.nan
            else:
                each_B = (weights_BHT * mask_BST).sum(dim=(1, 2)).cpu().numpy()
                self._sums["paid"][side, i] += each_B[rows].sum(dtype=np.float64) / weights_BHT.shape[1]

    def _see_examples(self, i: int, some: slice, any_head: Tensor, paid: Paid | None) -> None:
        here = np.flatnonzero((self._examples >= some.start) & (self._examples < some.stop))
        for example in here:
            image = int(self._examples[example]) - some.start
            self._some["example_mask"][example, i] = any_head[image].cpu().numpy()
            for side, weights_BHT in enumerate(paid or (None, None)):
                row = np.nan if weights_BHT is None else weights_BHT[image].mean(dim=0).cpu().numpy()
                self._some["example_paid"][example, side, i] = row

    def rows(self) -> dict[str, np.ndarray]:
        """Return what has a row an image: `vectors` [b, E], and the patches `flagged` in each layer [b, L]."""
        return super().rows() | {"flagged": self._flagged}

    @property
    def nbytes(self) -> int:
        """How many bytes a shard holds beside the vectors and what is of some images only."""
        return super().nbytes + self._flagged.nbytes


class OutlierCollector(Collector):
    """Gather the vectors of an edit that adds a token, and how many outliers it leaves among the patches.

    Parameters
    ----------
    edit
        The edit, whose rule tells outliers.
    images
        How many will come.
    prefix
        How many tokens before the first patch.
    """

    def __init__(self, edit: RegisterEdit, images: int, prefix: int) -> None:
        super().__init__(images)
        self._edit, self._prefix = edit, prefix
        self._sums = {"outliers_left": np.zeros(1), "outliers_of": np.zeros(1, np.int64)}

    def see(self, layer: int, tokens_BNE: Tensor) -> None:
        """Take what left a block in one batch, the added token last."""
        if layer == self._edit.settings.outlier_layer:
            norms_BT = tokens_BNE[:, self._prefix : -self._edit.extra].float().norm(dim=-1)
            self._sums["outliers_left"] += float(self._edit.outliers(norms_BT).float().mean(dim=1).double().sum())
            self._sums["outliers_of"] += len(norms_BT)


def outliers_left(diagnostics: Mapping[str, np.ndarray]) -> float | None:
    """Return the share of patches that are outliers still, None where nobody counted."""
    of = diagnostics.get("outliers_of", np.zeros(1))[0]
    return float(diagnostics["outliers_left"][0] / of) if of else None


def example_rows(n: int) -> list[int]:
    """Return the positions of the images of which masks are kept, spread evenly over those that are looked at."""
    rows = looked_at(n)
    return sorted({int(rows[round(place)]) for place in np.linspace(0, len(rows) - 1, min(len(rows), EXAMPLES))})


def collector(
    edit: AnyEdit | None, facts: Facts, images: int, diagnostics: bool, first: int = 0, n: int | None = None
) -> Collector:
    """Return what gathers the vectors of one edit, or of the untouched model, and its diagnostics if they are wanted.

    Parameters
    ----------
    edit
        The edit, or None for the untouched model.
    facts
        Of the model.
    images
        How many will come.
    diagnostics
        Whether norms, maps and attention are wanted; counts of what is flagged are kept anyway.
    first, n
        Position of the first of them in the whole set, and how many that has (as many as will come).
    """
    from itae.edit import Edit
    from itae.norms import NormCollector
    from itae.registers import RegisterEdit

    n = images if n is None else n
    wanted = np.isin(np.arange(first, first + images), looked_at(n))
    if edit is None:
        return NormCollector(facts, images, wanted) if diagnostics else Collector(images)
    if isinstance(edit, RegisterEdit):
        return OutlierCollector(edit, images, facts.prefix) if diagnostics else Collector(images)
    assert isinstance(edit, Edit)
    if not diagnostics:
        return FlagCollector(edit, images)
    height, width = facts.grid
    examples = [i - first for i in example_rows(n) if first <= i < first + images]
    return FlagCollector(edit, images, height * width, wanted, examples)


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
        of images in which every patch (with ``scope: head``: of some head) was flagged; ``tied``, the number of images
        in which (or in some head of which) nothing was, since too many patches have the same signal; ``threshold``,
        its mean over the images that have one;
        ``signal``, quantiles of the signal over all patches and images, to 1 %; ``bimodality``, see `bimodality`;
        ``cls_attention_before`` and ``cls_attention_after``, the CLS token's attention on flagged patches in that
        block, as it would be and as it is, mean over heads and the images that are looked at; None without
        diagnostics or a CLS token.
    """
    if "layers" not in diagnostics:
        return []
    flagged = diagnostics["flagged"]
    depth = len(diagnostics["layers"])
    tied, with_threshold = diagnostics.get("tied", np.zeros(depth)), diagnostics.get("threshold_of", np.full(depth, n))
    paid, of = diagnostics.get("paid", np.full((2, depth), np.nan)), diagnostics.get("paid_of", np.full(depth, n))
    return [
        {
            "layer": int(layer),
            "artifact_rate": float(diagnostics["rate"][i] / n),
            "artifacts_per_image": float(flagged[:, i].mean()),
            "images_with_artifacts": float((flagged[:, i] > 0).mean()),
            "left_alone": int(diagnostics["left_alone"][i]),
            "tied": int(tied[i]),
            "threshold": _mean(diagnostics["threshold"][i], with_threshold[i]),
            "signal": quantiles(diagnostics["signal"][i], diagnostics["signal_edges"]),
            "bimodality": bimodality(diagnostics["signal"][i], diagnostics["signal_edges"]),
            "cls_attention_before": _mean(paid[0, i], of[i]),
            "cls_attention_after": _mean(paid[1, i], of[i]),
        }
        for i, layer in enumerate(diagnostics["layers"])
    ]


def cosine_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return 1 - cosine between the rows of two arrays [n, E], float64 [n]; 0 where they differ by rounding alone."""
    from sklearn.metrics.pairwise import paired_cosine_distances
    from sklearn.utils import gen_batches

    far = np.empty(len(a))
    for some in gen_batches(len(a), 4096):  # in one go it would take several copies of all embeddings
        x, y = a[some].astype(np.float64), b[some].astype(np.float64)
        far[some] = np.where((x == y).all(axis=1), 0.0, paired_cosine_distances(x, y))
    return np.where(far < _ROUNDING, 0.0, far)


def moved(far: np.ndarray) -> dict[str, float]:
    """Return how far an edit moved the embeddings, from each one's cosine distance [n]: mean, median, p95 and most."""
    quantile = {name: float(np.quantile(far, p)) for name, p in (("p50", 0.5), ("p95", 0.95), ("max", 1.0))}
    return {"mean": float(far.mean())} | quantile


def _mean(total: float, count: float) -> float | None:
    return float(total / count) if count and np.isfinite(total) else None


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


def quantiles(counts: np.ndarray, edges: np.ndarray) -> dict[str, float]:
    """Return `QUANTILES` of a histogram by name, ``p50`` the median; a bin stands for its geometric middle."""
    middles = np.sqrt(edges[:-1] * edges[1:])
    reached = np.cumsum(counts) / max(1, counts.sum())
    places = [min(int(np.searchsorted(reached, p, side="left" if p else "right")), len(middles) - 1) for p in QUANTILES]
    return {f"p{round(100 * p):02d}": float(middles[place]) for p, place in zip(QUANTILES, places, strict=True)}
