"""The task of feedback: simulated users search, judge what they are shown, and search again.

Labels and attributes reach the users and the metrics alone; no rule sees any, and nothing is tuned by them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from itae.base.checks import one_of, whole
from itae.base.errors import UserError
from itae.knowledge.near.neighbours import Excluded
from itae.knowledge.records.snapshot import Snapshot
from itae.search.alike import Alike
from itae.tasks.asked import excluded_of
from itae.tasks.feedback.about import About, about, by_name, nobody
from itae.tasks.feedback.files import FILES
from itae.tasks.feedback.found import SIDES, Found
from itae.tasks.feedback.methods import RULES, methods_of, named
from itae.tasks.feedback.outcome import outcome
from itae.tasks.feedback.searches import Searches, searches_of
from itae.tasks.feedback.simulate import Plan, Simulated, simulate
from itae.tasks.gallery import Sets, check_gallery
from itae.tasks.memory import Said, memory
from itae.tasks.task import BaseTask, Job, Outcome, Want

if TYPE_CHECKING:
    from itae.embed.source import Source
    from itae.images.image_set import ImageSet
    from itae.store.entry import Embeddings


@dataclass(frozen=True)
class Feedback(BaseTask):
    """Images are searched by an image; a simulated user judges a page; what is left is ranked by a rule of feedback.

    The first page is by similarity. The user (``user``) marks all of it, the rule (``feedback``) ranks the rest, and so
    on for each round. All scores are of the residual collection: the query, its group, images of their bytes and all
    that was judged are out. Both sides have the same queries, users and wrong clicks.

    In ``result.json`` stand on each side, as ``mean``, ``std`` (None) and ``per_seed`` (one value), for the run's own
    rule, the first of `judged` and the last round:

    ``r_at_1``, ``r_at_10``, ``p_at_10``, ``map_at_r``
        As of `itae.measure.retrieval.ranking_scores`, means over searches in which something wanted was left.
    ``gain``, ``gain_per_judged``
        ``map_at_r`` less that of similarity alone on the very same residual collection; and divided by the images that
        were judged.
    ``harm_rate``
        The share of searches whose ``map_at_r`` is below that of similarity alone.
    ``zero_positive``
        The share of searches whose first page has nothing that is wanted.

    ``delta`` is paired, with 95 % intervals over searches; those of one group or the same bytes are drawn together.
    ``feedback`` holds what similarity alone comes to on the whole collection (``before``: R@1 and MAP@R as metric
    learning tells them), all rules, sizes of a page and rounds (``rules``, with intervals), ``zero_positive`` searches
    by themselves with what a next page finds for them, and how many ``queries`` there were.

    Parameters
    ----------
    judged
        Images of a page, all of which are judged, 1 to 1,000; a list of them is simulated one after the other, and the
        first is the run's own. Default 10.
    rounds
        Pages that are judged, 1 to 5. Default 1.
    rules
        Rules that are held against the run's own, by name.
    queries
        How many images are searched with at most, drawn by the seed among those that can be; None for all. Default
        1,000.
    gallery
        The collection: what it has other than the run's own data set, as ``{split: gallery}``; that one's images are
        the queries then. None: each image is searched with among all others.
    labels
        A CSV file with columns ``id`` and ``label`` in place of the data set's own.
    group
        What is not shown to each other: None, ``parent`` (the images of a folder), the name of an attribute, or a CSV
        file with columns ``id`` and ``group``.
    attributes
        A CSV file with a column ``id`` and one for each attribute, which counts where the data set has one of its name.

    Raises
    ------
    UserError
        When a setting is out of its range.
    """

    kind: ClassVar[str] = "feedback"
    groups: ClassVar[tuple[str, ...]] = ("feedback", "user")
    leaves: ClassVar[tuple[str, ...]] = FILES

    judged: Any = 10
    rounds: int = 1
    rules: Sequence[str] = tuple(RULES)
    queries: int | None = 1000
    gallery: Mapping[str, Any] | None = None
    labels: str | None = None
    group: str | None = None
    attributes: str | None = None

    def __post_init__(self) -> None:
        for one in self.pages:
            whole("task.judged", one, 1, high=1000)
        if not self.pages or len(set(self.pages)) < len(self.pages):
            raise UserError(f"task.judged={self.judged!r} must be a whole number, or a list of different ones.")
        whole("task.rounds", self.rounds, 1, high=5)
        whole("task.queries", self.queries, 1, optional=True)
        if not isinstance(self.rules, Sequence) or isinstance(self.rules, str):
            raise UserError(f"task.rules={self.rules!r} must be a list, of {', '.join(RULES)}.")
        for rule in self.rules:
            one_of("task.rules", rule, RULES)
        check_gallery(self.gallery)
        for name in ("labels", "group", "attributes"):
            if not isinstance(value := getattr(self, name), str | None):
                raise UserError(f"task.{name}={value!r} must be the path of a file, or null.")

    @property
    def pages(self) -> tuple[int, ...]:
        """The sizes of a page, the run's own first."""
        return tuple(self.judged) if isinstance(self.judged, list | tuple) else (self.judged,)

    def check(self, job: Job) -> None:
        """Refuse images with which nobody can search, and pages that leave nothing."""
        sets = self._sets(job)
        sets.check_space(job.edit)
        self._check(job, sets, sets.queries.images.ids, sets.rows.images.ids)

    def usable(self, job: Job, source: Source, images: ImageSet) -> None:
        """Refuse the same among the images that can be decoded."""
        sets = self._sets(job)
        queries, rows = (images if source.place == one.place else one.images for one in (sets.queries, sets.rows))
        self._check(job, sets, queries.ids, rows.ids)

    def _check(self, job: Job, sets: Sets, query_ids: Sequence[str], row_ids: Sequence[str]) -> None:
        seen = max(self.pages) * self.rounds
        if seen >= len(row_ids) - (sets.gallery is None):
            raise UserError(
                f"task.judged={max(self.pages)} in {self.rounds} rounds is {seen} images, and the collection has "
                f"{len(row_ids)}: nothing is left to be ranked; judge fewer."
            )
        queries = self._about(sets, sets.queries, query_ids)
        rows = queries if sets.gallery is None else self._about(sets, sets.rows, row_ids)
        user = job.parts["user"]
        user.check(queries.described, rows.described)
        if not searches_of(user, queries.described, rows.described, by_name(rows, queries), 1, job.seed).each:
            raise nobody(named(user), queries)

    def wants(self, job: Job) -> Sequence[Want]:
        """Return both sides, and both of the gallery."""
        return self._sets(job).wants(job)

    def measure(self, job: Job, embeddings: Mapping[str, Embeddings]) -> Outcome:
        """Simulate both sides and pair them."""
        anew = any(entry.fresh for entry in embeddings.values())
        paths = {side: tuple(e.path for name, e in embeddings.items() if name.partition(".")[0] == side)
                 for side in SIDES}  # fmt: skip
        plan = Plan(job.parts["user"], methods_of(job.parts["feedback"], self.rules), self.pages, self.rounds, job.seed)
        known = ("feedback", paths["baseline"], job.settings_text)
        searches = job.memo.once((*known, "searches"), lambda: self._searches(job, embeddings), anew)
        before = job.memo.once(known, partial(self._side, job, "baseline", embeddings, searches, plan), anew)
        after = before
        if not _same(embeddings):
            name = (*known, paths["edited"])
            after = job.memo.once(name, partial(self._side, job, "edited", embeddings, searches, plan), anew)
        rows = len(embeddings.get("baseline.gallery", embeddings["baseline"]).ids)
        return outcome(
            Found(searches, plan, dict(zip(SIDES, (before, after), strict=True)), self.gallery is None, rows)
        )

    def _sets(self, job: Job) -> Sets:
        return Sets.of(job, self.gallery, self.labels, None)

    def _about(self, sets: Sets, source: Source, ids: Sequence[str]) -> About:
        beside = None if sets.gallery is None else sets.queries if source is sets.rows else sets.rows
        return about(source.images, ids, beside, self.labels, self.group, self.attributes)

    def _collection(self, job: Job, side: str, embeddings: Mapping[str, Embeddings]) -> tuple[Snapshot, About]:
        """Return the rows of a side, which know no label, and what is said of them."""
        sets = self._sets(job)
        held = embeddings.get(f"{side}.gallery", embeddings[side])
        told = self._about(sets, sets.rows, held.ids)
        return memory(held, Said([()] * len(held.ids), told.groups)), told

    def _searches(self, job: Job, embeddings: Mapping[str, Embeddings]) -> Searches:
        sets, entry = self._sets(job), embeddings["baseline"]
        base, rows = self._collection(job, "baseline", embeddings)
        if sets.gallery is None:
            queries, excluded = rows, Excluded(base.groups_M, base.groups_M)
        else:
            queries = self._about(sets, sets.queries, entry.ids)
            digests = np.zeros((len(entry.ids), 32), np.uint8) if entry.digests is None else entry.digests
            excluded = excluded_of(base, queries.groups, digests)
        user = job.parts["user"]
        found = searches_of(user, queries.described, rows.described, excluded, self.queries, job.seed)
        if not found.each:
            raise nobody(named(user), queries)
        return found

    def _side(
        self, job: Job, side: str, embeddings: Mapping[str, Embeddings], searches: Searches, plan: Plan
    ) -> Simulated:
        base, _ = self._collection(job, side, embeddings)
        return simulate(Alike(base), embeddings[side].vectors, searches, plan)


def _same(embeddings: Mapping[str, Embeddings]) -> bool:
    """Return whether the edit changed no vector: then one side is both."""
    pairs = [(one, embeddings["edited" + name[len("baseline") :]]) for name, one in embeddings.items()
             if name.startswith("baseline")]  # fmt: skip
    return all(a.path == b.path or np.array_equal(a.vectors, b.vectors) for a, b in pairs)
