"""One pass of a frozen vision transformer for many edits.

**Record and replay.** The untouched model runs once; that is the baseline. Its blocks' arguments are recorded
on the way, and each edit replays the blocks from its first one on. Nothing is left behind on exit or after
an exception.

Edits share the way as far as they do the same (`itae.embed.edited_blocks`). Those that add a token have streams of
their own, from the first block on, and so has one that sets registers. Edits that take the mean over views of an image
have the untouched pass as their first; each other view passes once, whoever wants it.

**Finish on the CLS row.** An embedding that is the CLS token, or its projection, needs one row of the last block's
attention, and the patches' queries only if a detector reads them. All edits' rows go through the rest of that block
together, as a batch of single CLS tokens: everything in a block but attention works token by token. One that is made of
the CLS token and the registers needs the few rows of the prefix tokens, which go the same way.

Letters: B images, H heads, N tokens, D head width, E embedding width, S = 1 or H.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from itae.edits.attention import first_rows, prefix_rows
from itae.edits.augment import AugmentEdit, View
from itae.edits.edit import AnyEdit
from itae.edits.register_mean import RegisterMeanEdit
from itae.embed.edited_blocks import Batch, EditedBlocks, Found, Parting, logits_of_first
from itae.embed.watch import Watch
from itae.vit.door import Door, Tape, exactly_once, fused, fused_qkv
from itae.vit.tokens import appended, registers


class SharedPass(EditedBlocks):
    """Embed batches of images under several edits for little more than the price of one.

    Parameters
    ----------
    model
        A timm vision transformer in eval mode, with `blocks` and `norm`.
    prefix
        How many tokens before the first patch.
    pool
        ``cls``, ``mean`` (of the patch tokens), ``head`` (the model's own pooling), ``projection`` (that, through
        the model's head) or ``cls_registers`` (the CLS token, then the mean of the registers).
    edits
        What to compute, in this order; None is the untouched model.
    watch
        Who looks on.
    """

    def __init__(
        self, model: nn.Module, prefix: int, pool: str, edits: Sequence[AnyEdit | None], watch: Watch | None = None
    ) -> None:
        # Only the first rows of the last block are needed, and known to be all that are; 0 where all may be.
        reads_cls = pool == "cls" or (pool == "projection" and prefix > 0 and _reads_cls(model))
        super().__init__(model, prefix, edits, watch, prefix if pool == "cls_registers" else int(reads_cls))
        self.pool, self.registers = pool, slice(prefix - registers(model), prefix)

    def __call__(self, pixels: Tensor, digests: Sequence[bytes], look: bool = True) -> list[Tensor]:
        """Return one [B, E] embedding an edit.

        Parameters
        ----------
        pixels
            [B, 3, height, width], normalised.
        digests
            The sha256 of each image's file, B of 32 bytes.
        look
            Whether whoever looks on is shown attention, operands and outputs; of flags everything is shown always.
        """
        with torch.inference_mode(), fused(self.blocks):
            flagged: Found = {}
            batch = Batch(self.record(pixels, digests, look, flagged), digests, look, flagged)
            for position in self.plan.untouched():
                assert batch.record.tokens is not None
                batch.out[position] = self._pool(batch.record.tokens)
            self._look_again(batch, pixels)
            for extra, positions in self.plan.with_tokens().items():
                self._follow(batch, appended(self.model, batch.record.inputs[0], extra), 0, positions)
            for first, positions in self.plan.starts().items():
                inputs, tapes = batch.record.inputs, batch.record.tapes
                self._follow(batch, inputs.pop(first), first, positions, tapes.pop(first, None))
            self._finish(batch)
            return [batch.out[position] for position in range(len(self.plan.edits))]

    def _look_again(self, batch: Batch, pixels: Tensor) -> None:
        """Take the mean over views for the edits that want it, each adding them in its own order."""
        seen: dict[View, Tensor] = {}
        for position, edit in enumerate(self.plan.edits):
            if isinstance(edit, AugmentEdit):
                seen = seen or {View(): batch.out[position]}  # so far what the untouched model gave
                for view in edit.views:
                    if view not in seen:
                        seen[view] = self._pool(self.model.forward_features(view.of(pixels)))  # type: ignore[operator]
                total = functools.reduce(torch.add, [seen[view] for view in edit.views])
                batch.out[position] = total / len(edit.views)

    def _follow(self, batch: Batch, x: Tensor, layer: int, positions: list[int], tape: Tape | None = None) -> None:
        """Walk the stream that the edits at `positions` have in common from block `layer` to the end.

        `tape` has that block's way to its attention call on these tokens.
        """
        while layer <= self.last:
            if layer == self.last and self.finish_rows:
                sets = any(isinstance(self.plan.edits[position], RegisterMeanEdit) for position in positions)
                for way in self.plan.ways(layer, positions) if sets else [positions]:
                    entering = self.entering(way, x, layer)
                    self._last_rows(batch, entering, way, tape if entering is x else None)
                return
            ways = self.plan.ways(layer, positions)
            parting, tape = Parting(ways, tape), None
            for way in ways[:-1]:
                self._follow(batch, self.block(batch, x, layer, parting), layer + 1, way)
            x, positions = self.block(batch, x, layer, parting), ways[-1]
            layer += 1
        x = x[:, : x.shape[1] - self.plan.of(positions).extra]
        embedding = self._pool(self.model.norm(x))  # type: ignore[operator]
        batch.out |= dict.fromkeys(positions, embedding)

    def _last_rows(self, batch: Batch, x: Tensor, positions: list[int], tape: Tape | None) -> None:
        """Keep the rows of the last block's attention that the embedding reads, for each of the edits."""
        edits = [self.plan.of([position]) for position in positions]
        # Nobody needs the other tokens' queries, unless a detector looks at them.
        qkv = None if any(edit.reads_queries for edit in edits) else fused_qkv(self.blocks[self.last])
        call = self.operands(batch, x, self.last, edits[0].extra, tape, qkv)
        site = self.site(call, self.last, x, batch.digests)
        ways = self.plan.ways(self.last, positions)
        edited = [way for way in ways if self.plan.of(way).attends(self.last)]
        of = first_rows if self.finish_rows == 1 else prefix_rows
        rows = of(call, self.rules(batch, site, edited), self.prefix, logits_of_first(site, self.finish_rows))
        for way in (way for way in ways if self.plan.replaces(way, self.last)):
            replaced, show = self.replaced(batch, site, way)
            call_on_these = self.operands(batch, replaced, self.last, qkv=qkv)
            show(call_on_these)
            edited.append(way)
            rows.append(call_on_these.plain(call_on_these.q[:, :, : self.finish_rows]))
        if len(edited) < len(ways):
            edited.append([position for way in ways if way not in edited for position in way])
            rows.append(call.plain(call.q[:, :, : self.finish_rows]))
        for way, row in zip(edited, rows, strict=True):
            batch.rows += [(position, x[:, : self.finish_rows], row) for position in way]

    def _finish(self, batch: Batch) -> None:
        """Run the last block's rest and the final norm on the first tokens of all edits, as one batch.

        The block runs on sequences of these tokens alone; the door answers its attention call with the
        rows that are already known, so that the attention's own tail (inner norm, gate, projection) follows.
        """
        if not batch.rows:
            return
        positions, x, row = zip(*batch.rows, strict=True)
        known_BHRD = torch.cat(row)
        kwargs = batch.record.kwargs(self.last)
        if "rope" in kwargs:  # a position for each patch, and there are none here; q and k aren't used
            kwargs = {**kwargs, "rope": None}
        with Door(lambda q, k, v, **_: known_BHRD) as door:
            tokens = self.blocks[self.last](torch.cat(x), **kwargs)
        exactly_once(self.last, door.calls)
        embeddings = self._pool(self.model.norm(tokens))  # type: ignore[operator]
        batch.out |= zip(positions, embeddings.chunk(len(positions)), strict=True)

    def _pool(self, tokens: Tensor) -> Tensor:
        if self.pool == "cls":
            return tokens[:, 0].float()
        if self.pool == "mean":
            return tokens[:, self.prefix :].float().mean(dim=1)
        if self.pool == "cls_registers":
            return torch.cat([tokens[:, 0].float(), tokens[:, self.registers].float().mean(dim=1)], dim=1)
        return self.model.forward_head(tokens, pre_logits=self.pool == "head").float()  # type: ignore[operator]


def _reads_cls(model: nn.Module) -> bool:
    """Return whether a timm model's own pooling takes the CLS token and looks at no other."""
    return getattr(model, "global_pool", None) == "token" and getattr(model, "attn_pool", None) is None
