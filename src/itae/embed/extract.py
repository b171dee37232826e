"""embeddings = f(dataset, backbone, edit): the function itself, computed once and kept in the store.

All edits that are missing are computed in one pass over the images. What is there is read back; then neither
the model is built nor torch imported.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.base.progress import progress
from itae.base.runtime import Runtime
from itae.base.versions import versions
from itae.edits.edit import AnyEdit, Edit
from itae.edits.registers import RegisterEdit
from itae.embed.diagnostics.collect import example_rows
from itae.embed.diagnostics.flag_counts import SIGNAL_EDGES
from itae.embed.source import Source, shard_of, stop_for, whole_images
from itae.embed.worker import Worker
from itae.images.image_set import ImageSet
from itae.store.store import Embeddings, Key, Store

if TYPE_CHECKING:
    from itae.edits.bimodal import Fit
    from itae.edits.registers import RegisterNeurons
    from itae.embed.on_ray import RayWorkers

log = logging.getLogger(__name__)


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
    entries = {key: _as_wanted(source.store, key, runtime) for key in dict.fromkeys(keys)}
    missing = {key: edit for key, edit in zip(keys, edits, strict=True) if entries[key] is None}
    for wait in (False, True):  # what others are making is waited for, with one's own work done
        if missing:
            with source.store.claim(missing, wait) as mine:
                if mine:
                    entries |= _compute(source, {key: missing[key] for key in mine}, runtime, usable)
            for key in set(missing) - set(mine):
                entries[key] = source.store.load(key)
            missing = {key: edit for key, edit in missing.items() if entries[key] is None}
    out = [entry for key in keys if (entry := entries[key]) is not None]
    assert len(out) == len(keys), "an entry vanished between its making and its reading"
    if source.dataset.bad_image == "error" and out[0].meta["skipped"]:  # made by a run that allowed it
        stop_for(out[0].meta["skipped"])
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
    shard = begun[0] if begun else shard_of(runtime.batch_size)
    source.store.room_for(source.room(edits.values(), n, shard, runtime.diagnostics), edits)
    with _engine(source, images, runtime) as engine:
        fitted = {key: edit for key, edit in edits.items() if isinstance(edit, Edit) and edit.unfitted}
        fits = engine.calibrate(fitted) if fitted else {}
        thresholds = {
            key: {str(layer): fit.as_json() for layer, fit in (fits.get(key) or _given(edit)).items()}
            for key, edit in edits.items()
        }
        to_search = {key: edit for key, edit in edits.items() if isinstance(edit, RegisterEdit) and edit.unfound}
        neurons = engine.search(to_search) if to_search else {}
        searched = {key: {"search": neurons[key].summary(edit.settings.top_k)} for key, edit in to_search.items()}
        ready = {key: _settled(edit, fits.get(key), neurons.get(key)) for key, edit in edits.items()}
        settled = {
            key: {"fits": thresholds[key], "diagnostics": runtime.diagnostics} | searched.get(key, {}) for key in edits
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
        about = extra | {"fits": thresholds[key]} | searched.get(key, {})
        whole = _fixed(edits[key], n)
        published[key] = drafts[key].publish(images.ids, images.labels, images.digests, about, whole)
    for error in failed.values():  # the others are in the store by now
        raise error
    return {key: replace(entry, fresh=True) for key, entry in published.items()}


@contextlib.contextmanager
def _engine(source: Source, images: ImageSet, runtime: Runtime) -> Iterator[Worker | RayWorkers]:
    """Yield what calibrates and fills shards: a model in this process, or the workers of a Ray cluster."""
    if runtime.engine == "local":
        worker = Worker(source, images, runtime)
        try:
            yield worker
        finally:
            worker.close()
        return
    from itae.embed.on_ray import ray_workers

    with ray_workers(source, images, runtime) as over:
        yield over


def _given(edit: AnyEdit | None) -> dict[int, Fit]:
    """Return the thresholds that an edit came with."""
    if not isinstance(edit, Edit) or edit.thetas is None:
        return {}
    from itae.edits.bimodal import Fit

    return {
        layer: Fit(theta, "no two modes in the calibration" if math.isnan(theta) else "from a calibration")
        for layer, theta in edit.thetas.items()
        if layer in edit.looks
    }


def _settled(edit: AnyEdit | None, fits: dict[int, Fit] | None, neurons: RegisterNeurons | None) -> AnyEdit | None:
    """Return the edit with what was fitted or found for it."""
    if isinstance(edit, Edit) and fits is not None:
        return edit.with_thetas({layer: fit.theta for layer, fit in fits.items()})
    if isinstance(edit, RegisterEdit) and neurons is not None:
        return edit.with_neurons(neurons)
    return edit


def _fixed(edit: AnyEdit | None, n: int) -> dict[str, np.ndarray]:
    if not isinstance(edit, Edit):
        return {}
    return {"layers": np.array(edit.layers), "signal_edges": SIGNAL_EDGES, "examples": np.array(example_rows(n))}
