"""One pass of a frozen vision transformer for many edits.

**Record and replay.** The untouched model runs once; that is the baseline. Its blocks' arguments are recorded
on the way, and each edit replays the blocks from its first one on. Nothing is left behind on exit or after
an exception.

**Share the way.** Edits that have done the same so far are one stream, which splits at the first block where
they differ. There, what comes before attention (norm, q, k, v) and the detectors' norms are computed once; in an
edit's first block it is the untouched model's.

Edits that add a token have streams of their own, from the first block on. Edits that take the mean over views of an
image have the untouched pass as their first; each other view passes once, whoever wants it. An edit that replaces
tokens runs its blocks on others than its detector looked at there: what comes before attention is then computed once
more. One that sets registers has a stream of its own, too.

**Finish on the CLS row.** An embedding that is the CLS token, or its projection, needs one row of the last block's
attention, and the patches' queries only if a detector reads them. All edits' rows go through the rest of that block
together, as a batch of single CLS tokens: everything in a block but attention works token by token. One that is made of
the CLS token and the registers needs the few rows of the prefix tokens, which go the same way.

Letters: B images, H heads, N tokens, D head width, E embedding width, S = 1 or H.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from types import UnionType
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from itae.base.identity import key_of
from itae.edits.attention import Rule, attend, first_logits, first_rows, prefix_rows
from itae.edits.attenuate import Attenuator
from itae.edits.augment import AugmentEdit, View
from itae.edits.edit import AnyEdit, Edit
from itae.edits.found import ByDetector
from itae.edits.neighbour_mean import NeighbourMeanEdit
from itae.edits.register_mean import RegisterMeanEdit
from itae.edits.shuffle import Flagged, Pool, Shuffle, flagged_values
from itae.edits.site import Flags, Paid, Site
from itae.embed.record import Record, Stop
from itae.vit.door import Call, Door, Tape, exactly_once, fused, fused_qkv
from itae.vit.tokens import appended, longer, registers

Fitting = Callable[[int, list[int], list[Tensor]], float]
"""Called with a block's index, the positions of edits, and what their detector sees there; returns the threshold."""
Gathering = Callable[[int, list[int], Pool], None]
"""Called with a block's index, the positions of edits, and the values of what they flag there."""

# Ways that part whose attention is computed together; it is held until their turn, 4BNE bytes each.
_AHEAD = 8
# Blocks for which the untouched model's way to attention is kept until their edits' turn, some 16BNE bytes each.
_TAPED = 4


def _nobody(*_: object) -> None:
    """Look at nothing."""


@dataclass(frozen=True)
class Watch:
    """Who looks on at a pass.

    Parameters
    ----------
    flags
        Called as ``flags(position, layer, flags, paid)`` for every edited block of the edit at that position, in their
        order.
    attention
        Whether `paid` is wanted there; it is None otherwise. The model needs a CLS token.
    values
        Called as ``values(position, flags, site)`` before `flags` is, where whoever looks on is shown operands.
    calls
        Called as ``calls(layer, call)`` for every block of the untouched model.
    operands, output
        Called as ``operands(layer, q, k, v)`` and ``output(layer, tokens)`` for every block of the untouched model.
    longer
        Called as ``longer(position, layer, tokens)`` with what leaves a block under an edit that adds tokens, these
        included; not where only the CLS row of the last block is computed.
    """

    flags: Callable[[int, int, Flags, Paid | None], None] = _nobody
    attention: bool = False
    operands: Callable[[int, Tensor, Tensor, Tensor], None] | None = None
    output: Callable[[int, Tensor], None] | None = None
    longer: Callable[[int, int, Tensor], None] = _nobody
    values: Callable[[int, Flags, Site], None] | None = None
    calls: Callable[[int, Call], None] | None = None


_Found = dict[tuple[int, str], Flags]  # by the block, and how patches are found in it


@dataclass
class _Batch:
    """One batch of images on its way: what was recorded, what is done, and what is left for the CLS finish."""

    record: Record
    digests: Sequence[bytes]
    look: bool = False
    flagged: _Found = field(default_factory=dict)  # in the untouched model, for edits that look there
    out: dict[int, Tensor] = field(default_factory=dict)
    rows: list[tuple[int, Tensor, Tensor]] = field(default_factory=list)


_Streams = list[tuple[_Batch, Tensor]]


class _Parting:
    """A block in which the ways of several edits part, and what they have in common there.

    What comes before attention is on the tape, from the untouched model's pass if it came by with the same tokens. The
    attention of some ways is computed together, ahead of their turn.
    """

    def __init__(self, ways: list[list[int]], tape: Tape | None = None) -> None:
        self.ways = ways
        self.tape = Tape() if tape is None and len(ways) > 1 else tape
        self.site: Site | None = None
        self.known: list[Tensor] = []  # of the next edited ways, the next one last
        self._next = 0

    def step(self) -> list[int]:
        """Return the next way: the positions of edits that do the same."""
        self._next += 1
        return self.ways[self._next - 1]

    def from_here(self) -> list[list[int]]:
        """Return the way whose turn it is and those after it."""
        return self.ways[self._next - 1 :]


class SharedPass:
    """Embed batches of images under several edits for little more than the price of one.

    Parameters
    ----------
    model
        A timm vision transformer in eval mode, with `blocks` and `norm`.
    prefix
        How many tokens before the first patch.
    pool
        ``cls``, ``mean`` (of the patch tokens), ``head`` (the model's own pooling), ``projection`` (that, through
        the model's head) or ``cls_registers`` (the CLS token, then the mean of
        the registers).
    edits
        What to compute, in this order; None is the untouched model.
    watch
        Who looks on.
    """

    def __init__(
        self, model: nn.Module, prefix: int, pool: str, edits: Sequence[AnyEdit | None], watch: Watch | None = None
    ) -> None:
        self.model, self.prefix, self.pool = model, prefix, pool
        self.blocks: list[nn.Module] = list(model.blocks)  # type: ignore[arg-type]
        self.last = len(self.blocks) - 1
        self.edits = list(edits)
        self.watch = watch or Watch()
        self.registers = slice(prefix - registers(model), prefix)
        # Only the first rows of the last block are needed, and known to be all that are; 0 where all may be.
        reads_cls = pool == "cls" or (pool == "projection" and prefix > 0 and _reads_cls(model))
        self.finish_rows = prefix if pool == "cls_registers" else int(reads_cls)
        self._does: list[dict[int, str]] = [{} for _ in edits]
        self._finds: list[dict[int, str]] = [{} for _ in edits]
        for position, edit in enumerate(edits):
            if edit is not None:
                self._take(position, edit)

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
            flagged: _Found = {}
            batch = _Batch(self._record(pixels, digests, look, flagged), digests, look, flagged)
            for position in self._untouched():
                assert batch.record.tokens is not None
                batch.out[position] = self._pool(batch.record.tokens)
            self._look_again(batch, pixels)
            for extra, positions in self._with_tokens().items():
                self._follow(batch, appended(self.model, batch.record.inputs[0], extra), 0, positions)
            for first, positions in self._starts().items():
                inputs, tapes = batch.record.inputs, batch.record.tapes
                self._follow(batch, inputs.pop(first), first, positions, tapes.pop(first, None))
            self._finish(batch)
            return [batch.out[position] for position in range(len(self.edits))]

    def walk(
        self, batches: Iterable[tuple[Tensor, Sequence[bytes]]], fit: Fitting, gather: Gathering | None = None
    ) -> None:
        """Go through the edits' blocks in order with all of `batches`, to fit thresholds and gather values on the way.

        Each block is seen on the stream as the blocks before it leave it, edited by what was fitted there. Edits
        with the same history share the stream, and those with the same detector the fit. Where patches are found in
        the untouched model, the blocks that are looked at are fitted on its stream.

        Parameters
        ----------
        batches
            Pixels and digests, as `__call__` takes them. The stream of all of them is held in memory.
        fit
            Called as ``fit(layer, positions, signals)`` with what the detector of the edits at `positions` sees of
            each batch; returns the threshold.
        gather
            Called, if anything is to be gathered, as ``gather(layer, positions, pool)`` with the values of what the
            edits at `positions` flag in a block. Edits of patches that are found elsewhere have their thresholds then.
        """
        with torch.inference_mode(), fused(self.blocks):
            visits = {p: edit.looks if edit.unfitted else edit.layers for p, edit in enumerate(self._by_detector())}
            starts: dict[int, list[int]] = {}
            for position, layers in visits.items():
                starts.setdefault(layers[0], []).append(position)
            each = []
            for pixels, digests in batches:
                flagged: _Found = {}
                record = self._record(pixels, digests, flagged=flagged if gather else None, starts=starts)
                each.append(_Batch(record.only_inputs(), digests, flagged=flagged))
            for first, positions in starts.items():
                streams = [(batch, batch.record.inputs.pop(first)) for batch in each]
                untouched = [p for p in positions if self._edit([p]).in_untouched and self._edit([p]).unfitted]
                self._settle_untouched(streams, first, untouched, fit)
                positions = [p for p in positions if p not in untouched]
                self._settle(streams, first, {p: visits[p][-1] for p in positions}, fit, gather)

    def _settle(
        self, streams: _Streams, layer: int, ends: dict[int, int], fit: Fitting, gather: Gathering | None
    ) -> None:
        """Settle edits, given by their positions and last blocks, of one stream so far, from block `layer` on."""
        while ends:
            self._fit_block(streams, layer, [p for p in ends if self._edit([p]).to_fit(layer)], fit)
            if gather:
                self._gather_block(streams, layer, [p for p in ends if layer in self._edit([p]).lacking()], gather)
            ends = {p: end for p, end in ends.items() if layer < end}  # the others are done
            ways = self._ways(layer, list(ends))
            for way in ways[:-1]:
                advanced = self._advanced(streams, layer, way)
                self._settle(advanced, layer + 1, {p: ends[p] for p in way}, fit, gather)
            if ways:
                ends = {p: ends[p] for p in ways[-1]}
                streams, layer = self._advanced(streams, layer, ways[-1]), layer + 1

    def _settle_untouched(self, streams: _Streams, layer: int, positions: list[int], fit: Fitting) -> None:
        """Fit the edits at `positions`, that look at the untouched model, from block `layer` on."""
        while to_fit := [p for p in positions if self._edit([p]).unfitted_from(layer)]:
            self._fit_block(streams, layer, [p for p in to_fit if self._edit([p]).to_fit(layer)], fit)
            if not any(self._edit([p]).unfitted_from(layer + 1) for p in to_fit):
                return
            streams = [(batch, self.blocks[layer](x, **batch.record.kwargs(layer))) for batch, x in streams]
            layer += 1

    def _by_detector(self) -> list[ByDetector]:
        return [self._edit([position]) for position in range(len(self.edits))]

    def _advanced(self, streams: _Streams, layer: int, positions: list[int]) -> _Streams:
        return [(batch, self._block(batch, x, layer, _Parting([positions]))) for batch, x in streams]

    def _fit_block(self, streams: _Streams, layer: int, positions: list[int], fit: Fitting) -> None:
        alike: dict[str, list[int]] = {}
        for position in positions:
            judge = self._edit([position]).judge
            alike.setdefault(repr(key_of(judge)), []).append(position)
        signals: list[list[Tensor]] = [[] for _ in alike]
        for batch, x in streams if alike else []:
            site = self._site(self._operands(batch, x, layer), layer, x, batch.digests)
            for group, seen in zip(alike.values(), signals, strict=True):
                seen.append(self._edit(group).judge.signal(site))
        for group, seen in zip(alike.values(), signals, strict=True):
            theta = fit(layer, group, seen)
            for position in group:
                edit = self._edit([position])
                edit = edit.with_thetas({**(edit.thetas or {}), layer: theta})
                self._take(position, edit)

    def _gather_block(self, streams: _Streams, layer: int, positions: list[int], gather: Gathering) -> None:
        """Give edits the values of what they flag in a block, those together that flag the same."""
        alike: dict[str, list[int]] = {}
        for position in positions:
            edit = self._edit([position])
            alike.setdefault(self._finds[position][edit.look(layer)], []).append(position)
        found: list[list[Flagged]] = [[] for _ in alike]
        parts = [1] * len(alike)
        for batch, x in streams if alike else []:
            site = self._site(self._operands(batch, x, layer), layer, x, batch.digests)
            for i, group in enumerate(alike.values()):
                flags = self._flags(batch, site, group[0], self._edit(group))
                found[i].append(flagged_values(site, flags))
                parts[i] = flags.mask.shape[1]
        for some, count, group in zip(found, parts, alike.values(), strict=True):
            pool = Pool.of(some, count)
            gather(layer, group, pool)
            for position in group:
                edit = self._edit([position])
                assert isinstance(edit, Edit) and isinstance(edit.attenuator, Shuffle)  # noqa: PT018
                self._take(position, replace(edit, attenuator=edit.attenuator.with_pool(layer, pool)))

    def _take(self, position: int, edit: AnyEdit) -> None:
        """Have `edit` at `position`, and keep what it does in a form to compare, which is not free to make."""
        self.edits[position] = edit
        self._does[position] |= edit.does()
        if isinstance(edit, ByDetector):
            thetas = edit.thetas if edit.detector.fitted else dict.fromkeys(edit.looks)
            self._finds[position] |= {layer: edit.finds(layer) for layer in edit.looks if layer in (thetas or ())}

    def _untouched(self) -> list[int]:
        """Return the positions of no edit, and of edits that edit no block."""
        return [position for position, edit in enumerate(self.edits) if edit is None or not edit.layers]

    def _look_again(self, batch: _Batch, pixels: Tensor) -> None:
        """Take the mean over views for the edits that want it, each adding them in its own order."""
        seen: dict[View, Tensor] = {}
        for position, edit in enumerate(self.edits):
            if isinstance(edit, AugmentEdit):
                seen = seen or {View(): batch.out[position]}  # so far what the untouched model gave
                for view in edit.views:
                    if view not in seen:
                        seen[view] = self._pool(self.model.forward_features(view.of(pixels)))  # type: ignore[operator]
                total = functools.reduce(torch.add, [seen[view] for view in edit.views])
                batch.out[position] = total / len(edit.views)

    def _with_tokens(self) -> dict[int, list[int]]:
        """Return the positions of the edits that add tokens, by how many."""
        longer: dict[int, list[int]] = {}
        for position, edit in enumerate(self.edits):
            if edit is not None and edit.extra and edit.layers:
                longer.setdefault(edit.extra, []).append(position)
        return longer

    def _starts(self, kinds: type | UnionType = ByDetector | RegisterMeanEdit) -> dict[int, list[int]]:
        """Return the positions of the edits that add no token, of one kind or all, by their first block."""
        starts: dict[int, list[int]] = {}
        for position, edit in enumerate(self.edits):
            if edit is not None and isinstance(edit, kinds):
                starts.setdefault(edit.layers[0], []).append(position)
        return starts

    # --- the untouched model, recorded

    def _record(
        self,
        pixels: Tensor,
        digests: Sequence[bytes],
        look: bool = False,
        flagged: _Found | None = None,
        starts: Iterable[int] | None = None,
    ) -> Record:
        """Run the untouched model; what is found there for edits that look there goes into `flagged`."""
        # No tape where thresholds are fitted: many batches are held there.
        taped = sorted(self._starts(ByDetector))[-_TAPED:] if starts is None else []
        starts = set(self._starts() if starts is None else starts) | {0 for _ in self._with_tokens()}
        finders = self._finders() if flagged is not None else {}
        end = max([*starts, *(layer + 1 for layer in finders)], default=0)
        # With mixed RoPE each block has arguments of its own, known only when it is called.
        whole = bool(self._untouched()) or getattr(self.model, "rope_mixed", False) or end > self.last
        shown = look and None in self.edits
        operands, output = (self.watch.operands, self.watch.output) if shown else (None, None)
        calls = self.watch.calls if shown else None

        def seen(layer: int, call: Call, x: Tensor) -> None:
            if operands is not None:
                operands(layer, call.q, call.k, call.v)
            if calls is not None:
                calls(layer, call)
            if layer in finders:
                assert flagged is not None
                site = self._site(call, layer, x, digests)
                flagged.update({(layer, name): edit.flag(site) for name, edit in finders[layer].items()})

        record = Record(starts, None if whole else end, taped, seen)
        door = Door(record.listen)
        with contextlib.ExitStack() as stack:
            for i, block in enumerate(self.blocks):
                handle = block.register_forward_pre_hook(record.hook(i, door), with_kwargs=True)
                stack.callback(handle.remove)
                if output:
                    handle = block.register_forward_hook(lambda _block, _args, y, i=i: output(i, y))
                    stack.callback(handle.remove)
            if operands or calls or finders or any(whole or layer < end for layer in taped):
                stack.enter_context(door)
            with contextlib.suppress(Stop):
                record.tokens = self.model.forward_features(pixels)  # type: ignore[operator]
        return record

    def _finders(self) -> dict[int, dict[str, ByDetector]]:
        """Return, for each block of the untouched model that edits look at, an edit for each way to find patches."""
        finders: dict[int, dict[str, ByDetector]] = {}
        for edit, names in zip(self.edits, self._finds, strict=True):
            if isinstance(edit, ByDetector) and edit.in_untouched:
                for look in edit.looks:
                    finders.setdefault(look, {})[names[look]] = edit
        return finders

    # --- edits, replayed

    def _follow(self, batch: _Batch, x: Tensor, layer: int, positions: list[int], tape: Tape | None = None) -> None:
        """Walk the stream that the edits at `positions` have in common from block `layer` to the end.

        `tape` has that block's way to its attention call on these tokens.
        """
        while layer <= self.last:
            if layer == self.last and self.finish_rows:
                sets = any(isinstance(self.edits[position], RegisterMeanEdit) for position in positions)
                for way in self._ways(layer, positions) if sets else [positions]:
                    entering = self._entering(way, x, layer)
                    self._last_rows(batch, entering, way, tape if entering is x else None)
                return
            ways = self._ways(layer, positions)
            parting, tape = _Parting(ways, tape), None
            for way in ways[:-1]:
                self._follow(batch, self._block(batch, x, layer, parting), layer + 1, way)
            x, positions = self._block(batch, x, layer, parting), ways[-1]
            layer += 1
        x = x[:, : x.shape[1] - self._any_edit(positions).extra]
        embedding = self._pool(self.model.norm(x))  # type: ignore[operator]
        batch.out |= dict.fromkeys(positions, embedding)

    def _ways(self, layer: int, positions: list[int]) -> list[list[int]]:
        """Return the positions of the edits, those together that do the same in a block."""
        ways: dict[str | None, list[int]] = {}
        for position in positions:
            ways.setdefault(self._does[position].get(layer), []).append(position)
        return list(ways.values())

    def _any_edit(self, positions: list[int]) -> AnyEdit:
        """Return one of several edits that all do the same at the place in question."""
        edit = self.edits[positions[0]]
        assert edit is not None
        return edit

    def _edit(self, positions: list[int]) -> ByDetector:
        """Return one of several edits by a detector that all do the same at the place in question."""
        edit = self._any_edit(positions)
        assert isinstance(edit, ByDetector)
        return edit

    def _replaces(self, positions: list[int], layer: int) -> bool:
        """Whether these edits replace tokens that enter a block."""
        edit = self._any_edit(positions)
        return isinstance(edit, NeighbourMeanEdit) and layer in edit.layers

    def _block(self, batch: _Batch, x: Tensor, layer: int, parting: _Parting) -> Tensor:
        """Run one block for the next of the ways that part there."""
        way = parting.step()
        if self._replaces(way, layer):
            return self._replaced_block(batch, x, layer, parting, way)
        edit = self._any_edit(way)
        entering = self._entering(way, x, layer)
        edited = edit.attends(layer)
        kwargs = longer(batch.record.kwargs(layer), edit.extra)
        if not edited and (parting.tape is None or edit.extra or entering is not x):
            with edit.inside(self.blocks[layer], layer, self.prefix):
                y = self.blocks[layer](entering, **kwargs)
            for position in way if edit.extra else ():
                self.watch.longer(position, layer, y)
            return y

        def answer(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
            call = Call(q, k, v, options)
            if not edited:
                return call.plain(q)
            if not parting.known:
                if parting.site is None:
                    parting.site = self._site(call, layer, x, batch.digests)
                ways = [way for way in parting.from_here() if self._any_edit(way).attends(layer)]
                parting.known = attend(call, self._rules(batch, parting.site, ways[:_AHEAD]), self.prefix)[::-1]
            return parting.known.pop()

        door = Door(answer, parting.tape)
        with door:
            y = self.blocks[layer](x, **kwargs)
        exactly_once(layer, door.calls)
        return y

    def _replaced_block(self, batch: _Batch, x: Tensor, layer: int, parting: _Parting, way: list[int]) -> Tensor:
        """Run one block, on tokens of which some are replaced, for the next of the ways that part there."""
        if parting.site is None:
            call = self._operands(batch, x, layer, tape=parting.tape)
            parting.site = self._site(call, layer, x, batch.digests)
        replaced, show = self._replaced(batch, parting.site, way)

        def answer(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
            show(Call(q, k, v, options))
            return F.scaled_dot_product_attention(q, k, v, **options)

        door = Door(answer)
        with door:
            y = self.blocks[layer](replaced, **batch.record.kwargs(layer))
        exactly_once(layer, door.calls)
        return y

    def _replaced(self, batch: _Batch, site: Site, way: list[int]) -> tuple[Tensor, Callable[[Call], None]]:
        """Return the tokens that enter a block, some replaced, and what shows the flags, given the call on these."""
        edit = self._edit(way)
        assert isinstance(edit, NeighbourMeanEdit)
        x, flags = edit.replaced(site.x, self._flags(batch, site, way[0], edit), self.prefix)

        def show(call: Call) -> None:
            paid: Paid | None = None
            if self.watch.attention and batch.look:
                after = first_logits(call.q, call.k, call.scale).softmax(dim=-1)[:, :, 0, self.prefix :]
                paid = self._cls_weights(site), after
            for position in way:
                self.watch.flags(position, site.layer, flags, paid)

        return x, show

    def _entering(self, way: list[int], x: Tensor, layer: int) -> Tensor:
        """Return what enters a block for the edits of one way: `x` itself unless they replace it."""
        edit = self._any_edit(way)
        return edit.entering(x, layer, self.prefix) if isinstance(edit, RegisterMeanEdit) else x

    def _last_rows(self, batch: _Batch, x: Tensor, positions: list[int], tape: Tape | None) -> None:
        """Keep the rows of the last block's attention that the embedding reads, for each of the edits."""
        edits = [self._any_edit([position]) for position in positions]
        # Nobody needs the other tokens' queries, unless a detector looks at them.
        qkv = None if any(edit.reads_queries for edit in edits) else fused_qkv(self.blocks[self.last])
        call = self._operands(batch, x, self.last, edits[0].extra, tape, qkv)
        site = self._site(call, self.last, x, batch.digests)
        ways = self._ways(self.last, positions)
        edited = [way for way in ways if self._any_edit(way).attends(self.last)]
        of = first_rows if self.finish_rows == 1 else prefix_rows
        rows = of(call, self._rules(batch, site, edited), self.prefix, _first_logits(site, self.finish_rows))
        for way in (way for way in ways if self._replaces(way, self.last)):
            replaced, show = self._replaced(batch, site, way)
            call_on_these = self._operands(batch, replaced, self.last, qkv=qkv)
            show(call_on_these)
            edited.append(way)
            rows.append(call_on_these.plain(call_on_these.q[:, :, : self.finish_rows]))
        if len(edited) < len(ways):
            edited.append([position for way in ways if way not in edited for position in way])
            rows.append(call.plain(call.q[:, :, : self.finish_rows]))
        for way, row in zip(edited, rows, strict=True):
            batch.rows += [(position, x[:, : self.finish_rows], row) for position in way]

    def _rules(self, batch: _Batch, site: Site, ways: list[list[int]]) -> list[Rule]:
        """Return what each way does at one attention call, and show what it flags to whoever is looking."""
        rules = []
        for way in ways:
            edit = self._edit(way)
            assert isinstance(edit, Edit)
            flags = self._flags(batch, site, way[0], edit)
            keys = flags.once("keys", lambda mask=flags.mask: F.pad(mask, (self.prefix, 0)))  # type: ignore[misc]
            rules.append((edit.attenuator.at(site), keys))
            paid = self._paid(site, *rules[-1]) if self.watch.attention and batch.look else None
            for position in way:
                if self.watch.values is not None and batch.look:
                    self.watch.values(position, flags, site)
                self.watch.flags(position, site.layer, flags, paid)
        return rules

    def _flags(self, batch: _Batch, site: Site, position: int, edit: ByDetector) -> Flags:
        """Return what an edit flags at a site, found once for all edits that find the same."""
        if edit.in_untouched:
            look = edit.look(site.layer)
            return batch.flagged[look, self._finds[position][look]]
        return site.once(("flags", self._finds[position][site.layer]), lambda: edit.flag(site))

    def _paid(self, site: Site, attenuator: Attenuator, flags: Tensor) -> Paid:
        """Return what the CLS token pays to the patches, before and after."""
        before = self._cls_weights(site)
        if not attenuator.by_row:
            return before, None
        return before, attenuator.weights(_first_logits(site).clone(), flags, self.prefix)[:, :, 0, self.prefix :]

    def _cls_weights(self, site: Site) -> Tensor:
        """Return what the CLS token pays to the patches of an untouched call, [B, H, T]."""
        return site.once("CLS weights", lambda: _first_logits(site).softmax(dim=-1)[:, :, 0, self.prefix :])

    def _site(self, call: Call, layer: int, x: Tensor, digests: Sequence[bytes]) -> Site:
        return Site(call.q, call.k, call.v, x, self.prefix, layer, call.scale, digests, self.model)

    def _operands(
        self,
        batch: _Batch,
        x: Tensor,
        layer: int,
        extra: int = 0,
        tape: Tape | None = None,
        qkv: nn.Linear | None = None,
    ) -> Call:
        """Run block `layer` as far as its attention call and return that call's operands."""
        caught: list[Call] = []

        def answer(q: Tensor, k: Tensor, v: Tensor, **kwargs: Any) -> Tensor:
            caught.append(Call(q, k, v, kwargs))
            raise Stop

        with contextlib.suppress(Stop), Door(answer, tape, qkv, self.finish_rows):
            self.blocks[layer](x, **longer(batch.record.kwargs(layer), extra))
        exactly_once(layer, len(caught))
        return caught[0]

    def _finish(self, batch: _Batch) -> None:
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


def _first_logits(site: Site, rows: int = 1) -> Tensor:
    return site.once(("first logits", rows), lambda: first_logits(site.q, site.k, site.scale, rows))
