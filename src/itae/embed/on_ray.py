"""One extraction over many machines: its shards are tasks of a Ray cluster, written straight to a shared store.

A task is one shard. It writes the very file that a single process would write, at once or not at all, so it may
be done twice, by anybody: Ray starts the task of a lost worker again, and what was done stays. A worker process
loads the model for its first shard and keeps it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import ray

from itae.base.errors import UserError
from itae.base.place import Place
from itae.base.runtime import Runtime
from itae.embed.ray_cluster import begun, connected, done, told
from itae.embed.rows import Taken, parts_of
from itae.embed.worker import Fits, Worker, calibrated_together, gathered_together

if TYPE_CHECKING:
    from itae.edits.edit import AnyEdit, Edit
    from itae.edits.found import ByDetector
    from itae.edits.register_mean import RegisterMeanEdit
    from itae.edits.registers import RegisterEdit, RegisterNeurons
    from itae.embed.gather import Settled
    from itae.embed.source import Source
    from itae.images.image_set import ImageSet
    from itae.store.store import Draft, Key

VISIBLE = 60.0  # seconds in which a file written on another machine becomes visible here


@contextlib.contextmanager
def ray_workers(source: Source, images: ImageSet, runtime: Runtime) -> Iterator[RayWorkers]:
    """Be connected to the Ray cluster that ``runtime.ray`` names, to calibrate and fill shards on it.

    Raises
    ------
    UserError
        If there is no such cluster, or it has too little for a single worker.
    """
    with connected(runtime.ray, "runtime.ray"):
        yield RayWorkers(source, images, runtime)


class RayWorkers:
    """The workers of a Ray cluster, in the place of one `itae.embed.worker.Worker`."""

    device = "ray"

    def __init__(self, source: Source, images: ImageSet, runtime: Runtime) -> None:
        assert source.stamps is not None  # those of the fingerprint, and not of when a worker first looks
        self.job, self.place = ray.put((source, images, runtime)), Place.here()
        self.asked = runtime.ray

    def calibrate(self, edits: Mapping[Key, ByDetector]) -> Fits:
        """Fit thresholds as `Worker.calibrate` does, edits that share a walk together."""
        together = calibrated_together(edits).values()
        out: Fits = {}
        for _, fits in self._done([self._task(_calibrate, ray.put(some)) for some in together]):
            out |= fits
        return out

    def search(self, edits: Mapping[Key, RegisterEdit]) -> dict[Key, RegisterNeurons]:
        """Search as `Worker.search` does, on one worker."""
        ((_, found),) = self._done([self._task(_search, ray.put(edits))])
        return dict(found)

    def gather_for(self, edits: Mapping[Key, Edit | RegisterMeanEdit]) -> dict[Key, Settled]:
        """Gather as `Worker.gather_for` does, edits that share images together."""
        together = gathered_together(edits).values()
        out: dict[Key, Settled] = {}
        for _, found in self._done([self._task(_gather, ray.put(some)) for some in together]):
            out |= found
        return out

    def fill(
        self,
        drafts: Mapping[Key, Draft],
        edits: Mapping[Key, AnyEdit | None],
        taken: Mapping[Key, Taken],
        todo: Sequence[int],
        advance: Callable[[int], None],
    ) -> dict[Key, UserError]:
        """Write shards as `Worker.fill` does, in any order."""
        failed: dict[Key, UserError] = {}
        images = [sum(len(part.rows) for part in parts_of(i, drafts, taken)) for i in todo]
        work = ray.put((drafts, edits, taken))
        with contextlib.closing(self._done([self._task(_fill, work, i) for i in todo])) as done:
            for place, wrong in done:
                failed = wrong | failed
                advance(images[place])
                if len(failed) == len(drafts):  # nothing is left to go on for
                    break
        _wait_until_visible([draft for key, draft in drafts.items() if key not in failed])
        return failed

    def _task(self, work: Callable, what: ray.ObjectRef, *args: int) -> ray.ObjectRef:
        # In lists, objects stay packed until the worker is where it can find modules of the user's own.
        return begun(work, self.asked, self.place, [self.job], [what], *args)

    def _done(self, tasks: Sequence[ray.ObjectRef]) -> Generator[tuple[int, Any]]:
        then = "The shards that are done are kept, and the same command goes on from there."
        return done(tasks, self.asked, "runtime.ray", "The pass", then)


def _wait_until_visible(drafts: Sequence[Draft]) -> None:
    until = time.monotonic() + VISIBLE
    for draft in drafts:
        while len(draft.written()) < draft.shards:
            if time.monotonic() > until:
                raise UserError(
                    f"{draft.path} lacks shards that Ray workers have written: runtime.engine=ray needs paths.cache on "
                    "a file system that all of them share."
                )
            time.sleep(0.2)


# --- in a worker process


@functools.lru_cache(maxsize=1)
def _worker(job: ray.ObjectRef) -> Worker:
    """Return the worker of this process, with the model loaded: once, and not for each shard."""
    import torch

    source, images, runtime = ray.get(job)
    torch.set_num_threads(max(1, int(runtime.ray.num_cpus)))  # this process may have had other work before
    return Worker(source, images, runtime)


@functools.lru_cache(maxsize=1)
def _work(work: ray.ObjectRef) -> Any:
    """Return what is to be filled: once, since entries that give rows are verified as they are first read."""
    return ray.get(work)


@told
def _calibrate(place: Place, job: list[ray.ObjectRef], edits: list[ray.ObjectRef]) -> Fits:
    place.enter()
    return _worker(job[0]).calibrate(ray.get(edits[0]))


@told
def _search(place: Place, job: list[ray.ObjectRef], edits: list[ray.ObjectRef]) -> dict[Key, RegisterNeurons]:
    place.enter()
    return _worker(job[0]).search(ray.get(edits[0]))


@told
def _gather(place: Place, job: list[ray.ObjectRef], edits: list[ray.ObjectRef]) -> dict[Key, Settled]:
    place.enter()
    return _worker(job[0]).gather_for(ray.get(edits[0]))


@told
def _fill(place: Place, job: list[ray.ObjectRef], work: list[ray.ObjectRef], i: int) -> dict[Key, UserError]:
    place.enter()
    drafts, edits, taken = _work(work[0])
    folder = next(iter(drafts.values())).path
    if not folder.is_dir():
        raise UserError(
            f"{folder} is not there on {os.uname().nodename}: runtime.engine=ray needs paths.cache on a file system "
            "that all its workers share."
        )
    return _worker(job[0]).fill(drafts, edits, taken, [i], lambda count: None)
