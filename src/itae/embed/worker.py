"""The model at work: one process that calibrates thresholds and fills shards, alone or as one of many.

A shard is the unit of work. Batches never cross the end of one and every shard is written at once or not at
all, so it makes no difference who fills which, in what order, or how often.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.base.device import forward_context, free_gpu_memory, memory_told, on_device, to_host
from itae.base.disk import replace_file
from itae.base.errors import UserError
from itae.base.memory import memory_reused
from itae.base.runtime import Runtime
from itae.base.versions import versions
from itae.embed.diagnostics.choose import collector
from itae.embed.diagnostics.collect import Collector, arrivals, looked_at
from itae.embed.diagnostics.flags import FlagCollector
from itae.embed.diagnostics.outliers import OutlierCollector
from itae.embed.kept import NEURONS
from itae.embed.rows import Taken, parts_of
from itae.embed.source import drawn_rows
from itae.images.batches import decoded, in_batches
from itae.images.transform import normalise
from itae.store.entry import canonical

if TYPE_CHECKING:
    from itae.edits.bimodal import Fit
    from itae.edits.edit import AnyEdit, Edit
    from itae.edits.found import ByDetector
    from itae.edits.register_mean import RegisterMeanEdit
    from itae.edits.registers import RegisterEdit, RegisterNeurons
    from itae.embed.gather import Settled
    from itae.embed.replay import SharedPass, Watch
    from itae.embed.source import Source
    from itae.images.image_set import ImageSet
    from itae.store.store import Draft, Key

log = logging.getLogger(__name__)

_BEHIND = {"cuda": 1}
"""Batches whose results may be on their way to the host while the next is computed; elsewhere there is no such way."""
Fits = dict["Key", dict[int, "Fit"]]
"""The fitted thresholds of each edit that has any, by layer."""


class Worker:
    """A loaded model and the images it is for.

    Parameters
    ----------
    source
        The data set seen through the backbone.
    images
        Those of its images that can be decoded.
    runtime
        Device, batch size and decoding threads.
    """

    def __init__(self, source: Source, images: ImageSet, runtime: Runtime) -> None:
        self.source, self.images, self.runtime = source, images, runtime
        self.device = runtime.torch_device()
        self._rows = _positions(source.images, images)
        with memory_told(f"for {source.facts.architecture}; choose a smaller backbone, or another runtime.device"):
            self.model = source.backbone.build(source.facts, self.device)
            self._prove()

    def close(self) -> None:
        """Let go of the model, and give the GPU's memory back, which FAISS may want."""
        del self.model
        free_gpu_memory(self.device)

    def _prove(self) -> None:
        """Try whether edits of this model can be trusted, if that isn't known from an earlier run.

        It is known for the same weights, code, settings and kind of device, and the same versions of what numbers
        depend on.

        Raises
        ------
        UserError
            If they can't.
        """
        import torch

        from itae.embed.prove import prove

        source, device = self.source, self.device
        kind = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        space = source.key(None).space
        about = canonical({"space": space, "device": kind, "versions": dict(versions())}).encode("ascii")
        known = source.store.root / ".facts" / f"proof-{hashlib.sha256(about).hexdigest()[:32]}.json"
        with contextlib.suppress(OSError):
            if known.read_bytes() == about:
                return
        facts, backbone = source.facts, source.backbone
        with forward_context(device, "fp32"):
            prove(self.model, facts.prefix, backbone.pool, backbone.image_size, facts.architecture)
        with contextlib.suppress(OSError):  # a memo only; the store says what is wrong with the folder
            known.parent.mkdir(parents=True, exist_ok=True)
            replace_file(known, about)

    def calibrate(self, edits: Mapping[Key, ByDetector]) -> Fits:
        """Fit each edit's threshold of each layer, without labels, on images drawn with its seed."""
        from itae.embed.fit_layers import fit_layers

        out: Fits = {}
        for (count, seed, _), alike in calibrated_together(edits).items():
            with self._at_work("detector.calibration_images"):
                sample = self._pixels(self._drawn(count, seed))
                fits = fit_layers(self._shared_pass(list(alike.values())), list(alike.values()), sample)
            out |= zip(alike, fits, strict=True)
        return out

    def search(self, edits: Mapping[Key, RegisterEdit]) -> dict[Key, RegisterNeurons]:
        """Find each edit's register neurons, and keep what was found, at once."""
        from itae.embed.register_search import search

        out: dict[Key, RegisterNeurons] = {}
        found: dict[str, RegisterNeurons] = {}
        for key, edit in edits.items():
            what = self.source.search_key(edit, self.images)
            name = canonical(what)
            if name not in found:
                settings = edit.settings
                images = self._drawn(settings.calibration_images, settings.calibration_seed)
                log.info("Searching %d images for register neurons.", len(images))
                with self._at_work("edit.calibration_images"):
                    batches = functools.partial(self._pixels, images)
                    found[name] = search(self.model, self.source.facts.prefix, settings, batches)
                NEURONS.remember(self.source.store.root, what, found[name])
            out[key] = found[name]
        return out

    def gather_for(self, edits: Mapping[Key, Edit | RegisterMeanEdit]) -> dict[Key, Settled]:
        """Gather what edits take from calibration images, without labels, and fit what is fitted on the way."""
        from itae.embed.gather import gather_values, register_means

        out: dict[Key, Settled] = {}
        facts = self.source.facts
        for (count, seed, first), alike in gathered_together(edits).items():
            images = self._drawn(count, seed)
            log.info("Looking at %d images for what is put in the place of tokens.", len(images))
            with self._at_work("the number of calibration_images"):
                sample = self._pixels(images)
                if first is None:
                    means = register_means(self.model, facts.prefix, facts.registers, sample)
                    out |= dict.fromkeys(alike, (means, {}))
                else:
                    some = list(alike.values())
                    out |= zip(alike, gather_values(self._shared_pass(some), some, sample), strict=True)  # type: ignore[arg-type]
        return out

    def fill(
        self,
        drafts: Mapping[Key, Draft],
        edits: Mapping[Key, AnyEdit | None],
        taken: Mapping[Key, Taken],
        todo: Sequence[int],
        advance: Callable[[int], None],
    ) -> dict[Key, UserError]:
        """Write the shards `todo`, ascending, where a draft lacks them; return what is wrong with those that can't be.

        Only images pass whose rows are not `taken`. `advance` is called with the number of images that were passed.
        """
        failed: dict[Key, UserError] = {}
        whole = bool(next(iter(drafts.values())).settled["diagnostics"])
        parts = [part for i in todo for part in parts_of(i, drafts, taken)]
        pixels = self._pixels(self.images, [part.rows for part in parts])
        with contextlib.closing(pixels), self._at_work():
            for part in parts:
                keys = [key for key in part.keys if key not in failed]
                gathered = self.gather([edits[key] for key in keys], pixels, part.rows, advance, whole)
                self._check_unchanged(part.rows)
                for key, collected in zip(keys, gathered, strict=True):
                    if error := self._not_finite(collected.rows()["vectors"], part.rows):
                        failed[key] = error
                    else:
                        drafts[key].write(part.shard, *taken[key].filled(part.span, collected))
                if len(failed) == len(drafts):  # nothing is left to go on for
                    break
        return failed

    def _drawn(self, count: int, seed: int) -> ImageSet:
        return self.images.take(drawn_rows(len(self.images), count, seed))

    def _shared_pass(self, edits: Sequence[AnyEdit | None], watch: Watch | None = None) -> SharedPass:
        from itae.embed.replay import SharedPass

        return SharedPass(self.model, self.source.facts.prefix, self.source.backbone.pool, edits, watch)

    @contextlib.contextmanager
    def _at_work(self, also: str = "") -> Iterator[None]:
        """Run forwards; where memory is too little for them, say what to lower, and what beside the batches."""
        lower = ["set a smaller one"] if self.runtime.batch_size > 1 else ["choose a smaller backbone or image_size"]
        lower += ["lower " + also] if also else []
        lower += ["set backbone.precision=bf16"] if self.source.backbone.precision == "fp32" else []
        told = f"for runtime.batch_size={self.runtime.batch_size}; {', or '.join(lower)}; shards that are done are kept"
        with memory_told(told), memory_reused(), forward_context(self.device, self.source.backbone.precision):
            yield

    def _pixels(
        self, images: ImageSet, parts: Sequence[Sequence[int]] | None = None
    ) -> Generator[tuple[Any, list[bytes]]]:
        """Yield batches of images: pixels [b, 3, S, S] on the device, and their digests.

        They are those at the positions in `parts`, all by default; a batch is of one part.
        """
        import torch

        size, transform = self.runtime.batch_size, self.source.transform
        parts = [range(len(images))] if parts is None else parts
        spans = [span for part in parts for span in in_batches(part, size)]
        decoders, on_gpu = self.runtime.decoders(self.device), self.device.type == "cuda"
        for span, raw in zip(spans, decoded(images, transform, spans, decoders, pinned=on_gpu), strict=True):
            pixels = normalise(on_device(torch.from_numpy(raw), self.device), transform)
            yield pixels, [images.digests[row] for row in span]

    def gather(
        self,
        edits: Sequence[AnyEdit | None],
        pixels: Iterator[tuple[Any, Sequence[bytes]]],
        rows: Sequence[int],
        advance: Callable[[int], None],
        whole: bool,
    ) -> list[Collector]:
        """Pass the images at the positions `rows`, which `pixels` yields in batches, under each of `edits`.

        With `whole`, diagnostics are gathered beside the vectors.
        """
        n = len(self.images)
        collectors = [collector(edit, self.source.facts, rows, whole, n) for edit in edits]
        shared = self._shared_pass(edits, self._watch(collectors, whole))
        wanted = np.isin(rows, looked_at(n)) & whole
        done, coming = 0, deque[Callable[[], None]]()
        while done < len(rows):
            batch, digests = next(pixels)
            looks = bool(wanted[done : done + len(batch)].any())
            if edits:  # otherwise those for whom these images were to pass have failed
                found = zip(collectors, shared(batch, digests, looks), strict=True)
                coming.append(arrivals([one for each, vectors in found for one in each.sent(vectors)]))
            while len(coming) > _BEHIND.get(self.device.type, 0):
                coming.popleft()()
            done += len(batch)
            advance(len(batch))
        for hand_over in coming:
            hand_over()
        return collectors

    def _watch(self, collectors: Sequence[Collector], whole: bool) -> Watch:
        from itae.embed.diagnostics.norms import NormCollector
        from itae.embed.replay import Watch

        def flags(position: int, *args: Any) -> None:
            flag_collector = collectors[position]
            assert isinstance(flag_collector, FlagCollector)
            flag_collector.see(*args)

        def values(position: int, *args: Any) -> None:
            flag_collector = collectors[position]
            assert isinstance(flag_collector, FlagCollector)
            flag_collector.values(*args)

        def longer(position: int, layer: int, tokens: Any) -> None:
            if isinstance(outlier_collector := collectors[position], OutlierCollector):
                outlier_collector.see(layer, tokens)

        attention = whole and self.source.facts.has_cls
        for each in collectors:
            if isinstance(each, NormCollector):
                return Watch(flags, attention, each.operands, each.output, longer, values, each.calls)
        return Watch(flags, attention, longer=longer, values=values if whole else None)

    def vectors(self, images: ImageSet, edit: AnyEdit | None, advance: Callable[[int], None]) -> np.ndarray:
        """Return the vectors of some pictures, float32 [n, E]; nothing is looked at on the way, and nothing written."""
        shared, found = self._shared_pass([edit]), []
        with self._at_work():
            for pixels, digests in self._pixels(images):
                found.append(to_host(shared(pixels, digests, False))()[0])
                advance(len(digests))
        return np.concatenate(found)

    def _check_unchanged(self, rows: Sequence[int]) -> None:
        """Stop before a picture that was replaced on the way is stored under the old one's fingerprint."""
        for row, now in zip(rows, self.images.stamps(rows), strict=True):
            if now != self.source.stamps[self._rows[row]]:
                name = self.images.ids[row]
                raise UserError(f"The image {name!r} was changed while it was being embedded; run the same once more.")

    def _not_finite(self, vectors: np.ndarray, rows: Sequence[int]) -> UserError | None:
        bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if not len(bad):
            return None
        return UserError(
            f"The embeddings of {len(bad)} images are not finite, {self.images.ids[rows[bad[0]]]!r} first, in "
            f"backbone.precision={self.source.backbone.precision}; use bf16 or fp32, or look at the checkpoint."
        )


def _positions(whole: ImageSet, images: ImageSet) -> list[int]:
    """Return the position of each image in the whole set."""
    rows = {name: i for i, name in enumerate(whole.ids)}
    return [rows[name] for name in images.ids]


def calibrated_together(edits: Mapping[Key, ByDetector]) -> dict[tuple[int, int, int], dict[Key, ByDetector]]:
    """Return the edits in groups that share a walk over calibration images: how many, their seed, the first block."""
    out: dict[tuple[int, int, int], dict[Key, ByDetector]] = {}
    for key, edit in edits.items():
        judge = edit.judge
        together = (judge.calibration_images, judge.calibration_seed, edit.looks[0])
        out.setdefault(together, {})[key] = edit
    return out


def gathered_together(
    edits: Mapping[Key, Edit | RegisterMeanEdit],
) -> dict[tuple[int, int, int | None], dict[Key, Edit | RegisterMeanEdit]]:
    """Return the edits in groups that share calibration images, and a walk over them from a block on, if they take one.

    Parameters
    ----------
    edits
        Those for which something has to be gathered.
    """
    from itae.edits.register_mean import RegisterMeanEdit

    out: dict[tuple[int, int, int | None], dict[Key, Edit | RegisterMeanEdit]] = {}
    for key, edit in edits.items():
        asks = edit if isinstance(edit, RegisterMeanEdit) else edit.attenuator
        first = None if isinstance(edit, RegisterMeanEdit) else edit.layers[0]
        together = (asks.calibration_images, asks.calibration_seed, first)  # type: ignore[union-attr]
        out.setdefault(together, {})[key] = edit
    return out
