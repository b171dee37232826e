"""One pass of a frozen vision transformer for many edits.

**Record and replay.** The untouched model runs once; that is the baseline. Its blocks' arguments are recorded
on the way, and each edit replays the blocks from its first one on. Nothing is left behind on exit or after
an exception.

**Finish on the CLS row.** An embedding that is the CLS token needs one row of the last block's attention.
All edits' rows go through the rest of that block together, as a batch of single CLS tokens: everything in a
block but attention works token by token.

Letters: B images, H heads, N tokens, D head width, E embedding width, S = 1 or H.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from itae.attention import Call, Door, attend, exactly_once, fused
from itae.detect import Flags, Site
from itae.edit import Edit

Seen = Callable[[int, int, Flags], None]
"""Called with an edit's position in the pass, a block's index, and what was flagged there."""


class _Stop(Exception):  # noqa: N818  (not an error: it ends a forward of which the rest isn't needed)
    pass


class SharedPass:
    """Embed batches of images under several edits for little more than the price of one.

    Parameters
    ----------
    model
        A timm vision transformer in eval mode, with `blocks` and `norm`.
    prefix
        How many tokens before the first patch.
    pool
        ``cls``, ``mean`` (of the patch tokens) or ``head`` (the model's own pooling).
    edits
        What to compute, in this order; None is the untouched model.
    seen
        Called as ``seen(position in edits, layer, flags)`` for every edited block, in their order.
    """

    def __init__(
        self, model: nn.Module, prefix: int, pool: str, edits: Sequence[Edit | None], seen: Seen | None = None
    ) -> None:
        self.model, self.prefix, self.pool = model, prefix, pool
        self.blocks: list[nn.Module] = list(model.blocks)  # type: ignore[arg-type]
        self.last = len(self.blocks) - 1
        self.edits = list(edits)
        self.seen = seen or (lambda position, layer, flags: None)
        # Only the CLS row of the last block is needed, and known to be all that is.
        self.cls_finish = pool == "cls"

    def __call__(self, pixels: Tensor, index: Tensor) -> list[Tensor]:
        """Return one [B, E] embedding an edit.

        Parameters
        ----------
        pixels
            [B, 3, height, width], normalised.
        index
            [B], the position of each image in its data set.
        """
        with torch.inference_mode(), fused(self.blocks):
            record = self._record(pixels)
            out: list[Tensor | None] = [None] * len(self.edits)
            rows: list[tuple[int, Tensor, Tensor]] = []  # what is left to do for the CLS finish
            for position, edit in enumerate(self.edits):
                if edit is None:
                    assert record.tokens is not None
                    out[position] = self._pool(record.tokens)
                    continue
                x, row = self._replay(edit, position, record, index)
                if row is None:
                    out[position] = self._pool(self.model.norm(x))  # type: ignore[operator]
                else:
                    rows.append((position, x[:, :1], row))
            for position, embedding in self._finish(rows, record):
                out[position] = embedding
            return out  # type: ignore[return-value]

    def walk(
        self,
        edit: Edit,
        batches: Iterable[tuple[Tensor, Tensor]],
        settle: Callable[[int, list[Tensor]], Edit],
    ) -> None:
        """Go through an edit's blocks one by one with all of `batches`, to settle it on the way.

        Parameters
        ----------
        edit
            Whose blocks.
        batches
            Pixels and positions, as `__call__` takes them. The stream of all of them is held in memory.
        settle
            Called as ``settle(layer, signals)`` with what the detector sees of each batch in an edited block,
            on the stream as the blocks before it leave it; returns the edit to go on with.
        """
        first, final = edit.layers[0], edit.layers[-1]
        with torch.inference_mode(), fused(self.blocks):
            records = [(self._record(pixels).only_inputs(), index) for pixels, index in batches]
            streams = [(record.inputs.pop(first), record, index) for record, index in records]
            for layer in range(first, final + 1):
                if layer in edit.layers:
                    signals = [self._signal(edit, layer, *stream) for stream in streams]
                    edit = settle(layer, signals)
                if layer < final:
                    streams = [(self._block(edit, None, layer, *stream), *stream[1:]) for stream in streams]

    def _signal(self, edit: Edit, layer: int, x: Tensor, record: _Record, index: Tensor) -> Tensor:
        site = self._site(self._operands(layer, x, record), layer, x, index)
        return edit.detector.signal(site)  # type: ignore[attr-defined]

    # --- the untouched model, recorded

    def _record(self, pixels: Tensor) -> _Record:
        starts = {edit.layers[0] for edit in self.edits if edit is not None}
        # With mixed RoPE each block has arguments of its own, known only when it is called.
        whole = None in self.edits or getattr(self.model, "rope_mixed", False)
        record = _Record(starts, None if whole else max(starts), self.last)
        share_last = whole and self.cls_finish and self.last in starts
        with contextlib.ExitStack() as stack:
            for i, block in enumerate(self.blocks):
                handle = block.register_forward_pre_hook(record.hook(i), with_kwargs=True)
                stack.callback(handle.remove)
            if share_last:
                stack.enter_context(Door(record.listen))
            with contextlib.suppress(_Stop):
                record.tokens = self.model.forward_features(pixels)  # type: ignore[operator]
        if share_last:
            exactly_once(self.last, len(record.calls))
        return record

    # --- an edit, replayed

    def _replay(self, edit: Edit, position: int, record: _Record, index: Tensor) -> tuple[Tensor, Tensor | None]:
        """Walk from the edit's first block to the end.

        Returns the last block's output [B, N, E] and None, or, where the CLS row is all that is needed,
        the last block's input and the CLS row of its attention [B, H, 1, D].
        """
        first = edit.layers[0]
        x = record.inputs[first]
        for layer in range(first, self.last + 1):
            if layer == self.last and self.cls_finish:
                shared = layer == first and record.calls
                call = record.calls[0] if shared else self._operands(layer, x, record)
                return x, self._cls_row(call, edit, position, layer, x, index)
            x = self._block(edit, position, layer, x, record, index)
        return x, None

    def _block(self, edit: Edit, position: int | None, layer: int, x: Tensor, record: _Record, index: Tensor) -> Tensor:
        """Run one block, edited if the edit says so."""
        if layer not in edit.layers:
            return self.blocks[layer](x, **record.kwargs(layer))

        def answer(q: Tensor, k: Tensor, v: Tensor, **kwargs: Any) -> Tensor:
            call = Call(q, k, v, kwargs)
            return attend(call, edit, self._flags(call, edit, position, layer, x, index), self.prefix, False)

        door = Door(answer)
        with door:
            x = self.blocks[layer](x, **record.kwargs(layer))
        exactly_once(layer, door.calls)
        return x

    def _cls_row(self, call: Call, edit: Edit, position: int, layer: int, x: Tensor, index: Tensor) -> Tensor:
        if layer not in edit.layers:
            return call.plain(call.q[:, :, :1])
        return attend(call, edit, self._flags(call, edit, position, layer, x, index), self.prefix, True)

    def _flags(self, call: Call, edit: Edit, position: int | None, layer: int, x: Tensor, index: Tensor) -> Tensor:
        """Return the flags [B, S, N] of one call, and show them to whoever is looking."""
        found = edit.flag(self._site(call, layer, x, index))
        if position is not None:
            self.seen(position, layer, found)
        return F.pad(found.mask, (self.prefix, 0))

    def _site(self, call: Call, layer: int, x: Tensor, index: Tensor) -> Site:
        return Site(call.q, call.k, call.v, x, self.prefix, layer, call.scale, index)

    def _operands(self, layer: int, x: Tensor, record: _Record) -> Call:
        """Run block `layer` as far as its attention call and return that call's operands."""
        caught: list[Call] = []

        def answer(q: Tensor, k: Tensor, v: Tensor, **kwargs: Any) -> Tensor:
            caught.append(Call(q, k, v, kwargs))
            raise _Stop

        with contextlib.suppress(_Stop), Door(answer):
            self.blocks[layer](x, **record.kwargs(layer))
        exactly_once(layer, len(caught))
        return caught[0]

    def _finish(self, rows: list[tuple[int, Tensor, Tensor]], record: _Record) -> Iterable[tuple[int, Tensor]]:
        """Run the last block's rest and the final norm on the CLS tokens of all edits, as one batch.

        The block runs on sequences of the CLS token alone; the door answers its attention call with the
        rows that are already known, so that the attention's own tail (inner norm, gate, projection) follows.
        """
        if not rows:
            return
        positions, x, row = zip(*rows, strict=True)
        known_BH1D = torch.cat(row)
        kwargs = record.kwargs(self.last)
        if "rope" in kwargs:  # a position for each patch, and there are none here; q and k aren't used
            kwargs = {**kwargs, "rope": None}
        with Door(lambda q, k, v, **_: known_BH1D) as door:
            tokens = self.blocks[self.last](torch.cat(x), **kwargs)
        exactly_once(self.last, door.calls)
        embeddings = self.model.norm(tokens)[:, 0].float()  # type: ignore[operator]
        yield from zip(positions, embeddings.chunk(len(positions)), strict=True)

    def _pool(self, tokens: Tensor) -> Tensor:
        if self.pool == "cls":
            return tokens[:, 0].float()
        if self.pool == "mean":
            return tokens[:, self.prefix :].float().mean(dim=1)
        return self.model.forward_head(tokens, pre_logits=True).float()  # type: ignore[operator]


class _Record:
    """What the untouched model's forward passes by: block inputs, keyword arguments, the last block's call.

    Parameters
    ----------
    starts
        Blocks whose input is kept.
    stop
        Block before which the forward ends, or None to let it run.
    last
        The block whose attention call is kept, if a door listens.
    """

    def __init__(self, starts: set[int], stop: int | None, last: int) -> None:
        self.starts, self.stop, self.last = starts, stop, last
        self.inputs: dict[int, Tensor] = {}
        self.calls: list[Call] = []
        self.tokens: Tensor | None = None
        self._kwargs: dict[int, dict[str, Any]] = {}
        self._layer = -1

    def hook(self, layer: int) -> Callable[[nn.Module, tuple, dict], None]:
        """Return the pre-hook of block `layer`."""

        def before(block: nn.Module, args: tuple, kwargs: dict) -> None:
            self._layer = layer
            self._kwargs[layer] = kwargs
            if layer in self.starts:
                self.inputs[layer] = args[0]
            if layer == self.stop:
                raise _Stop

        return before

    def listen(self, q: Tensor, k: Tensor, v: Tensor, **kwargs: Any) -> Tensor:
        """Keep the last block's call; answer every call as if nobody listened."""
        if self._layer == self.last:
            self.calls.append(Call(q, k, v, kwargs))
        return F.scaled_dot_product_attention(q, k, v, **kwargs)

    def only_inputs(self) -> _Record:
        """Let go of everything but the blocks' arguments."""
        self.tokens = None
        self.calls.clear()
        return self

    def kwargs(self, layer: int) -> dict[str, Any]:
        """Return the keyword arguments of a block; behind `stop`, those of `stop`, which are the same."""
        return self._kwargs[layer if self.stop is None else min(layer, self.stop)]
