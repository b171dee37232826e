"""embeddings = f(dataset, backbone, edit): the function itself, computed once and kept in the store.

All edits that are missing are computed in one pass over the images, those of them whose rows no other entry holds.
What is there is read back; then neither the model is built nor torch imported.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.base.errors import UserError
from itae.base.runtime import Runtime
from itae.base.versions import versions
from itae.edits.edit import AnyEdit
from itae.edits.found import ByDetector
from itae.embed.diagnostics.flag_counts import SIGNAL_EDGES
from itae.embed.diagnostics.put_together import put_together
from itae.embed.find_rows import as_array, find_rows
from itae.embed.resume import draft_kind, ways
from itae.embed.rows import Taken
from itae.embed.settle import settle
from itae.embed.source import Source, stop_for, whole_images
from itae.embed.work import Work
from itae.images.image_set import ImageSet
from itae.store.store import Embeddings, Key, Store

if TYPE_CHECKING:
    from itae.embed.on_ray import RayWorkers
    from itae.embed.worker import Worker

log = logging.getLogger(__name__)

_TRIES = 5  # to have an entry before somebody removes it
Usable = Callable[[ImageSet], object]
Arrays = dict[str, np.ndarray]


def extract(
    source: Source,
    edits: Sequence[AnyEdit | None],
    runtime: Runtime,
    usable: Usable | None = None,
) -> list[Embeddings]:
    """Return the embeddings of `source` under each of `edits` (None is the untouched backbone), in order.

    What the store has is read from there; all the rest is computed in one pass and stored. `usable` is called
    before the pass with the images that can be decoded, to refuse them if they won't do.

    Raises
    ------
    UserError
        For anything that a user can mend: a file that can't be decoded, weights that don't fit, a full disk.
    """
    keys = _checked(source, edits)
    wanted = dict(zip(keys, edits, strict=True))
    entries: dict[Key, Embeddings] = {}
    for _ in range(_TRIES):
        loaded = {key: _as_wanted(source.store, key, runtime) for key in wanted if key not in entries}
        entries |= {key: entry for key, entry in loaded.items() if entry is not None}
        missing = {key: edit for key, edit in wanted.items() if key not in entries}
        if not missing:
            break
        for key, entry in _made(source, missing, runtime, usable):
            entries[key] = replace(entry, fresh=True)
    if lost := [source.store.path(key) for key in wanted if key not in entries]:
        raise UserError(
            f"{lost[0]} was removed as soon as it was there, {_TRIES} times; end what clears {source.store.root} "
            "(`itae cache prune`?), and run the same command again."
        )
    out = [entries[key] for key in keys]
    if source.dataset.bad_image == "error" and out[0].meta["skipped"]:  # made by a run that allowed it
        stop_for(out[0].meta["skipped"])
    return out


def ensure(source: Source, edits: Sequence[AnyEdit | None], runtime: Runtime, usable: Usable | None = None) -> None:
    """Have the store hold what `extract` would return, which reads it: here no bytes of what is there are read.

    Raises
    ------
    UserError
        As `extract` does.
    """
    enough = partial(_has_enough, runtime.diagnostics)
    wanted = dict(zip(_checked(source, edits), edits, strict=True))
    missing = {key: edit for key, edit in wanted.items() if not source.store.has(key, enough)}
    for key in missing:
        if source.store.has(key):
            _tell_bare(source.store.path(key))
        else:
            source.store.tell_miss(key)
    for _ in _made(source, missing, runtime, usable):
        pass


def _checked(source: Source, edits: Sequence[AnyEdit | None]) -> list[Key]:
    for edit in edits:
        source.check(edit)
    return [source.key(edit) for edit in edits]


def _has_enough(diagnostics: bool, meta: Mapping[str, Any]) -> bool:
    """Whether an entry has all that is wanted; one without diagnostics does for those who want none."""
    return bool(meta.get("diagnostics")) or not diagnostics


def _as_wanted(store: Store, key: Key, runtime: Runtime) -> Embeddings | None:
    """Return the entry of `key` if it has all that is wanted; else it stays until the one that has takes its place."""
    entry = store.load(key)
    if entry is None or _has_enough(runtime.diagnostics, entry.meta):
        return entry
    _tell_bare(entry.path)
    return None


def _tell_bare(path: Path) -> None:
    log.warning(
        "%s was made without diagnostics; it is made again (runtime.diagnostics=false takes it as it is).", path
    )


def _made(
    source: Source, missing: Mapping[Key, AnyEdit | None], runtime: Runtime, usable: Usable | None
) -> Iterator[tuple[Key, Embeddings]]:
    """Make what is missing and yield it, one by one as it is stored; at the end what others have made is there, too."""
    enough = partial(_has_enough, runtime.diagnostics)
    for wait in (False, True):  # what others are making is waited for, with one's own work done
        if missing:
            with source.store.claim(missing, wait, enough) as mine:
                if mine:
                    yield from _compute(source, {key: missing[key] for key in mine}, runtime, usable)
            left = missing.keys() - set(mine)
            missing = {key: edit for key, edit in missing.items() if key in left and not source.store.has(key, enough)}


def _compute(
    source: Source, edits: Mapping[Key, AnyEdit | None], runtime: Runtime, usable: Usable | None
) -> Iterator[tuple[Key, Embeddings]]:
    """Compute the claimed entries in one pass over the images, shard by shard; publish and yield each.

    Only where interrupted runs have left shards of several sizes is there a pass for each. The model is built when
    the first image has to pass.
    """
    began = time.perf_counter()
    images, skipped = whole_images(source)
    if usable is not None:
        usable(images)
    n = len(images)
    made = ways(source.store, edits, n, runtime)
    passes = {way: {key: edit for key, edit in edits.items() if made[key] == way} for way in made.values()}
    room = sum(source.room(some.values(), n, *way) for way, some in passes.items())
    source.store.room_for(room, [(key, draft_kind(way.diagnostics)) for key, way in made.items()])
    failed: dict[Key, UserError] = {}
    passed = dict.fromkeys(edits, 0)
    enough = partial(_has_enough, runtime.diagnostics)
    with contextlib.ExitStack() as stack:
        engine = cache(lambda: stack.enter_context(_engine(source, images, runtime)))
        settled, ready = settle(source, images, engine, edits, made)
        # All of them before the first pass: what was fitted is kept with its draft.
        drafts = {
            key: source.store.draft(key, n, way.shard, settled[key], draft_kind(way.diagnostics), enough)
            for key, way in made.items()
        }
        taken = find_rows(source, images, ready, settled)
        for some in passes.values():
            work = Work(source.facts, {key: drafts[key] for key in some}, ready, taken)
            failed |= work.done(engine, passed)
    seconds = round(time.perf_counter() - began, 3)
    digests = as_array(images.digests)
    extra = {"versions": versions(), "skipped": skipped, "seconds": seconds}
    for key in [key for key in drafts if key not in failed]:
        finish = partial(_finished, source, runtime, edits[key], digests, taken[key])
        entry = drafts[key].publish(images.ids, images.labels, images.digests, extra | settled[key], finish)
        if made[key].diagnostics:
            source.store.drop(key, draft_kind(diagnostics=False))
        yield key, replace(entry, passed=passed[key])
    for error in failed.values():  # the others are in the store by now
        raise error


@contextlib.contextmanager
def _engine(source: Source, images: ImageSet, runtime: Runtime) -> Iterator[Worker | RayWorkers]:
    """Yield what calibrates and fills shards: a model in this process, or the workers of a Ray cluster."""
    if runtime.engine == "local":
        from itae.embed.worker import Worker

        worker = Worker(source, images, runtime)
        try:
            yield worker
        finally:
            worker.close()
        return
    from itae.embed.on_ray import ray_workers

    with ray_workers(source, images, runtime) as over:
        yield over


def _finished(
    source: Source, runtime: Runtime, edit: AnyEdit | None, digests: np.ndarray, taken: Taken, found: Arrays
) -> tuple[Arrays, dict[str, Any]]:
    """Return the diagnostics of what the shards hold, and what an entry says of where its rows were made."""
    height, width = source.facts.grid
    given, passed = taken.given(), found["passed"]
    fixed = {"layers": np.array(edit.layers), "signal_edges": SIGNAL_EDGES} if isinstance(edit, ByDetector) else {}
    arrays, told = put_together(found, digests, fixed, given[0] if given else None, height * width)
    here = ["ray" if runtime.engine == "ray" else str(runtime.torch_device())] if passed.any() else []
    there = [name for donor in given for name in str(donor.meta.get("device", "?")).split(", ")] if told else []
    rows = {"rows": told | {"from": [donor.path.name for donor in given]}} if told else {}
    return arrays, rows | {"device": ", ".join(dict.fromkeys(here + there)) or "?"}
