"""embeddings = f(dataset, backbone, edit): the function itself, computed once and kept in the store.

All edits that are missing are computed in one pass over the images. What is there is read back; then neither
the model is built nor torch imported.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from itae.backbone import Backbone, Facts
from itae.data import Dataset, ImageSet
from itae.data.images import Transform, batches, normalise
from itae.diagnostics import SIGNAL_EDGES, Collector
from itae.edit import Edit
from itae.errors import UserError
from itae.runtime import Runtime, forward_context, memory_reused, progress, versions
from itae.store import Draft, Embeddings, Key, Store

if TYPE_CHECKING:
    import torch

    from itae.calibrate import Fit
    from itae.replay import SharedPass

log = logging.getLogger(__name__)

SHARD = 256  # images, at least: what a killed run loses at most


@dataclass(frozen=True)
class Source:
    """A data set seen through a backbone: all that embeddings depend on but the edit.

    Parameters
    ----------
    dataset, images
        The settings and what was found.
    backbone, facts
        The settings and what is known of the model.
    store
        Where embeddings are kept.
    """

    dataset: Dataset
    images: ImageSet
    backbone: Backbone
    facts: Facts
    store: Store

    @classmethod
    def open(cls, dataset: Dataset, backbone: Backbone, store: Store) -> Source:
        """Find the images and learn of the model; raises `UserError` for whatever is wrong with either."""
        return cls(dataset, dataset.open(), backbone, backbone.facts(store.root / ".facts"), store)

    @cached_property
    def transform(self) -> Transform:
        """How an image comes to the backbone."""
        facts = self.facts
        return Transform(self.backbone.image_size, self.dataset.resize, facts.interpolation, facts.mean, facts.std)

    @cached_property
    def _space(self) -> dict[str, Any]:
        return self.backbone.space(self.facts) | {"transform": self.transform.spec()}

    @cached_property
    def stamps(self) -> list[tuple[int, int] | None]:
        """Size and time of change of each image's file, from before it was fingerprinted."""
        return self.images.stamps(range(len(self.images)))

    @cached_property
    def _dataset(self) -> dict[str, Any]:
        assert self.stamps is not None  # taken first: a file that changes from here on is noticed
        return {
            "fingerprint": self.images.fingerprint(),
            "split": self.images.split,
            "images": len(self.images),
        }

    def key(self, edit: Edit | None) -> Key:
        """Return the key of this source under `edit`."""
        spec = edit.spec(self.facts.depth, self.backbone.pool) if edit else None
        folder = (f"{self.images.name}-{self.images.split}", self.facts.architecture)
        return Key(self._space | {"edit": spec}, self._dataset, folder)

    def check(self, edit: Edit | None) -> None:
        """Raise a `UserError` if `edit` needs a CLS token and the model has none."""
        if edit is None or self.facts.has_cls:
            return
        name = self.facts.architecture
        if edit.detector.needs_cls:
            raise UserError(f"detector=cls_attention: {name} has no CLS token; choose another detector.")
        if edit.attenuator.queries == "cls":
            raise UserError(f"attenuator.queries=cls: {name} has no CLS token; use attenuator.queries=all.")


def extract(
    source: Source, edits: Sequence[Edit | None], runtime: Runtime, usable: Callable[[int], object] | None = None
) -> list[Embeddings]:
    """Return the embeddings of `source` under each of `edits` (None is the untouched backbone), in order.

    What the store has is read from there; all the rest is computed in one pass and stored. `usable` is called
    before the pass with the number of images that can be decoded, to refuse a number that won't do.

    Raises
    ------
    UserError
        For anything that a user can mend: a file that can't be decoded, weights that don't fit, a full disk.
    """
    for edit in edits:
        source.check(edit)
    keys = [source.key(edit) for edit in edits]
    found = {key: source.store.load(key) for key in dict.fromkeys(keys)}
    missing = {key: edit for key, edit in zip(keys, edits, strict=True) if found[key] is None}
    if missing:
        with source.store.claim(missing) as still:
            if still:
                with memory_reused():
                    found |= _compute(source, {key: missing[key] for key in still}, runtime, usable)
        for key in set(missing) - set(still):
            found[key] = source.store.load(key)
    out = [entry for key in keys if (entry := found[key]) is not None]
    assert len(out) == len(keys), "an entry vanished between its making and its reading"
    if source.dataset.bad_image == "error" and out[0].meta["skipped"]:  # made by a run that allowed it
        _stop_for(out[0].meta["skipped"])
    return out


def _compute(
    source: Source, edits: dict[Key, Edit | None], runtime: Runtime, usable: Callable[[int], object] | None
) -> dict[Key, Embeddings]:
    """Compute the claimed entries in one pass over the images, shard by shard, and publish them."""
    began = time.perf_counter()
    images, skipped = _whole_images(source)
    if usable is not None:
        usable(len(images))
    device = runtime.torch_device()
    model = source.backbone.build(source.facts, device)
    width, n = source.facts.width, len(images)
    source.store.room_for(4 * n * width * (len(edits) + 1), edits)  # shards of all, and one entry put together
    run = _Run(source, images, model, device, runtime)
    fits = {key: run.calibrate(edit) for key, edit in edits.items() if edit is not None and edit.detector.fitted}
    ready = {key: _fitted(edit, fits.get(key)) for key, edit in edits.items()}
    # What a run with another batch size left is gone on with; a batch never crosses the end of a shard.
    begun = [size for key in edits if (size := source.store.unfinished_shard(key))]
    shard = begun[0] if begun else runtime.batch_size * math.ceil(SHARD / runtime.batch_size)
    told = {key: {str(layer): fit.told() for layer, fit in fits.get(key, {}).items()} for key in edits}
    drafts = {key: source.store.draft(key, n, shard, told[key]) for key in edits}
    with _memory_told(runtime):
        failed = run.fill(drafts, ready)
    extra: dict[str, Any] = {"versions": versions(), "skipped": skipped, "device": str(device)}
    extra["seconds"] = round(time.perf_counter() - began, 3)
    published = {
        key: draft.publish(images.ids, images.labels, extra | {"fits": told[key]}, _fixed(edits[key]))
        for key, draft in drafts.items()
        if key not in failed
    }
    for error in failed.values():  # the others are in the store by now
        raise error
    return {key: replace(entry, fresh=True) for key, entry in published.items()}


@contextlib.contextmanager
def _memory_told(runtime: Runtime) -> Iterator[None]:
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"The GPU has too little memory for runtime.batch_size={runtime.batch_size}; set a smaller one. The shards "
            "that are done are kept."
        ) from error


def _fitted(edit: Edit | None, fits: dict[int, Fit] | None) -> Edit | None:
    if edit is None or fits is None:
        return edit
    return edit.with_thetas({layer: fit.theta for layer, fit in fits.items()})


def _fixed(edit: Edit | None) -> dict[str, np.ndarray]:
    return {} if edit is None else {"layers": np.array(edit.layers), "signal_edges": SIGNAL_EDGES}


def _whole_images(source: Source) -> tuple[ImageSet, dict[str, str]]:
    """Return the images that can be decoded and why the others can't, or stop if others aren't allowed."""
    bad = source.images.bad()
    if not bad:
        return source.images, {}
    if source.dataset.bad_image == "error":
        _stop_for(bad)
    name = next(iter(bad))
    log.warning("%d of %d images can't be decoded and are left out, %r first.", len(bad), len(source.images), name)
    return source.images.without(bad), bad


def _stop_for(bad: Mapping[str, str]) -> NoReturn:
    name, reason = next(iter(bad.items()))
    more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
    raise UserError(
        f"The image {name!r}{more} can't be decoded ({reason}); mend or remove it, or set dataset.bad_image=skip to "
        "leave such images out."
    )


class _Run:
    """One pass over the images with a model that is loaded."""

    def __init__(self, source: Source, images: ImageSet, model: Any, device: torch.device, runtime: Runtime) -> None:
        self.source, self.images, self.model = source, images, model
        self.device, self.runtime = device, runtime
        rows = {name: i for i, name in enumerate(source.images.ids)}
        # The position in the whole set: what a detector draws for an image mustn't hang on what is left out.
        self.index = np.array([rows[name] for name in images.ids])

    def shared_pass(self, edits: Sequence[Edit | None], seen: Any = None) -> SharedPass:
        from itae.replay import SharedPass

        return SharedPass(self.model, self.source.facts.prefix, self.source.backbone.pool, edits, seen)

    def pixels(
        self, images: ImageSet, index: np.ndarray, start: int = 0, shard: int | None = None
    ) -> Generator[tuple[Any, Any]]:
        """Yield batches from image `start` on: pixels [b, 3, S, S] on the device, and positions [b]."""
        import torch

        size, transform, at = self.runtime.batch_size, self.source.transform, start
        for raw in batches(images, transform, start, len(images), size, self.runtime.num_workers, shard):
            pixels = normalise(torch.from_numpy(raw).to(self.device, non_blocking=True), transform)
            yield pixels, torch.from_numpy(index[at : at + len(raw)])
            at += len(raw)

    def calibrate(self, edit: Edit) -> dict[int, Fit]:
        """Fit the edit's threshold of each layer, without labels, on images drawn with its seed."""
        from itae.calibrate import fit_layers

        count = min(len(self.images), edit.detector.calibration_images)  # type: ignore[attr-defined]
        draw = np.random.default_rng(edit.detector.calibration_seed)  # type: ignore[attr-defined]
        rows = np.sort(draw.choice(len(self.images), count, replace=False))
        with forward_context(self.device, self.source.backbone.precision):
            sample = self.pixels(self.images.take(rows.tolist()), self.index[rows])
            return fit_layers(self.shared_pass([edit]), edit, sample)

    def fill(self, drafts: dict[Key, Draft], edits: dict[Key, Edit | None]) -> dict[Key, UserError]:
        """Write every shard that is missing in any of the drafts; return what is wrong with those that can't be."""
        failed: dict[Key, UserError] = {}
        shards = next(iter(drafts.values())).shards
        lacking = {key: {i for i in range(shards) if not draft.has(i)} for key, draft in drafts.items()}
        todo = sorted(set().union(*lacking.values()))
        if not todo:
            return failed
        per_shard = next(iter(drafts.values())).shard
        batches_left = self.pixels(self.images, self.index, todo[0] * per_shard, per_shard)
        with (
            progress(len(self.images), "embedding", "images", todo[0] * per_shard) as advance,
            contextlib.closing(batches_left),
            forward_context(self.device, self.source.backbone.precision),
        ):
            for i in range(todo[0], todo[-1] + 1):
                keys = [key for key in drafts if i in lacking[key] and key not in failed]
                count = min(per_shard, len(self.images) - i * per_shard)
                collectors = self._shard([edits[key] for key in keys], batches_left, count, advance)
                self._check_unchanged(i * per_shard, count)
                for key, collector in zip(keys, collectors, strict=True):
                    rows = collector.rows()
                    if error := self._not_finite(rows["vectors"], i * per_shard):
                        failed[key] = error
                    else:
                        drafts[key].write(i, rows, collector.sums())
                if len(failed) == len(drafts):  # nothing is left to go on for
                    break
        return failed

    def _check_unchanged(self, first: int, count: int) -> None:
        """Stop before a picture that was replaced on the way is stored under the old one's fingerprint."""
        rows = range(first, first + count)
        for row, now in zip(rows, self.images.stamps(rows), strict=True):
            if now != self.source.stamps[self.index[row]]:
                name = self.images.ids[row]
                raise UserError(f"The image {name!r} was changed while it was being embedded; run the same once more.")

    def _not_finite(self, vectors: np.ndarray, first: int) -> UserError | None:
        bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if not len(bad):
            return None
        return UserError(
            f"The embeddings of {len(bad)} images are not finite, {self.images.ids[first + bad[0]]!r} first, in "
            f"backbone.precision={self.source.backbone.precision}; use bf16 or fp32, or look at the checkpoint."
        )

    def _shard(
        self, edits: list[Edit | None], batches_left: Iterator[tuple[Any, Any]], count: int, advance: Any
    ) -> list[Collector]:
        collectors = [Collector(edit) for edit in edits]
        shared = self.shared_pass(edits, lambda position, layer, flags: collectors[position].see(layer, flags))
        done = 0
        while done < count:
            pixels, index = next(batches_left)
            if edits:  # otherwise every draft has this shard, and its images are passed over
                for collector, vectors in zip(collectors, shared(pixels, index), strict=True):
                    collector.add(vectors.cpu().numpy())
            done += len(pixels)
            advance(len(pixels))
        return collectors
