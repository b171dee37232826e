"""The task of neighbours: how well a memory names images, untouched and edited side by side.

What an experiment says in one number hangs on who may vote: rows of the query's bytes or group never do. And on voter
and k: those are chosen inside the memory of the untouched side, and used on both. Where that memory is the very images
that are asked about, their labels have been seen by it, and the run says so.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from itae.base.checks import above_0, one_of, whole
from itae.base.errors import UserError
from itae.knowledge.answers.choose import Choice, choose
from itae.knowledge.answers.vote import KS
from itae.tasks.gallery import Sets, check_gallery
from itae.tasks.knn.answers import Answers, Named, answers
from itae.tasks.knn.files import FILES
from itae.tasks.knn.galleries import (
    SIDES,
    Gallery,
    bases_of,
    open_base,
    other_rows,
    own_images,
    rows_of,
    served,
)
from itae.tasks.knn.outcome import Done, outcome
from itae.tasks.knn.queries import Queries, held_out_classes, truth_from
from itae.tasks.knn.scores import scored
from itae.tasks.knn.sweep import VOTERS, options_of, tried
from itae.tasks.memory import memory
from itae.tasks.task import BaseTask, Job, Outcome, Want

if TYPE_CHECKING:
    from itae.embed.source import Source
    from itae.images.image_set import ImageSet
    from itae.store.entry import Embeddings


@dataclass(frozen=True)
class Knn(BaseTask):
    """Classify images by the nearest rows of a memory.

    ``result.json`` has, on each side and as mean, std and per_seed, ``top_1``, ``top_5`` (where more than five
    classes are known), ``balanced_accuracy``, ``ece`` (of the share of each answer; where one row votes there is
    none), ``map`` (where rows have several labels) and ``unknown_auroc`` (where some queries are of classes that no
    row has, by p as `itae knowledge classify` tells it); ``delta`` is paired, with 95 % intervals over images,
    those of one group or the same bytes drawn together, but of ``ece`` and ``map``. ``voter`` has what was used
    (``told``) and how it came about (``how``, ``note``, ``tried``), ``gallery`` of each side its rows, classes, and
    of a base its place, version and root; ``queries`` counts those ``asked``, ``scored``, ``unknown``, and
    ``known`` (their bytes are in the gallery); ``unknown`` names the classes held out.

    Parameters
    ----------
    gallery
        Who votes. None: the run's own images, each left out with its group when it is asked about. A mapping of words
        of the dataset group, as ``{split: train}``: those images. A text: a knowledge base, a folder or a URL, of the
        space of the side that asks it; ``{baseline: KB, edited: KB2}`` names one for each side.
    at
        A version or a tag of a base; None is the newest.
    labels
        A CSV file with columns ``id`` and ``label`` in place of the data set's own labels, of rows and queries; several
        lines of one id are several labels. Rows of a base keep theirs.
    group
        What belongs together and doesn't vote on each other: None, ``parent`` (the images of a folder), or a CSV file
        with columns ``id`` and ``group``. Images of the same bytes always do.
    truth
        Labels of the queries by which alone they are scored: a CSV file like `labels`, or ImageNet ReaL's
        ``real.json``; None takes what is said of them. A query without any is left out of the scores.
    ks, voters, temperature
        Of the sweep; those that are more than there are rows are left out. The temperature is that of its softmax and
        class_mean.
    unknown
        Classes held out of the gallery: how many, drawn by the seed, or their names. Queries of these count for
        ``unknown_auroc`` alone. Default 0.

    Raises
    ------
    UserError
        When a setting is out of its range.
    """

    kind: ClassVar[str] = "knn"
    groups: ClassVar[tuple[str, ...]] = ("voter",)
    leaves: ClassVar[tuple[str, ...]] = FILES

    gallery: Any = None
    at: int | str | None = None
    labels: str | None = None
    group: str | None = None
    truth: str | None = None
    ks: Sequence[int] = KS
    voters: Sequence[str] = tuple(VOTERS)
    temperature: float = 0.07
    unknown: Any = 0

    def __post_init__(self) -> None:
        check_gallery(self.gallery, bases=True)
        if self.at is not None and self._bases is None:
            raise UserError(f"task.at={self.at} is a version of a knowledge base; name one as task.gallery=KB.")
        for name in ("labels", "group", "truth"):
            if not isinstance(value := getattr(self, name), str | None):
                raise UserError(f"task.{name}={value!r} must be the path of a file, or null.")
        _check_list("task.ks", self.ks, "as [1, 10, 100]")
        _check_list("task.voters", self.voters, f"of {', '.join(VOTERS)}")
        for k in self.ks:
            whole("task.ks", k, 1)
        for voter in self.voters:
            one_of("task.voters", voter, VOTERS)
        above_0("task.temperature", self.temperature, "cosine")
        if not isinstance(self.unknown, list | tuple):
            whole("task.unknown", self.unknown, 0, other="a list of classes")

    @property
    def _bases(self) -> dict[str, str] | None:
        return bases_of(self.gallery)

    def check(self, job: Job) -> None:
        """Find images without labels, files that can't be read, classes that there aren't, and bases that don't fit."""
        for side in self._bases or ():
            self._version(job, side)
        sets = self._sets(job)
        self._check_queries(job, job.source.images)
        if self._bases is None:
            sets.check_rows(self.kind, sets.rows.images.ids)
        sets.check_space(job.edit)

    def usable(self, job: Job, source: Source, images: ImageSet) -> None:
        """Ask the same of the images that can be decoded."""
        sets = self._sets(job)
        if source.place == job.source.place:
            self._check_queries(job, images)
        if self._bases is None and source.place == sets.rows.place:
            sets.check_rows(self.kind, images.ids)

    def _check_queries(self, job: Job, images: ImageSet) -> None:
        self._queries(job, images.ids, np.zeros((len(images), 32), np.uint8))

    def wants(self, job: Job) -> Sequence[Want]:
        """Return both sides of the queries, and of a gallery of other images."""
        return self._sets(job).wants(job)

    def measure(self, job: Job, embeddings: Mapping[str, Embeddings]) -> Outcome:
        """Ask both sides about the same queries, score and pair the answers."""
        entry = embeddings["baseline"]
        queries = self._queries(job, entry.ids, _digests(entry))
        baseline, choice, options, left_out = self._baseline(job, embeddings, queries)
        edited = self._edited(job, embeddings, queries, choice.voter, options, baseline)
        found = scored(queries, {"baseline": baseline, "edited": edited}, getattr(choice.voter, "k", None))
        rows = tried(found, options, choice.voter)
        return outcome(Done(queries, found, rows, left_out, choice, self._bases, self.gallery is None, job.seed))

    def _sets(self, job: Job) -> Sets:
        """Return whose images are asked, and whose are the rows where there is no base."""
        return Sets.of(job, None if self._bases else self.gallery, self.labels, self.group)

    def _queries(self, job: Job, ids: Sequence[str], digests_N32: np.ndarray) -> Queries:
        said = self._sets(job).said_of_queries(ids)
        truth = truth_from(self.truth, job.source.images, ids, said.labels)
        return Queries(ids, said, truth, digests_N32, held_out_classes(self.unknown, truth, job.seed))

    def _version(self, job: Job, side: str) -> tuple[str, int] | None:
        """Return the base of a side and the number of its version, read once, the same for all jobs of a process."""
        if self._bases is None:
            return None
        place = self._bases[side]
        base = open_base(place, side, job.source.space(job.edit if side == "edited" else None))
        return place, job.memo.once(("knn base", place, self.at), lambda: rows_of(base, self.at).version)

    @contextlib.contextmanager
    def _gallery(
        self, job: Job, side: str, embeddings: Mapping[str, Embeddings], queries: Queries
    ) -> Iterator[Gallery]:
        """Yield the rows of a side; those of one side at a time are in memory."""
        entry, base = embeddings[side], self._version(job, side)
        if base is not None:
            place, version = base
            with served(open_base(place, side, entry.meta["space"]), version, job.runtime) as rows:
                yield other_rows(rows, queries)
        elif self.gallery is not None:
            images = embeddings[f"{side}.gallery"]
            yield other_rows(memory(images, self._sets(job).said_of_rows(images.ids)), queries)
        else:
            yield own_images(entry, queries)

    def _rows(self, job: Job, embeddings: Mapping[str, Embeddings], queries: Queries) -> Named | None:
        """Return what rows are called, on both sides; None where each has a base, which says it."""
        if self._bases is not None:
            return None
        if self.gallery is None:
            return Named(queries.ids, queries.said.labels)
        ids = embeddings["baseline.gallery"].ids
        return Named(ids, self._sets(job).said_of_rows(ids).labels)

    def _baseline(
        self, job: Job, embeddings: Mapping[str, Embeddings], queries: Queries
    ) -> tuple[Answers, Choice, list[Any], list[int]]:
        """Choose a voter inside the untouched memory, and ask that; once for all jobs that ask for the same."""

        def make() -> tuple[Answers, Choice, list[Any], list[int]]:
            named, vectors = self._rows(job, embeddings, queries), embeddings["baseline"].vectors
            with self._gallery(job, "baseline", embeddings, queries) as gallery:
                if not (rows := len(gallery.snapshot.voters)):
                    raise UserError("No row that votes has a label that is not held out; change task.unknown.")
                choice = choose(gallery.snapshot, job.parts["voter"], job.runtime.device)
                options, left_out = options_of(self.voters, self.ks, self.temperature, rows, choice.voter)
                told = answers(gallery, vectors, choice.voter, options, named, job.runtime.device)
            return told, choice, options, left_out

        name, fresh = self._name(job, "baseline", embeddings)
        return job.memo.once(("knn", *name), make, anew=fresh)

    def _edited(
        self, job: Job, embeddings: Mapping[str, Embeddings], queries: Queries, voter: Any, options: Sequence[Any],
        baseline: Answers,
    ) -> Answers:  # fmt: skip
        before, after = (self._name(job, side, embeddings) for side in SIDES)
        if before[0] == after[0]:
            return baseline

        def make() -> Answers:
            named = baseline.rows if self._bases is None else None  # the same rows, whose names are kept once
            with self._gallery(job, "edited", embeddings, queries) as gallery:
                return answers(gallery, embeddings["edited"].vectors, voter, options, named, job.runtime.device)

        return job.memo.once(("knn", *before[0], *after[0]), make, anew=before[1] or after[1])

    def _name(self, job: Job, side: str, embeddings: Mapping[str, Embeddings]) -> tuple[tuple[Any, ...], bool]:
        """Return what the answers of a side are a function of, and whether any of it was made anew."""
        entries = [embeddings[name] for name in (side, f"{side}.gallery") if name in embeddings]
        paths = [entry.path for entry in entries]
        return (*paths, self._version(job, side), job.settings_text), any(entry.fresh for entry in entries)


def _check_list(what: str, value: Any, how: str) -> None:
    if not isinstance(value, Sequence) or isinstance(value, str) or not len(value):
        raise UserError(f"{what}={value!r} must be a list, {how}.")


def _digests(entry: Embeddings) -> np.ndarray:
    return np.zeros((len(entry.ids), 32), np.uint8) if entry.digests is None else entry.digests
