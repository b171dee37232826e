"""The task of editing: labels of a memory made wrong, found by a rule, mended by an oracle; what that brings back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from itae.base.checks import number, whole
from itae.base.errors import UserError
from itae.knowledge.answers.vote import Voter
from itae.knowledge.records.snapshot import Snapshot
from itae.tasks.asked import asked_of
from itae.tasks.editing.corrupt import wrong_rows
from itae.tasks.editing.draws import Draw, draws_of, side_of
from itae.tasks.editing.files import FILES
from itae.tasks.editing.found import Found
from itae.tasks.editing.mending import Mending
from itae.tasks.editing.outcome import outcome
from itae.tasks.gallery import Sets, check_gallery, check_one_label
from itae.tasks.task import BaseTask, Job, Outcome, Want

if TYPE_CHECKING:
    from itae.embed.source import Source
    from itae.images.image_set import ImageSet
    from itae.store.entry import Embeddings


@dataclass(frozen=True)
class Editing(BaseTask):
    """Labels of a memory are made wrong, rows are looked at in the order of a rule, and what is wrong is put right.

    The same rows are wrong on both sides, drawn (``corruption``) in the space of the untouched backbone. A rule
    (``repair``) ranks them once a draw, by the wrong labels alone; the true ones reach the oracle that mends a row, and
    the metrics. The voter is chosen inside the untouched side's memory with the wrong labels in it, as its user would
    have to, anew for each draw, and used for both sides.

    In ``result.json`` stand on each side, as ``mean``, ``std`` and ``per_seed`` (one value a draw), where *n* is the
    number of rows that are wrong:

    ``clean``, ``noisy``, ``repaired``
        The accuracy without a wrong label, with all of them, and after the first n rows were looked at.
    ``recovery``
        (repaired - noisy) / (clean - noisy): how much of the loss that brought back. None where wrong
        labels cost nothing: noisy is not below clean.
    ``locality``
        Of the queries whose answer the wrong labels had left as it was, the share that mending changed. None where
        there are none.
    ``changed_per_edit``
        Queries of which mending changed the answer, for each label that it changed.
    ``clean_k1`` and so on
        The same with the nearest row alone in place of the chosen voter, but for locality, which is 0 there.
    ``precision_at_wrong``, ``auroc``
        The share of wrong rows among the first n; and of pairs of a wrong and a right row, those in which the wrong one
        comes first, equal scores counted half.

    ``delta`` is edited minus baseline, draw by draw, with 95 % intervals over images and draws (those of one group are
    drawn together), but for ``changed_per_edit``. ``editing`` holds ``rows``, ``queries``, ``wrong`` (rows, each draw),
    ``voters`` (each draw), and ``repair_curve``: of each side ``share`` (of the rows, looked at), ``recovery`` and
    ``locality``, means over draws. ``curve.csv`` has the curves of all rules, ``ranking.csv`` the rows of the first
    draw.

    Parameters
    ----------
    draws
        How often labels are made wrong, at least 1. Default 5.
    budget
        The share of the rows that is looked at in the end, where curves end, above 0. Default 1: then all is mended.
    gallery
        The memory: what it has other than the run's own data set, as ``{split: train}``; that one's images are the
        queries then. None: each image is asked of all others that are not of its group.
    labels, group
        As of `itae.tasks.memory.said_of`; with a gallery a file may have lines of images of both.
    sources
        How many imports are planted where the rule asks for sources, at least 1.
    right_with_wrong
        How many right rows come in with each wrong one, by the same import, at least 0. Default 1.

    Raises
    ------
    UserError
        When a setting is out of its range.
    """

    kind: ClassVar[str] = "editing"
    groups: ClassVar[tuple[str, ...]] = ("voter", "corruption", "repair")
    leaves: ClassVar[tuple[str, ...]] = FILES

    draws: int = 5
    budget: float = 1.0
    gallery: Mapping[str, Any] | None = None
    labels: str | None = None
    group: str | None = None
    sources: int = 5
    right_with_wrong: float = 1.0

    def __post_init__(self) -> None:
        whole("task.draws", self.draws, 1)
        whole("task.sources", self.sources, 1)
        number("task.budget", self.budget, 0, 1)
        number("task.right_with_wrong", self.right_with_wrong, 0)
        if not self.budget:
            raise UserError("task.budget=0 lets nobody look at a row; give a share of the rows above 0, at most 1.")
        check_gallery(self.gallery)

    def check(self, job: Job) -> None:
        """Refuse images without labels, of one class, of several labels, and too few of them."""
        sets = self._sets(job)
        sets.check_space(job.edit)
        for source in {source.place: source for source in (sets.rows, sets.queries)}.values():
            self.usable(job, source, source.images)

    def usable(self, job: Job, source: Source, images: ImageSet) -> None:
        """Refuse the same among the images that can be decoded."""
        sets = self._sets(job)
        if source.place == sets.rows.place:
            said = sets.check_rows(self.kind, images.ids)
            check_one_label(self.kind, said)
            self._check_rate(job, sum(map(bool, said.labels)))
        if sets.gallery is not None and source.place == sets.queries.place:
            sets.check_queries(self.kind, images.ids)

    def _check_rate(self, job: Job, rows: int) -> None:
        rate = getattr(job.parts["corruption"], "rate", None)
        if rate is not None and not wrong_rows(rate, rows):
            raise UserError(
                f"corruption.rate={rate} of {rows} images makes no label wrong; give at least {1 / rows:.2g}."
            )

    def wants(self, job: Job) -> Sequence[Want]:
        """Return both sides, and both of the gallery."""
        return self._sets(job).wants(job)

    def measure(self, job: Job, embeddings: Mapping[str, Embeddings]) -> Outcome:
        """Make labels wrong, mend them on both sides, and pair these."""
        mending = {name: self._mending(job, name, embeddings) for name in ("baseline", "edited")}
        paths = {name: (embeddings[name].path, *(e.path for n, e in embeddings.items() if n == f"{name}.gallery"))
                 for name in mending}  # fmt: skip
        known, anew = (paths["baseline"], job.settings_text), any(entry.fresh for entry in embeddings.values())
        memory_, rule = mending["baseline"].memory, job.parts["repair"]
        draws = job.memo.once(("editing", "draws", *known), lambda: self._draws(job, memory_), anew)
        sides = [
            job.memo.once(("editing", paths[name], *known), partial(side_of, one, draws, rule, self.budget), anew)
            for name, one in mending.items()
        ]
        found = Found(mending["baseline"].asked, draws, sides[0], sides[1], job.parts["corruption"], rule, self)
        return outcome(found)

    def _sets(self, job: Job) -> Sets:
        return Sets.of(job, self.gallery, self.labels, self.group)

    def _mending(self, job: Job, name: str, embeddings: Mapping[str, Embeddings]) -> Mending:
        """Return the memory of one side and its queries, looked for once for all jobs in turn that ask the same."""
        entry, held = embeddings[name], embeddings.get(f"{name}.gallery")
        options = [one.k for one in job.parts["voter"].options() if isinstance(one, Voter)]
        most = max([1, *(k for k in options if k is not None)])
        about = (entry.path, held and held.path, self.labels, self.group, most)

        def search() -> Mending:
            sets = self._sets(job)
            asked = entry, sets.said_of_queries(entry.ids)
            found = asked_of(asked, None) if held is None else asked_of((held, sets.said_of_rows(held.ids)), asked)
            return Mending.of(found, most, job.runtime.device)

        return job.memo.last(f"editing {name}", about, search)

    def _draws(self, job: Job, memory_: Snapshot) -> list[Draw]:
        parts = job.parts
        plant = (self.sources, self.right_with_wrong)
        return draws_of(memory_, parts["corruption"], parts["repair"], parts["voter"], self.draws, job.seed, plant,
                        job.runtime.device)  # fmt: skip
