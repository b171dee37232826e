"""A walk of many images through the blocks, on which what edits need of calibration images is found.

Each block is seen on the stream as the blocks before it leave it, edited by what was fitted there. Edits with the same
history share the stream, and those with the same detector the fit. Where patches are found in the untouched model, the
blocks that are looked at are fitted on its stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from itae.base.identity import key_of
from itae.edits.edit import Edit
from itae.edits.found import ByDetector
from itae.edits.shuffle import Flagged, Pool, Shuffle, flagged_values
from itae.edits.site import Site
from itae.embed.edited_blocks import Batch, EditedBlocks, Found, Parting
from itae.vit.door import fused

Fitting = Callable[[int, list[int], list[Tensor]], float]
"""Called with a block's index, the positions of edits, and what their detector sees there; returns the threshold."""
Gathering = Callable[[int, list[int], Pool], None]
"""Called with a block's index, the positions of edits, and the values of what they flag there."""

_Streams = list[tuple[Batch, Tensor]]


def walk(
    blocks: EditedBlocks,
    batches: Iterable[tuple[Tensor, Sequence[bytes]]],
    fit: Fitting,
    gather: Gathering | None = None,
) -> None:
    """Go through the edits' blocks in order with all of `batches`, to fit thresholds and gather values on the way.

    Parameters
    ----------
    blocks
        The model's, with edits by detectors; they have afterwards what was found.
    batches
        Pixels [B, 3, height, width], normalised, and the sha256 of each image's file, B of 32 bytes. The stream of all
        of them is held in memory.
    fit
        Called as ``fit(layer, positions, signals)`` with what the detector of the edits at `positions` sees of each
        batch; returns the threshold.
    gather
        Called, if anything is to be gathered, as ``gather(layer, positions, pool)`` with the values of what the edits
        at `positions` flag in a block. Edits of patches that are found elsewhere have their thresholds then.
    """
    with torch.inference_mode(), fused(blocks.blocks):
        _Walk(blocks, fit, gather).through(batches)


@dataclass
class _Walk:
    blocks: EditedBlocks
    fit: Fitting
    gather: Gathering | None

    def through(self, batches: Iterable[tuple[Tensor, Sequence[bytes]]]) -> None:
        """Settle all edits."""
        edits = [self._edit(position) for position in range(len(self.blocks.plan.edits))]
        visits = {p: edit.looks if edit.unfitted else edit.layers for p, edit in enumerate(edits)}
        starts: dict[int, list[int]] = {}
        for position, layers in visits.items():
            starts.setdefault(layers[0], []).append(position)
        each = []
        for pixels, digests in batches:
            flagged: Found = {}
            record = self.blocks.record(pixels, digests, flagged=flagged if self.gather else None, starts=starts)
            each.append(Batch(record.only_inputs(), digests, flagged=flagged))
        for first, positions in starts.items():
            streams = [(batch, batch.record.inputs.pop(first)) for batch in each]
            untouched = [p for p in positions if edits[p].in_untouched and edits[p].unfitted]
            self._settle_untouched(streams, first, untouched)
            self._settle(streams, first, {p: visits[p][-1] for p in positions if p not in untouched})

    def _edit(self, position: int) -> ByDetector:
        return self.blocks.plan.by_detector([position])

    def _settle(self, streams: _Streams, layer: int, ends: dict[int, int]) -> None:
        """Settle edits, given by their positions and last blocks, of one stream so far, from block `layer` on."""
        while ends:
            self._fit_block(streams, layer, [p for p in ends if self._edit(p).to_fit(layer)])
            self._gather_block(streams, layer, [p for p in ends if self.gather and layer in self._edit(p).lacking()])
            ends = {p: end for p, end in ends.items() if layer < end}  # the others are done
            ways = self.blocks.plan.ways(layer, list(ends))
            for way in ways[:-1]:
                self._settle(self._advanced(streams, layer, way), layer + 1, {p: ends[p] for p in way})
            if ways:
                ends = {p: ends[p] for p in ways[-1]}
                streams, layer = self._advanced(streams, layer, ways[-1]), layer + 1

    def _settle_untouched(self, streams: _Streams, layer: int, positions: list[int]) -> None:
        """Fit the edits at `positions`, that look at the untouched model, from block `layer` on."""
        while to_fit := [p for p in positions if self._edit(p).unfitted_from(layer)]:
            self._fit_block(streams, layer, [p for p in to_fit if self._edit(p).to_fit(layer)])
            if not any(self._edit(p).unfitted_from(layer + 1) for p in to_fit):
                return
            block = self.blocks.blocks[layer]
            streams = [(batch, block(x, **batch.record.kwargs(layer))) for batch, x in streams]
            layer += 1

    def _advanced(self, streams: _Streams, layer: int, positions: list[int]) -> _Streams:
        return [(batch, self.blocks.block(batch, x, layer, Parting([positions]))) for batch, x in streams]

    def _site(self, batch: Batch, x: Tensor, layer: int) -> Site:
        return self.blocks.site(self.blocks.operands(batch, x, layer), layer, x, batch.digests)

    def _fit_block(self, streams: _Streams, layer: int, positions: list[int]) -> None:
        """Give edits the threshold of a block, those together that have the same detector."""
        alike: dict[str, list[int]] = {}
        for position in positions:
            alike.setdefault(repr(key_of(self._edit(position).judge)), []).append(position)
        signals: list[list[Tensor]] = [[] for _ in alike]
        for batch, x in streams if alike else []:
            site = self._site(batch, x, layer)
            for group, seen in zip(alike.values(), signals, strict=True):
                seen.append(self._edit(group[0]).judge.signal(site))
        for group, seen in zip(alike.values(), signals, strict=True):
            theta = self.fit(layer, group, seen)
            for position in group:
                edit = self._edit(position)
                self.blocks.plan.take(position, edit.with_thetas({**(edit.thetas or {}), layer: theta}))

    def _gather_block(self, streams: _Streams, layer: int, positions: list[int]) -> None:
        """Give edits the values of what they flag in a block, those together that flag the same."""
        plan, alike = self.blocks.plan, dict[str, list[int]]()
        for position in positions:
            alike.setdefault(plan.finds[position][self._edit(position).look(layer)], []).append(position)
        found: list[list[Flagged]] = [[] for _ in alike]
        parts = [1] * len(alike)
        for batch, x in streams if alike else []:
            site = self._site(batch, x, layer)
            for i, group in enumerate(alike.values()):
                flags = self.blocks.flags(batch, site, group[0], self._edit(group[0]))
                found[i].append(flagged_values(site, flags))
                parts[i] = flags.mask.shape[1]
        for some, count, group in zip(found, parts, alike.values(), strict=True):
            pool = Pool.of(some, count)
            assert self.gather is not None
            self.gather(layer, group, pool)
            for position in group:
                edit = self._edit(position)
                assert isinstance(edit, Edit) and isinstance(edit.attenuator, Shuffle)  # noqa: PT018
                plan.take(position, replace(edit, attenuator=edit.attenuator.with_pool(layer, pool)))
