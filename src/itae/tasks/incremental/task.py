"""The task of a memory that grows: told after each step, beside class means and classifiers that are trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from itae.base.checks import one_of, whole
from itae.base.errors import UserError, did_you_mean
from itae.knowledge.answers.choose import Choice, choose
from itae.tasks.asked import Asked, asked_of
from itae.tasks.gallery import Sets, check_gallery, check_one_label
from itae.tasks.incremental.arrivals import Arrivals, by_class, by_share
from itae.tasks.incremental.files import FILES
from itae.tasks.incremental.growing import Told, by_class_means, by_memory
from itae.tasks.incremental.grown import Grown
from itae.tasks.incremental.outcome import outcome
from itae.tasks.incremental.trained import TRAINED, told_by
from itae.tasks.memory import Said
from itae.tasks.task import BaseTask, Job, Outcome, Want

if TYPE_CHECKING:
    from itae.embed.source import Source
    from itae.images.image_set import ImageSet
    from itae.store.entry import Embeddings

PROTOCOLS = ("class", "task", "sample")
RIVALS = ("class_mean", *TRAINED)
_STEPS = {"class": 10, "task": 10, "sample": 20}  # by default


@dataclass(frozen=True)
class Incremental(BaseTask):
    """The task of class-, task- and sample-incremental learning.

    A memory is given rows step by step, and all queries are asked after each. The group ``voter`` says how it answers;
    what is null there is chosen once, on the untouched side, inside the memory as it is in the end, by
    leave-one-group-out. The rivals, on the same vectors of length 1: ``class_mean``, the nearest mean of what has been
    seen; ``linear_probe``, fitted on all rows seen so far, which it keeps as the memory does
    (`itae.tasks.incremental.trained.LinearProbe`); ``fine_tuned``, which goes on with the new rows and keeps nothing
    but its weights (`itae.tasks.incremental.trained.FineTuned`).

    ``result.json`` has on both sides, with ``mean``, ``std`` over orders and ``per_seed``, one an order: ``final``,
    ``average``, and of several tasks ``final_by_task``, ``backward_transfer`` and ``forgetting``
    (`itae.measure.forgetting.image_values`) of the memory, and of each rival by its name, as in
    ``linear_probe_forgetting``; ``delta`` has 95 % intervals over queries and orders. ``incremental`` has ``protocol``,
    ``steps``, ``voter``, ``queries``, ``rows``, ``orders`` (the classes of each step of each order, or None), and by
    side ``matrix`` (the mean over orders of the memory's) and ``accuracy`` after each step by method and order.

    Parameters
    ----------
    protocol
        ``class``: classes arrive some at a step, and a query is told among all seen so far. ``task``: the same, but
        each query's task is given, and it is told among that task's classes. ``sample``: rows arrive in even shares at
        random, whatever their class, and all queries are asked from the first step on.
    tasks
        Tasks, one a step; of ``sample`` steps. None: 10, or 20 of ``sample``, fewer where there are not so many classes
        or rows; of ``task`` so many that each has two classes. Shares are as even as `numpy.array_split` makes them.
    orders
        In how many orders they arrive, drawn by the seed; of classes the first is that of the data set.
    gallery
        Words of the dataset group: what the rows are, such as ``{split: train}``, and all images of the data set are
        queries. None: its images are rows and queries, and a query's own group is never among its neighbours.
    labels, group
        As of `itae.tasks.memory.said_of`; with a gallery a file may have lines of images of both.
    rivals
        Those that are asked, too.

    Raises
    ------
    UserError
        When a setting is out of its range.
    """

    kind: ClassVar[str] = "incremental"
    groups: ClassVar[tuple[str, ...]] = ("voter",)
    leaves: ClassVar[tuple[str, ...]] = FILES

    protocol: str = "class"
    tasks: int | None = None
    orders: int = 5
    gallery: Mapping[str, Any] | None = None
    labels: str | None = None
    group: str | None = None
    rivals: Sequence[str] = RIVALS

    def __post_init__(self) -> None:
        one_of("task.protocol", self.protocol, PROTOCOLS)
        whole("task.tasks", self.tasks, low=1, optional=True)
        whole("task.orders", self.orders, low=1)
        check_gallery(self.gallery)
        if isinstance(self.rivals, str) or not isinstance(self.rivals, Sequence):
            raise UserError(f"task.rivals={self.rivals!r} must be a list of {', '.join(RIVALS)}; [] for none.")
        for name in self.rivals:
            if name not in RIVALS:
                raise UserError(
                    f"task.rivals has {name!r}, which is not one of {', '.join(RIVALS)}.{did_you_mean(name, RIVALS)}"
                )

    def check(self, job: Job) -> None:
        """Ask for rows of two classes, for tasks that they are enough for, and for queries of their classes."""
        sets = self._sets(job)
        sets.check_space(job.edit)
        for source in {source.place: source for source in (sets.rows, sets.queries)}.values():
            self.usable(job, source, source.images)

    def usable(self, job: Job, source: Source, images: ImageSet) -> None:
        """Ask for the same of the images that can be decoded."""
        sets = self._sets(job)
        if source.place == sets.rows.place:
            self._enough(sets.check_rows(self.kind, images.ids))
        if sets.gallery is not None and source.place == sets.queries.place:
            sets.check_queries(self.kind, images.ids)

    def wants(self, job: Job) -> Sequence[Want]:
        """Return both sides of the queries, and of the gallery where there is one."""
        return self._sets(job).wants(job)

    def measure(self, job: Job, embeddings: Mapping[str, Embeddings]) -> Outcome:
        """Let both sides grow, and pair them."""
        before = self._side(job, embeddings, "baseline", None)
        after = self._side(job, embeddings, "edited", before.choice)
        return outcome(self.protocol, before, after)

    def _side(self, job: Job, embeddings: Mapping[str, Embeddings], name: str, choice: Choice | None) -> Grown:
        """Return what one side tells, made once for all jobs that ask for the same."""
        entry, held = embeddings[name], embeddings.get(f"{name}.gallery", embeddings[name])
        said = self._sets(job).said_of_rows(held.ids)
        settings = asdict(self) | {"tasks": self._steps(said)}
        if self.protocol == "task":  # the answers of both are of one pass
            settings["protocol"] = "class"
        voter = choice.voter if choice else job.parts["voter"]
        asks = (entry.path, held.path, repr(settings), repr(voter), job.seed, job.runtime.device)
        return job.memo.once(
            ("incremental", asks), lambda: self._grow(job, entry, (held, said), choice), entry.fresh or held.fresh
        )

    def _grow(self, job: Job, entry: Embeddings, held: tuple[Embeddings, Said], choice: Choice | None) -> Grown:
        """Ask all methods after each step, the neighbours' voter chosen if it isn't yet."""
        device, sets = job.runtime.device, self._sets(job)
        asked = asked_of(held, (entry, sets.said_of_queries(entry.ids)) if sets.gallery else None).of_known_classes()
        choice = choice or choose(asked.memory, job.parts["voter"], device)
        arrivals = self._arrivals(job, asked, self._steps(held[1]))
        told: dict[str, Told] = {"memory": by_memory(asked, choice.voter, arrivals, device)}
        early: dict[str, int] = {}
        for name in self.rivals:
            if name in TRAINED:
                told[name], early[name] = told_by(TRAINED[name], asked, arrivals, job.seed)
            else:
                told[name] = by_class_means(asked, arrivals)
        return Grown.of(asked, arrivals, told, choice, early, len(entry.ids))

    def _arrivals(self, job: Job, asked: Asked, steps: int) -> Arrivals:
        labels_M, names = asked.memory.labels_M, asked.memory.label_names
        if self.protocol == "sample":
            return by_share(labels_M, len(asked.truth_Q), steps, self.orders, job.seed)
        order = self._sets(job).rows.images.class_names if self.labels is None else names
        classes = [names.index(name) for name in dict.fromkeys(order) if name in names]
        return by_class(labels_M, asked.truth_Q, classes, steps, self.orders, job.seed)

    def _steps(self, said: Said) -> int:
        labels = [name for some in said.labels for name in some]
        classes = len(set(labels))
        most = {"class": classes, "task": max(1, classes // 2), "sample": len(labels)}[self.protocol]
        return self.tasks or min(_STEPS[self.protocol], most)

    def _sets(self, job: Job) -> Sets:
        return Sets.of(job, self.gallery, self.labels, self.group)

    def _enough(self, said: Said) -> None:
        """Raise a `UserError` for rows of several labels, and for more tasks than there is something to hand out."""
        check_one_label(self.kind, said)
        rows = [some[0] for some in said.labels if some]
        most, of = (len(rows), "rows") if self.protocol == "sample" else (len(set(rows)), "classes")
        if self.tasks is not None and self.tasks > most:
            raise UserError(f"task.tasks={self.tasks} must be at most {most}, as there are {most} {of} to hand out.")
