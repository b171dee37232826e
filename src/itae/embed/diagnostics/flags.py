"""What the detectors saw, streamed during the pass and kept beside the vectors.

Memory is bounded: a histogram and a map of the picture a layer, one small count an image, masks of a few images. A
cached run shows the same as the run that computed it. The norms of the untouched model are in `norms`.

What is flagged is counted in all images. Norms and attention are looked at in a sixteenth of many images: to read all
queries, keys and values once more costs a twentieth of a pass in fp32 and a quarter in bf16 (measured on a CPU). These
images come in short runs, so that most batches pass as if nobody looked: small operations in every block cost more than
the reading.

Letters: B images, S = 1 or H heads, T patches, L edited layers, E embedding width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.base.memory import own_memory
from itae.embed.diagnostics.collect import Collector, bimodality, quantiles
from itae.embed.diagnostics.flag_counts import SIGNAL_EDGES, counted
from itae.embed.diagnostics.norms import NORM_EDGES
from itae.embed.diagnostics.per_image import FLAGS, exact
from itae.embed.diagnostics.sinks import VALUES, counted_values

if TYPE_CHECKING:
    from itae.edits.found import ByDetector
    from itae.edits.site import Flags, Paid, Site


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
    positions
        Of the images in the whole set, for the examples to tell; by default that of the shard.
    """

    def __init__(
        self,
        edit: ByDetector,
        images: int,
        patches: int = 0,
        wanted: np.ndarray | None = None,
        examples: Sequence[int] | None = None,
        positions: np.ndarray | None = None,
    ) -> None:
        super().__init__(images)
        self._wanted = np.zeros(images, bool) if wanted is None else wanted
        self.layers = edit.layers
        self._place = {layer: i for i, layer in enumerate(self.layers)}
        depth, count = len(self.layers), len(examples or ())
        self._whole = examples is not None
        self._examples = np.array(examples or (), np.int64)
        kinds: tuple[type, ...] = (np.uint16, np.float32, np.bool_, np.bool_)
        self._each = {name: own_memory((images, depth), kind) for name, kind in zip(FLAGS, kinds, strict=True)}
        self._so_far = [0] * depth  # images, by layer
        self._sums = {
            "threshold": np.zeros(depth),
            "threshold_of": np.zeros(depth),  # images (or parts of one, by head) that have a threshold
            "signal": np.zeros((depth, len(SIGNAL_EDGES) - 1), np.int64),
            "signal_flagged": np.zeros((depth, len(SIGNAL_EDGES) - 1), np.int64),
        }
        if self._whole:
            self._sums[VALUES] = np.zeros((depth, len(NORM_EDGES) - 1), np.int64)
            self._sums["flagged_at"] = np.zeros((depth, patches), np.int64)
            self._sums |= {"paid": np.zeros((2, depth)), "paid_of": np.zeros(depth, np.int64)}
            places = np.arange(images) if positions is None else positions
            self._some = {
                "examples": places[self._examples],
                "example_mask": own_memory((count, depth, patches), np.bool_),
                "example_paid": own_memory((count, 2, depth, patches), np.float16),
            }

    def see(self, layer: int, flags: Flags, paid: Paid | None = None) -> None:
        """Take what one batch showed in one block.

        `paid` is the CLS token's attention before and after, [B, H, T] each, the latter None where it isn't known;
        needed only where any image of the batch is looked at.
        """
        i = self._place[layer]
        some = slice(self._so_far[i], self._so_far[i] + len(flags.mask))
        self._so_far[i] = some.stop
        self.later(counted(flags), partial(self._add_counts, i, some))
        if self._whole and self._wanted[some].any():
            self._see_paid(i, some, flags, paid)
            self._see_examples(i, some, flags, paid)

    def values(self, flags: Flags, site: Site) -> None:
        """Take how long the values of flagged patches are where one batch comes to a block; `see` follows."""
        i = self._place[site.layer]
        wanted = self._wanted[self._so_far[i] : self._so_far[i] + len(flags.mask)]
        if self._whole and wanted.any():
            # Once for all edits that have the same flags here, which live at least as long as the site does.
            counts = site.once(("values", id(flags)), lambda: counted_values(site, flags.mask, wanted))
            self.later({"counts": counts}, partial(self._add_values, i))

    def _add_values(self, i: int, found: dict[str, np.ndarray]) -> None:
        self._sums[VALUES][i] += found["counts"]

    def _add_counts(self, i: int, some: slice, found: dict[str, np.ndarray]) -> None:
        for name, value in zip(("threshold", "threshold_of"), found["sums"], strict=True):
            self._sums[name][i] += value
        for name in FLAGS:
            self._each[name][some, i] = found.get(name, False)  # no rule by which there are ties, none tied
        unflagged, flagged = found["signals"]
        self._sums["signal"][i] += unflagged + flagged
        self._sums["signal_flagged"][i] += flagged
        if self._whole:
            self._sums["flagged_at"][i] += found["flagged_at"]

    def _see_paid(self, i: int, some: slice, flags: Flags, paid: Paid | None) -> None:
        rows = np.flatnonzero(self._wanted[some])
        self._sums["paid_of"][i] += len(rows)

        def add(side: int, heads: int, found: dict[str, np.ndarray]) -> None:
            self._sums["paid"][side, i] += found["each"][rows].sum(dtype=np.float64) / heads

        for side, weights_BHT in enumerate(paid or (None, None)):
            if weights_BHT is None:
                self._sums["paid"][side, i] = np.nan
            else:
                each_B = (weights_BHT * flags.mask).sum(dim=(1, 2))
                self.later({"each": each_B}, partial(add, side, weights_BHT.shape[1]))

    def _see_examples(self, i: int, some: slice, flags: Flags, paid: Paid | None) -> None:
        def keep(name: str, place: tuple[int, ...], found: dict[str, np.ndarray]) -> None:
            self._some[name][place] = found["row"]

        for example in np.flatnonzero((self._examples >= some.start) & (self._examples < some.stop)).tolist():
            image = int(self._examples[example]) - some.start
            self.later({"row": flags.mask[image].any(dim=0)}, partial(keep, "example_mask", (example, i)))
            for side, weights_BHT in enumerate(paid or (None, None)):
                if weights_BHT is None:
                    self._some["example_paid"][example, side, i] = np.nan
                else:
                    row = {"row": weights_BHT[image].mean(dim=0)}
                    self.later(row, partial(keep, "example_paid", (example, side, i)))

    def rows(self) -> dict[str, np.ndarray]:
        """Return what has a row an image: `vectors` [b, E], and what was flagged in each layer [b, L]."""
        return super().rows() | self._each

    def sums(self) -> dict[str, np.ndarray]:
        """Return what adds up over shards."""
        return super().sums() | exact(self._each)

    @property
    def nbytes(self) -> int:
        """How many bytes a shard holds beside the vectors and what is of some images only."""
        return super().nbytes + sum(array.nbytes for array in self._each.values())


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
        of images in which every patch (with ``scope: head``: of some head) was flagged, or, under
        ``edit=neighbour_mean``, some patch with all its neighbours; ``tied``, the number of images
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


def _mean(total: float, count: float) -> float | None:
    return float(total / count) if count and np.isfinite(total) else None
