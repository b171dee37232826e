"""Blocks of a frozen vision transformer: recorded untouched, or run under the edits whose turn it is.

**Share the way.** Edits that have done the same so far are one stream, which splits at the first block where
they differ. There, what comes before attention (norm, q, k, v) and the detectors' norms are computed once; in an
edit's first block it is the untouched model's.

An edit that replaces tokens runs its blocks on others than its detector looked at there: what comes before attention is
then computed once more.

Letters: B images, H heads, N tokens, T patches, D head width, E embedding width, S = 1 or H.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from itae.edits.attention import Rule, attend, first_logits
from itae.edits.attenuate import Attenuator
from itae.edits.edit import AnyEdit, Edit
from itae.edits.found import ByDetector
from itae.edits.neighbour_mean import NeighbourMeanEdit
from itae.edits.register_mean import RegisterMeanEdit
from itae.edits.site import Flags, Paid, Site
from itae.embed.plan import Plan
from itae.embed.record import Record, Stop
from itae.embed.watch import Watch
from itae.vit.door import Call, Door, Tape, exactly_once
from itae.vit.tokens import longer

# Ways that part whose attention is computed together; it is held until their turn, 4BNE bytes each.
_AHEAD = 8
# Blocks for which the untouched model's way to attention is kept until their edits' turn, some 16BNE bytes each.
_TAPED = 4

Found = dict[tuple[int, str], Flags]  # by the block, and how patches are found in it


@dataclass
class Batch:
    """One batch of images on its way: what was recorded, what is done, and what is left for the CLS finish."""

    record: Record
    digests: Sequence[bytes]
    look: bool = False
    flagged: Found = field(default_factory=dict)  # in the untouched model, for edits that look there
    out: dict[int, Tensor] = field(default_factory=dict)
    rows: list[tuple[int, Tensor, Tensor]] = field(default_factory=list)


Streams = list[tuple[Batch, Tensor]]


class Parting:
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


class EditedBlocks:
    """The blocks of a model, and what edits do in them.

    Parameters
    ----------
    model
        A timm vision transformer in eval mode, with `blocks`.
    prefix
        How many tokens before the first patch.
    edits
        What to compute, in this order; None is the untouched model.
    watch
        Who looks on.
    finish_rows
        How many first tokens of the last block an embedding reads, 0 if it reads all.
    """

    def __init__(
        self, model: nn.Module, prefix: int, edits: Sequence[AnyEdit | None], watch: Watch | None, finish_rows: int
    ) -> None:
        self.model, self.prefix, self.finish_rows = model, prefix, finish_rows
        self.blocks: list[nn.Module] = list(model.blocks)  # type: ignore[arg-type]
        self.last = len(self.blocks) - 1
        self.plan, self.watch = Plan(edits), watch or Watch()

    def record(
        self,
        pixels: Tensor,
        digests: Sequence[bytes],
        look: bool = False,
        flagged: Found | None = None,
        starts: Iterable[int] | None = None,
    ) -> Record:
        """Run the untouched model; what is found there for edits that look there goes into `flagged`."""
        # No tape where thresholds are fitted: many batches are held there.
        taped = sorted(self.plan.starts(ByDetector))[-_TAPED:] if starts is None else []
        starts = set(self.plan.starts() if starts is None else starts) | {0 for _ in self.plan.with_tokens()}
        finders = self.plan.finders() if flagged is not None else {}
        end = max([*starts, *(layer + 1 for layer in finders)], default=0)
        # With mixed RoPE each block has arguments of its own, known only when it is called.
        whole = bool(self.plan.untouched()) or getattr(self.model, "rope_mixed", False) or end > self.last
        shown = look and None in self.plan.edits
        operands, output = (self.watch.operands, self.watch.output) if shown else (None, None)
        calls = self.watch.calls if shown else None

        def seen(layer: int, call: Call, x: Tensor) -> None:
            if operands is not None:
                operands(layer, call.q, call.k, call.v)
            if calls is not None:
                calls(layer, call)
            if layer in finders:
                assert flagged is not None
                site = self.site(call, layer, x, digests)
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

    def block(self, batch: Batch, x: Tensor, layer: int, parting: Parting) -> Tensor:
        """Run one block for the next of the ways that part there."""
        way = parting.step()
        if self.plan.replaces(way, layer):
            return self._replaced_block(batch, x, layer, parting, way)
        edit = self.plan.of(way)
        entering = self.entering(way, x, layer)
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
                    parting.site = self.site(call, layer, x, batch.digests)
                ways = [way for way in parting.from_here() if self.plan.of(way).attends(layer)]
                parting.known = attend(call, self.rules(batch, parting.site, ways[:_AHEAD]), self.prefix)[::-1]
            return parting.known.pop()

        door = Door(answer, parting.tape)
        with door:
            y = self.blocks[layer](x, **kwargs)
        exactly_once(layer, door.calls)
        return y

    def _replaced_block(self, batch: Batch, x: Tensor, layer: int, parting: Parting, way: list[int]) -> Tensor:
        """Run one block, on tokens of which some are replaced, for the next of the ways that part there."""
        if parting.site is None:
            call = self.operands(batch, x, layer, tape=parting.tape)
            parting.site = self.site(call, layer, x, batch.digests)
        replaced, show = self.replaced(batch, parting.site, way)

        def answer(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
            show(Call(q, k, v, options))
            return F.scaled_dot_product_attention(q, k, v, **options)

        door = Door(answer)
        with door:
            y = self.blocks[layer](replaced, **batch.record.kwargs(layer))
        exactly_once(layer, door.calls)
        return y

    def replaced(self, batch: Batch, site: Site, way: list[int]) -> tuple[Tensor, Callable[[Call], None]]:
        """Return the tokens that enter a block, some replaced, and what shows the flags, given the call on these."""
        edit = self.plan.by_detector(way)
        assert isinstance(edit, NeighbourMeanEdit)
        x, flags = edit.replaced(site.x, self.flags(batch, site, way[0], edit), self.prefix)

        def show(call: Call) -> None:
            paid: Paid | None = None
            if self.watch.attention and batch.look:
                after = first_logits(call.q, call.k, call.scale).softmax(dim=-1)[:, :, 0, self.prefix :]
                paid = self._cls_weights(site), after
            self._show(batch, site, way, flags, paid)

        return x, show

    def entering(self, way: list[int], x: Tensor, layer: int) -> Tensor:
        """Return what enters a block for the edits of one way: `x` itself unless they replace it."""
        edit = self.plan.of(way)
        return edit.entering(x, layer, self.prefix) if isinstance(edit, RegisterMeanEdit) else x

    def rules(self, batch: Batch, site: Site, ways: list[list[int]]) -> list[Rule]:
        """Return what each way does at one attention call, and show what it flags to whoever is looking."""
        rules = []
        for way in ways:
            edit = self.plan.by_detector(way)
            assert isinstance(edit, Edit)
            flags = self.flags(batch, site, way[0], edit)
            keys = flags.once("keys", lambda mask=flags.mask: F.pad(mask, (self.prefix, 0)))  # type: ignore[misc]
            rules.append((edit.attenuator.at(site), keys))
            paid = self._paid(site, *rules[-1]) if self.watch.attention and batch.look else None
            self._show(batch, site, way, flags, paid)
        return rules

    def _show(self, batch: Batch, site: Site, way: list[int], flags: Flags, paid: Paid | None) -> None:
        """Show whoever is looking what the edits of one way flag at a site."""
        for position in way:
            if self.watch.values is not None and batch.look:
                self.watch.values(position, flags, site)
            self.watch.flags(position, site.layer, flags, paid)

    def flags(self, batch: Batch, site: Site, position: int, edit: ByDetector) -> Flags:
        """Return what an edit flags at a site, found once for all edits that find the same."""
        if edit.in_untouched:
            look = edit.look(site.layer)
            return batch.flagged[look, self.plan.finds[position][look]]
        return site.once(("flags", self.plan.finds[position][site.layer]), lambda: edit.flag(site))

    def _paid(self, site: Site, attenuator: Attenuator, flags: Tensor) -> Paid:
        """Return what the CLS token pays to the patches, before and after."""
        before = self._cls_weights(site)
        if not attenuator.by_row:
            return before, None
        return before, attenuator.weights(logits_of_first(site).clone(), flags, self.prefix)[:, :, 0, self.prefix :]

    def _cls_weights(self, site: Site) -> Tensor:
        """Return what the CLS token pays to the patches of an untouched call, [B, H, T]."""
        return site.once("CLS weights", lambda: logits_of_first(site).softmax(dim=-1)[:, :, 0, self.prefix :])

    def site(self, call: Call, layer: int, x: Tensor, digests: Sequence[bytes]) -> Site:
        """Return what detectors look at: the operands of an attention call, and the tokens that entered its block."""
        return Site(call.q, call.k, call.v, x, self.prefix, layer, call.scale, digests, self.model)

    def operands(
        self,
        batch: Batch,
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


def logits_of_first(site: Site, rows: int = 1) -> Tensor:
    """Return the attention logits of the first `rows` tokens, computed once at a site, [B, H, rows, N]."""
    return site.once(("first logits", rows), lambda: first_logits(site.q, site.k, site.scale, rows))
