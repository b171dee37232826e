"""How long queries, keys, values and tokens are in every block of the untouched model, streamed during its pass.

Artifacts stand out by these lengths, so this is what a threshold is looked for in. A site is named as in the
interpretability literature: ``q[l]``, ``k[l]``, ``v[l]`` enter the attention of block l (after query/key norm and RoPE;
the norm is of the H*D vector, or of each head's D), ``resid_post[l]`` is the residual stream behind the block.
Norms are taken in fp32, of patch tokens alone.

Memory is bounded: one histogram a site, and one a head, over the images that are looked at (`looked_at`). In the few
whose maps are kept it is seen, too, how much attention each patch gets from all tokens (`columns`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.base.device import on_device
from itae.base.memory import own_memory
from itae.edits.bimodal import VALLEY
from itae.embed.diagnostics.collect import Collector, Later, bimodality, counts_of, quantiles
from itae.embed.diagnostics.columns import column_sums

if TYPE_CHECKING:
    from torch import Tensor

    from itae.vit.door import Call
    from itae.vit.facts import Facts

_BINS_PER_DECADE = 32
_DECADES = (-3, 5)
_BINS = (_DECADES[1] - _DECADES[0]) * _BINS_PER_DECADE
NORM_EDGES = np.logspace(*_DECADES, _BINS + 1)
"""Edges of the bins of a norm's histogram, 7.5 % apart; what lies outside falls into the first or last bin."""

SITES = ("q", "k", "v", "resid_post")
_PREFIX = "norm."
COLUMNS_OF, COLUMNS = "example_columns_of", "example_columns"
"""In an entry's diagnostics: positions of some images [k], and what each of their patches gets, float16 [k, L, T]."""
_SMOOTH = 1.5  # bins: a mode is no ripple of the histogram
_FEWEST = 1e-4  # share of the patches that a mode holds at least


class NormCollector(Collector):
    """Gather the untouched model's vectors over a shard of images, and the norms in all of its blocks.

    Parameters
    ----------
    facts
        Of the model.
    images
        How many will come.
    wanted
        Which of them are looked at, bool [images].
    examples
        Places in the shard of those of which column sums of attention are kept, some of `wanted`.
    positions
        Of the images in the whole set, for the examples to tell; by default that of the shard.
    """

    def __init__(
        self,
        facts: Facts,
        images: int,
        wanted: np.ndarray,
        examples: Sequence[int] = (),
        positions: np.ndarray | None = None,
    ) -> None:
        super().__init__(images)
        height, width = facts.grid
        self._examples = np.array(examples, np.int64)
        places = np.arange(images) if positions is None else positions
        self._some = {
            COLUMNS_OF: places[self._examples],
            COLUMNS: own_memory((len(examples), facts.depth, height * width), np.float16),
        }
        self._prefix, self._wanted = facts.prefix, wanted
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(SITES, (facts.depth,))
        shapes |= {f"{name}.head": (facts.depth, facts.heads) for name in SITES[:3]}
        self._sums = {_PREFIX + name: own_memory((*shape, _BINS), np.int64) for name, shape in shapes.items()}
        self._sent = 0
        self._heads: list[list[Tensor]] = []  # of one batch, by block
        self._tokens: list[Tensor] = []

    def operands(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> None:
        """Take what enters the attention of a block, [B, H, N, D] each."""
        rows = self._rows(q)
        self._heads.append([x[rows, :, self._prefix :].float().norm(dim=-1) for x in (q, k, v)])

    def calls(self, layer: int, call: Call) -> None:
        """Take the attention call of a block, of which the examples' column sums are kept."""
        since = self._examples - self._sent
        for example in np.flatnonzero((since >= 0) & (since < len(call.q))).tolist():
            image = int(since[example])
            sums_N = column_sums(call.q[image], call.k[image], call.scale)
            self.later({"row": sums_N[self._prefix :]}, partial(self._keep, (example, layer)))

    def _keep(self, place: tuple[int, int], found: dict[str, np.ndarray]) -> None:
        self._some[COLUMNS][place] = found["row"]

    def output(self, layer: int, x: Tensor) -> None:
        """Take the tokens behind a block, [B, N, E]."""
        self._tokens.append(x[self._rows(x), self._prefix :].float().norm(dim=-1))

    def _rows(self, batch: Tensor) -> slice | Tensor:
        """Return which rows of the batch under way are looked at, as a slice, which is quicker, where one will do."""
        import torch

        rows = np.flatnonzero(self._wanted[self._sent : self._sent + len(batch)])
        if rows[-1] - rows[0] == len(rows) - 1:
            return slice(int(rows[0]), int(rows[-1]) + 1)
        return on_device(torch.from_numpy(rows), batch.device)

    def sent(self, vectors: Tensor) -> list[Later]:
        """End a batch, of these vectors, fp32 [b, E]; return all of it that is to come to the host."""
        import torch

        self._sent += len(vectors)
        if self._heads:
            heads_L3BHT = torch.stack([torch.stack(three) for three in self._heads])
            tokens_L3BT = heads_L3BHT.square().sum(dim=3).sqrt()
            for i, name in enumerate(SITES[:3]):
                self._count(f"{name}.head", heads_L3BHT[:, i].transpose(1, 2))
                self._count(name, tokens_L3BT[:, i])
            self._count(SITES[3], torch.stack(self._tokens))
            self._heads, self._tokens = [], []
        return super().sent(vectors)

    def _count(self, name: str, norms: Tensor) -> None:
        counts = self._sums[_PREFIX + name]

        def add(found: dict[str, np.ndarray]) -> None:
            counts[...] += found["counts"].reshape(counts.shape)

        self.later({"counts": _binned(norms.reshape(math.prod(counts.shape[:-1]), -1))}, add)


def bins_of(norms: Tensor) -> Tensor:
    """Return the bin of each norm."""
    # What isn't finite is counted anywhere: the vectors won't be, either, and that ends the run.
    place = (norms.log10() - _DECADES[0]).mul_(_BINS_PER_DECADE).nan_to_num_(nan=0.0)
    return place.clamp_(0, _BINS - 1).long()


def _binned(norms_GX: Tensor) -> Tensor:
    """Return a histogram for each row, [G, bins]."""
    import torch

    place = bins_of(norms_GX)
    rows = torch.arange(0, len(place) * _BINS, _BINS, device=place.device)
    return counts_of((place + rows.unsqueeze(1)).flatten(), len(rows) * _BINS).view(len(rows), _BINS)


def histograms(diagnostics: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the histograms of an untouched backbone's diagnostics over `NORM_EDGES`, by name.

    ``q``, ``k``, ``v`` and ``resid_post`` are [blocks, bins]; ``q.head``, ``k.head``, ``v.head`` [blocks, heads, bins].
    Empty where none were kept (``runtime.diagnostics=false``).
    """
    return {name.removeprefix(_PREFIX): array for name, array in diagnostics.items() if name.startswith(_PREFIX)}


def by_site(diagnostics: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """Return what the norms of each site are, ``q[0]`` first.

    Returns
    -------
    dict
        For each site ``norm``, quantiles to some 4 %; ``bimodality``, see `bimodality`; ``modes``,
        see `two_modes`, or None.
    """
    found = histograms(diagnostics)
    return {
        f"{name}[{layer}]": {
            "norm": quantiles(counts, NORM_EDGES),
            "bimodality": bimodality(counts, NORM_EDGES),
            "modes": two_modes(counts),
        }
        for name in SITES
        for layer, counts in enumerate(found.get(name, ()))
        if counts.any()
    }


def two_modes(counts: np.ndarray) -> dict[str, float] | None:
    """Return the two highest modes of a norm's histogram and the gap between them, None where it has one only.

    The histogram is smoothed over the logarithm. Two peaks count as modes if the density between them falls to half of
    the lower one, as for a fitted threshold, and each holds at least one patch in 10,000.

    Returns
    -------
    dict or None
        ``low`` and ``high``, where the modes are; ``valley``, the lowest place between; ``gap``, high / low; ``above``,
        the share of patches beyond the valley.
    """
    from scipy.ndimage import gaussian_filter1d
    from scipy.signal import find_peaks

    density = gaussian_filter1d(counts / counts.sum(), _SMOOTH, mode="constant")
    peaks, _ = find_peaks(np.pad(density, 1))
    peaks -= 1
    best: tuple[float, dict[str, float]] | None = None
    middles = np.sqrt(NORM_EDGES[:-1] * NORM_EDGES[1:])
    for i, low in enumerate(peaks):
        for high in peaks[i + 1 :]:
            valley = low + int(density[low : high + 1].argmin())
            height = min(density[low], density[high])
            above = float(counts[valley + 1 :].sum() / counts.sum())
            if density[valley] > VALLEY * height or not _FEWEST <= above <= 1 - _FEWEST:
                continue
            if best is None or height > best[0]:
                a, b, c = (float(middles[place]) for place in (low, high, valley))
                best = height, {"low": a, "high": b, "valley": c, "gap": b / a, "above": above}
    return best[1] if best else None
