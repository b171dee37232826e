"""One job: its settings as objects, its images found, its model known, all checked before any work."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from itae.app.settings import Settings
from itae.base.construct import construct
from itae.base.errors import UserError
from itae.edits.edit import AnyEdit
from itae.embed.calibration import calibrated
from itae.embed.extract import extract
from itae.embed.source import Source
from itae.images.dataset import Dataset
from itae.images.image_set import ImageSet
from itae.store.store import Embeddings, Key, Store
from itae.tasks.task import Job, Memo, Want


@dataclass(frozen=True)
class OpenJob:
    """A job whose images are found and whose model is known, checked as far as can be without any work.

    Parameters
    ----------
    settings
        All of the run's.
    job
        What its task is given.
    wants
        The embeddings that the task wants, both sides of the run's own source first.
    seconds
        That it took to open it.
    """

    settings: Settings
    job: Job
    wants: Sequence[Want]
    seconds: float

    @property
    def source(self) -> Source:
        """The data set seen through the backbone."""
        return self.job.source

    @property
    def edit(self) -> AnyEdit | None:
        """The edit; None where it can't change anything."""
        return self.job.edit

    @property
    def keys(self) -> dict[str, Key]:
        """The key of each of the embeddings that are wanted."""
        return {want.name: want.source.key(want.edit) for want in self.wants}

    @property
    def group(self) -> Hashable:
        """Equal for jobs that share their passes, as their task has it."""
        return self.settings.task.kind, self.settings.task.together(self.wants)

    def usable(self, source: Source, images: ImageSet) -> None:
        """Raise a `UserError` if the images that can be decoded won't do for the task."""
        self.settings.task.usable(self.job, source, images)


@dataclass
class Shared:
    """What the jobs of one process have in common: open sources, what tasks found, a picture of each kind."""

    sources: dict[Hashable, Source]
    memo: Memo = field(default_factory=Memo)
    pictures: dict[str, Path] = field(default_factory=dict)


_shared: ContextVar[Shared | None] = ContextVar("shared", default=None)


@contextlib.contextmanager
def shared(sources: Mapping[Hashable, Source] | None = None) -> Iterator[None]:
    """Open each source and do each task once for all jobs in the body; images are not looked for again.

    Sources that are open around the body are so in it, as are `sources`, which another process has opened; what tasks
    found is let go with it.
    """
    common = in_hand().sources
    common.update(sources or {})
    token = _shared.set(Shared(common))
    try:
        yield
    finally:
        _shared.reset(token)


def in_hand() -> Shared:
    """Return what jobs have in common here, or, for a job by itself, nothing yet."""
    return _shared.get() or Shared({})


def sources_of(settings: Settings) -> dict[Hashable, Source]:
    """Return the sources in hand of a job and of those that share its passes, with what is known of their bytes."""
    places = {want.source.place for want in open_job(settings).wants}
    return {name: source for name, source in in_hand().sources.items() if source.place in places}


def open_job(settings: Settings) -> OpenJob:
    """Find the images, learn of the model and check all settings against both, before any work.

    Raises
    ------
    UserError
        For whatever is wrong with them.
    """
    began = time.perf_counter()
    settings.runtime.check_device()
    common = in_hand()
    source = _source(common, settings, settings.dataset, settings.plain["dataset"])
    edit = settings.edit.make(settings.detector, settings.attenuator, settings.layers, source.facts)
    edit = calibrated(edit, source)
    source.check(edit)
    text = settings.as_text("task", *settings.task.groups, "seed", "runtime")
    job = Job(source, edit, settings.parts, settings.seed, settings.runtime, text,
              partial(_further, common, settings), common.memo)  # fmt: skip
    settings.task.check(job)
    wants = settings.task.wants(job)
    names = [want.name for want in wants]
    if names[:2] != ["baseline", "edited"] or len(set(names)) < len(names):
        raise UserError(
            f"{type(settings.task).__name__} wants {', '.join(names) or 'nothing'}; it must be baseline, edited, and "
            "then others, each by a name of its own."
        )
    for want in wants:
        want.source.check(want.edit)
        want.source.key(want.edit)  # reads the images' and the weights' bytes, once
    return OpenJob(settings, job, wants, time.perf_counter() - began)


def _source(common: Shared, settings: Settings, dataset: Dataset, words: Mapping[str, Any]) -> Source:
    name = (str(words), settings.as_text("backbone", "paths"))
    if name not in common.sources:
        common.sources[name] = Source.open(dataset, settings.backbone, Store(settings.cache))
    return common.sources[name]


def _further(common: Shared, settings: Settings, words: Mapping[str, Any]) -> Source:
    """Open a source that differs from the run's own in some words of its data set."""
    if not isinstance(words, Mapping):
        raise UserError(f"job.open({words!r}) must be given a mapping of words of the dataset group.")
    node = {**settings.plain["dataset"], **words}
    return _source(common, settings, construct("dataset", node), node)


def passes(wants: Iterable[Want]) -> list[tuple[Source, dict[Key, AnyEdit | None]]]:
    """Return each source, of one job or of many, with all that it is wanted under: one pass each."""
    found: dict[Hashable, tuple[Source, dict[Key, AnyEdit | None]]] = {}
    for want in wants:
        _, edits = found.setdefault(want.source.place, (want.source, {}))
        edits[want.source.key(want.edit)] = want.edit
    return list(found.values())


def embed(ready: OpenJob) -> dict[str, Embeddings]:
    """Return the embeddings that the task wants, by name: those of one source in one pass."""
    found: dict[Key, Embeddings] = {}
    for source, edits in passes(ready.wants):
        entries = extract(source, list(edits.values()), ready.settings.runtime, partial(ready.usable, source))
        found |= dict(zip(edits, entries, strict=True))
    return {name: found[key] for name, key in ready.keys.items()}
