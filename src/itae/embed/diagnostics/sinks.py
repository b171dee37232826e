"""Sinks: patches that draw attention, and what they say to those that pay it.

A head that has nothing to say may spend its attention on a token whose value is next to nothing (arXiv 2606.08105 calls
that a NOP sink; other sinks do speak). So two things are told of flagged patches: how long their values are, in each
edited block on the stream as it is edited, and how much attention they get from all tokens, in the untouched model.
Both are ratios to the median of the image's patches that aren't flagged.

Values are looked at in the images that norms are looked at in (`looked_at`), column sums of attention in those whose
maps are kept (`example_rows`). Entries of before have neither.

Letters: B images, S = 1 or H heads, N tokens, T patches, L edited layers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from itae.base.device import on_device
from itae.embed.diagnostics.collect import counts_of, quantiles
from itae.embed.diagnostics.norms import COLUMNS, COLUMNS_OF, NORM_EDGES, bins_of

if TYPE_CHECKING:
    from torch import Tensor

    from itae.edits.site import Site

VALUES = "value_flagged"
"""In an entry's diagnostics: flagged patches by that ratio of values, counted over `NORM_EDGES`, [L, bins]."""
SILENT = 0.25
"""Where the values of flagged patches are shorter than so many times the others', they are taken to say nothing."""


def times_others(signal_BST: Tensor, mask_BST: Tensor) -> Tensor:
    """Return a signal over the median of the patches that aren't flagged, of the same image (and head).

    NaN or infinite where there are none, or their median is 0.
    """
    import torch

    others = signal_BST.masked_fill(mask_BST, math.inf).sort(dim=-1).values
    count = (~mask_BST).sum(dim=-1, keepdim=True)
    middle = [
        others.gather(-1, place)
        for place in (((count - 1) // 2).clamp_(min=0), (count // 2).clamp_(max=others.shape[-1] - 1))
    ]
    median = torch.where(count > 0, (middle[0] + middle[1]) / 2, math.nan)
    return signal_BST / median


def counted_values(site: Site, mask_BST: Tensor, wanted: np.ndarray) -> Tensor:
    """Return counts of the flagged patches of the images `wanted`, bool [B], by the length of their value, [bins].

    Of the vector of all heads, or where heads have flags of their own of each head's.
    """
    import torch

    patches_BHTD = site.v[:, :, site.prefix :].float()
    norms_BST = patches_BHTD.norm(dim=-1) if mask_BST.shape[1] > 1 else patches_BHTD.norm(dim=(1, 3)).unsqueeze(1)
    ratio_BST = times_others(norms_BST, mask_BST)
    images_B11 = on_device(torch.from_numpy(wanted), mask_BST.device).view(-1, 1, 1)
    known_BST = mask_BST & ratio_BST.isfinite() & images_B11
    bins = len(NORM_EDGES) - 1
    places = torch.where(known_BST, bins_of(ratio_BST), bins)
    return counts_of(places.flatten(), bins + 1)[:bins]


def flagged_values(edited: Mapping[str, np.ndarray]) -> dict[int, float]:
    """Return, for each edited block, the median over flagged patches of their values' length against the others'.

    To some 4 %. Blocks in which nothing was flagged in the images that are looked at are left out.
    """
    counts_of_layer = zip(edited.get("layers", ()), edited.get(VALUES, ()), strict=False)
    return {int(layer): quantiles(counts, NORM_EDGES)["p50"] for layer, counts in counts_of_layer if counts.any()}


def sinks_of(baseline: Mapping[str, np.ndarray], edited: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Return what is known of sinks, by block.

    Parameters
    ----------
    baseline, edited
        Diagnostics of both entries, of the same images in the same order.

    Returns
    -------
    dict
        For each block ``attention_max``: the attention that its most attended patch gets from all rows over that of its
        median patch, in the untouched model, median over images. For edited blocks where anything is flagged in images
        that are looked at: ``attention_flagged``, of flagged patches over the median of the others, median over flagged
        patches, in the untouched model; ``values_flagged``, see `flagged_values`.
    """
    found: dict[str, dict[str, float]] = {}
    columns = baseline.get(COLUMNS, np.zeros((0, 0, 0))).astype(np.float64)
    for block in range(columns.shape[1] if len(columns) else 0):  # none where all rows are an older entry's
        here = columns[:, block]
        found[str(block)] = {"attention_max": float(np.median(here.max(axis=-1) / _median(here)))}
    for layer, ratio in _flagged_attention(baseline, columns, edited).items():
        found[str(layer)]["attention_flagged"] = ratio
    for layer, ratio in flagged_values(edited).items():
        found.setdefault(str(layer), {})["values_flagged"] = ratio
    return {block: found[block] for block in sorted(found, key=int)}


def _flagged_attention(
    baseline: Mapping[str, np.ndarray], columns: np.ndarray, edited: Mapping[str, np.ndarray]
) -> dict[int, float]:
    if not len(columns) or "example_mask" not in edited:
        return {}
    _, ours, theirs = np.intersect1d(baseline[COLUMNS_OF], edited["examples"], return_indices=True)
    found = {}
    for i, layer in enumerate(edited["layers"].tolist()):
        ratios = []
        for sums, mask in zip(columns[ours, layer], edited["example_mask"][theirs, i], strict=True):
            if mask.any() and not mask.all():
                ratios += (sums[mask] / _median(sums[~mask])).tolist()
        if ratios:
            found[layer] = float(np.median(ratios))
    return found


def _median(sums: np.ndarray) -> np.ndarray:
    """Return the median over the last axis, or what is least in float16 where that is 0."""
    found: np.ndarray = np.maximum(np.median(sums, axis=-1), np.finfo(np.float16).smallest_subnormal)
    return found
