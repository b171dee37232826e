"""embeddings = f(dataset, backbone, edit): the function itself, computed once and kept in the store.

All edits that are missing are computed in one pass over the images. What is there is read back; then neither
the model is built nor torch imported.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from itae.backbone import Backbone, Facts
from itae.data import Dataset, ImageSet
from itae.data.images import Transform
from itae.data.walk import listed
from itae.diagnostics import SIGNAL_EDGES, collector, example_rows
from itae.edit import AnyEdit, Edit
from itae.errors import UserError
from itae.registers import RegisterEdit
from itae.runtime import Runtime, progress, versions
from itae.store import Embeddings, Key, Store
from itae.worker import Worker

if TYPE_CHECKING:
    from itae.calibrate import Fit
    from itae.register_search import Found
    from itae.spread import Spread

log = logging.getLogger(__name__)

SHARD = 256  # images, at least: what a killed run loses at most
_HEADERS = 4096  # bytes of a shard beside its arrays: their names and shapes
_ENTRY = 24_000  # bytes of an entry that no setting changes: meta.json, the edges of the histograms


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

    def picture(self, name: str) -> np.ndarray:
        """Return what the backbone sees of the image of that id, uint8 [S, S, 3]."""
        return self.transform(self.images.read(self.images.ids.index(name)))

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

    def key(self, edit: AnyEdit | None) -> Key:
        """Return the key of this source under `edit`."""
        spec = edit.spec(self.facts.depth, self.backbone.pool) if edit else None
        folder = (f"{self.images.name}-{self.images.split}", self.facts.architecture)
        return Key(self._space | {"edit": spec}, self._dataset, folder)

    def search_key(self, edit: RegisterEdit) -> dict[str, Any]:
        """Return all that a search for register neurons depends on; how embeddings are pooled is not."""
        space = {name: value for name, value in self._space.items() if name != "pool"}
        return {"space": space, "dataset": self._dataset, "search": edit.settings.search_spec()}

    def room(self, edits: Iterable[AnyEdit | None], n: int, shard: int | None = None, diagnostics: bool = True) -> int:
        """Return the bytes that it takes to make `n` embeddings under each of `edits`.

        Shards go when their entry is there; while it is put together there are both.
        """
        shard = shard or SHARD
        names = sum(len(name.encode("utf-8", "surrogateescape")) + 1 for name in self.images.ids)
        lists = names + (8 + 32) * n  # and labels and digests
        each = []
        for edit in edits:
            found = collector(edit, self.facts, shard, diagnostics)
            some = sum(array.nbytes for array in found.some().values())
            shards = -(-n // shard) * (_HEADERS + found.nbytes)
            entry = lists + 2 * found.nbytes + _ENTRY  # whose sums have eight bytes each
            each.append(4 * n * self.facts.width + some + max(shards, entry))
        return sum(each) + max(each, default=0)

    def check(self, edit: AnyEdit | None) -> None:
        """Raise a `UserError` if the model lacks what `edit` needs."""
        if edit is not None:
            edit.check(self.facts)


def extract(
    source: Source,
    edits: Sequence[AnyEdit | None],
    runtime: Runtime,
    usable: Callable[[ImageSet], object] | None = None,
) -> list[Embeddings]:
    """Return the embeddings of `source` under each of `edits` (None is the untouched backbone), in order.

    What the store has is read from there; all the rest is computed in one pass and stored. `usable` is called
    before the pass with the images that can be decoded, to refuse them if they won't do.

    Raises
    ------
    UserError
        For anything that a user can mend: a file that can't be decoded, weights that don't fit, a full disk.
    """
    for edit in edits:
        source.check(edit)
    keys = [source.key(edit) for edit in edits]
    found = {key: _as_wanted(source.store, key, runtime) for key in dict.fromkeys(keys)}
    missing = {key: edit for key, edit in zip(keys, edits, strict=True) if found[key] is None}
    for wait in (False, True):  # what others are making is waited for, with one's own work done
        if missing:
            with source.store.claim(missing, wait) as mine:
                if mine:
                    found |= _compute(source, {key: missing[key] for key in mine}, runtime, usable)
            for key in set(missing) - set(mine):
                found[key] = source.store.load(key)
            missing = {key: edit for key, edit in missing.items() if found[key] is None}
    out = [entry for key in keys if (entry := found[key]) is not None]
    assert len(out) == len(keys), "an entry vanished between its making and its reading"
    if source.dataset.bad_image == "error" and out[0].meta["skipped"]:  # made by a run that allowed it
        _stop_for(out[0].meta["skipped"])
    return out


def _as_wanted(store: Store, key: Key, runtime: Runtime) -> Embeddings | None:
    """Return the entry of `key` if it has all that is wanted; one without diagnostics is removed, to be made again."""
    entry = store.load(key)
    if entry is None or entry.meta.get("diagnostics") or not runtime.diagnostics:
        return entry
    log.warning(
        "%s was made without diagnostics; it is made again (runtime.diagnostics=false takes it as it is).", entry.path
    )
    store.discard(key, entry)
    return None


def _compute(
    source: Source, edits: dict[Key, AnyEdit | None], runtime: Runtime, usable: Callable[[ImageSet], object] | None
) -> dict[Key, Embeddings]:
    """Compute the claimed entries in one pass over the images, shard by shard, and publish them."""
    began = time.perf_counter()
    images, skipped = whole_images(source)
    if usable is not None:
        usable(images)
    n = len(images)
    # What a run with another batch size left is gone on with; a batch never crosses the end of a shard.
    begun = [size for key in edits if (size := source.store.unfinished_shard(key))]
    shard = begun[0] if begun else runtime.batch_size * math.ceil(SHARD / runtime.batch_size)
    source.store.room_for(source.room(edits.values(), n, shard, runtime.diagnostics), edits)
    with _engine(source, images, runtime) as engine:
        fitted = {key: edit for key, edit in edits.items() if isinstance(edit, Edit) and edit.unfitted}
        fits = engine.calibrate(fitted) if fitted else {}
        told = {
            key: {str(layer): fit.told() for layer, fit in (fits.get(key) or _given(edit)).items()}
            for key, edit in edits.items()
        }
        unfound = {key: edit for key, edit in edits.items() if isinstance(edit, RegisterEdit) and edit.unfound}
        found = engine.search(unfound) if unfound else {}
        searched = {key: {"search": found[key].told(edit.settings.top_k)} for key, edit in unfound.items()}
        ready = {key: _settled(edit, fits.get(key), found.get(key)) for key, edit in edits.items()}
        settled = {
            key: {"fits": told[key], "diagnostics": runtime.diagnostics} | searched.get(key, {}) for key in edits
        }
        drafts = {key: source.store.draft(key, n, shard, settled[key]) for key in edits}
        todo = sorted({i for draft in drafts.values() for i in range(draft.shards) if not draft.has(i)})
        failed = {}
        if todo:
            with progress(n, "embedding", "images", todo[0] * shard) as advance:
                failed = engine.fill(drafts, ready, todo, advance)
        extra: dict[str, Any] = {"versions": versions(), "skipped": skipped, "device": str(engine.device)}
        extra["diagnostics"] = runtime.diagnostics
    extra["seconds"] = round(time.perf_counter() - began, 3)
    published = {}
    for key in [key for key in drafts if key not in failed]:
        about = extra | {"fits": told[key]} | searched.get(key, {})
        whole = _fixed(edits[key], n)
        published[key] = drafts[key].publish(images.ids, images.labels, images.digests, about, whole)
    for error in failed.values():  # the others are in the store by now
        raise error
    return {key: replace(entry, fresh=True) for key, entry in published.items()}


@contextlib.contextmanager
def _engine(source: Source, images: ImageSet, runtime: Runtime) -> Iterator[Worker | Spread]:
    """Yield what calibrates and fills shards: a model in this process, or the workers of a Ray cluster."""
    if runtime.engine == "local":
        yield Worker(source, images, runtime)
        return
    from itae.spread import spread

    with spread(source, images, runtime) as over:
        yield over


def _given(edit: AnyEdit | None) -> dict[int, Fit]:
    """Return the thresholds that an edit came with."""
    if not isinstance(edit, Edit) or edit.thetas is None:
        return {}
    from itae.calibrate import Fit

    return {
        layer: Fit(theta, "no two modes in the calibration" if math.isnan(theta) else "from a calibration")
        for layer, theta in edit.thetas.items()
        if layer in edit.looks
    }


def _settled(edit: AnyEdit | None, fits: dict[int, Fit] | None, found: Found | None) -> AnyEdit | None:
    """Return the edit with what was fitted or found for it."""
    if isinstance(edit, Edit) and fits is not None:
        return edit.with_thetas({layer: fit.theta for layer, fit in fits.items()})
    if isinstance(edit, RegisterEdit) and found is not None:
        return edit.with_found(found)
    return edit


def _fixed(edit: AnyEdit | None, n: int) -> dict[str, np.ndarray]:
    if not isinstance(edit, Edit):
        return {}
    return {"layers": np.array(edit.layers), "signal_edges": SIGNAL_EDGES, "examples": np.array(example_rows(n))}


def whole_images(source: Source) -> tuple[ImageSet, dict[str, str]]:
    """Return the images that can be decoded and why the others can't, or stop if others aren't allowed."""
    bad = source.images.bad()
    if not bad:
        return source.images, {}
    if source.dataset.bad_image == "error":
        _stop_for(bad)
    name = next(iter(bad))
    images = source.images.without(bad)
    log.warning("%d of %d images can't be decoded and are left out, %r first.", len(bad), len(source.images), name)
    if lost := [name for name in images.empty_classes if name not in source.images.empty_classes]:
        log.warning("%d classes lost all their images with these (%s).", len(lost), listed(lost))
    return images, bad


def _stop_for(bad: Mapping[str, str]) -> NoReturn:
    name, reason = next(iter(bad.items()))
    more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
    raise UserError(
        f"The image {name!r}{more} can't be decoded ({reason}); mend or remove it, or set dataset.bad_image=skip to "
        "leave such images out."
    )
