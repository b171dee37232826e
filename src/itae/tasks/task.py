"""The seam: what the driver asks of a task, and what a task gives back.

The driver opens, checks, embeds, calls the task, writes, tracks and shows; it knows no metric by name. Report, page,
collect, protocol, sweeper and dashboard read what an `Outcome` says of itself from ``result.json``.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from itae.base.checks import is_number, one_of
from itae.base.errors import UserError
from itae.look.run_figures import NAMES
from itae.measure.distance import cosine_distance

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from itae.base.runtime import Runtime
    from itae.edits.edit import AnyEdit
    from itae.embed.source import Source
    from itae.images.image_set import ImageSet
    from itae.results.shown import Shown
    from itae.store.entry import Embeddings

T = TypeVar("T")


@dataclass(frozen=True)
class Want:
    """Embeddings that a task wants.

    Parameters
    ----------
    name
        ``baseline`` and ``edited`` are of the run's own source and come first; of further sources they are called as in
        ``baseline.gallery``.
    source, edit
        What is embedded; an edit of None is the untouched backbone.
    """

    name: str
    source: Source
    edit: AnyEdit | None


class Memo:
    """What the jobs of one process have in common, so that it is made once."""

    def __init__(self) -> None:
        self._made: dict[Hashable, Any] = {}
        self._last: dict[str, tuple[Hashable, Any]] = {}

    def once(self, name: Hashable, make: Callable[[], T], anew: bool = False) -> T:
        """Return what `make` gives, made once for all that ask by this name, and once more if `anew`."""
        if anew or name not in self._made:
            self._made[name] = make()
        return self._made[name]

    def last(self, kind: str, name: Hashable, make: Callable[[], T]) -> T:
        """Return what `make` gives, kept until something else of this `kind` is asked for: for what is large."""
        if kind not in self._last or self._last[kind][0] != name:
            self._last[kind] = (name, make())
        return self._last[kind][1]


@dataclass(frozen=True)
class Job:
    """What a task is given.

    Parameters
    ----------
    source, edit
        The data set seen through the backbone, and the edit; None where it can't change anything.
    parts
        An object for each config group that the task reads (`Task.groups`).
    seed, runtime
        As in the config.
    settings_text
        Equal for jobs that give a task the same: its settings and those of its groups, the seed, the runtime.
    open
        Opens another source: the run's own, less what a mapping of words of the ``dataset`` group says otherwise.
    memo
        What jobs of one process share.
    """

    source: Source
    edit: AnyEdit | None
    parts: Mapping[str, Any]
    seed: int
    runtime: Runtime
    settings_text: str
    open: Callable[[Mapping[str, Any]], Source]
    memo: Memo

    def distances(self, baseline: Embeddings, edited: Embeddings) -> np.ndarray:
        """Return how far each image's embedding moved, by cosine, float64 [n]; computed once."""
        names = (baseline.path, edited.path)
        return self.memo.last("distances", names, lambda: cosine_distance(baseline.vectors, edited.vectors))

    def sides(self) -> list[Want]:
        """Return what every task wants: the source under no edit, and under the job's."""
        return [Want("baseline", self.source, None), Want("edited", self.source, self.edit)]


@dataclass(frozen=True)
class File:
    """A file, or a folder of them, beside ``result.json``; one that can't be written costs no number.

    Parameters
    ----------
    name
        What a message calls it.
    write
        Writes it into the run's folder.
    """

    name: str
    write: Callable[[Path], object]


@dataclass(frozen=True)
class Outcome:
    """What a task found, and what it says of that.

    Parameters
    ----------
    baseline, edited
        By metric: a mapping with ``mean``, ``std`` (None for one value) and ``per_seed``, or whatever else is to be
        told of a side; every metric of the table stands on both. NumPy's numbers will do.
    delta
        By metric: edited minus baseline, a mapping with ``mean``, ``std``, ``per_seed`` and ``interval`` (95 %, or
        None). None where no metric is paired.
    shown
        Which metrics there are, which way each is better, which have seen labels, what a table shows.
    result
        More for ``result.json``; mappings are merged into what is there.
    details, notes
        Lines under the table: a word and a text each; and what to know before believing a number.
    files
        Written beside the result.
    clusters
        A number for each image on both sides, [n] each, where the task puts images into groups, which figures and page
        show; else empty.
    figures
        Drawn into ``figures/``, by name: a caption, and what draws it (None for nothing to show).
    parts
        What a page shows beside scores and figures: plain values with a ``kind`` (``table``, ``text``, ``clusters``)
        and a ``title``; see `itae.look.page.run_part`.
    tracked
        More metrics for the tracker, by name.
    image_values
        By metric, what each image of the edited side adds to it: numbers [repeats, n], the mean over images of each
        repeat being ``per_seed`` of the metric. Kept beside the result, so that an edit can be held against its random
        control image by image; a metric that is no mean over images has none.
    selection
        How the task itself chose what it was left to choose: ``proxy``, by a criterion that needs no labels, or
        ``fixed``, by none. The result's ``selection`` is that of the settings or this, whichever has seen more.
    image_groups
        Whole numbers from 0, equal for images that are drawn together, [n]; by default each is by itself.
    """

    baseline: Mapping[str, Any]
    edited: Mapping[str, Any]
    delta: Mapping[str, Any] | None
    shown: Shown
    result: Mapping[str, Any] = field(default_factory=dict)
    details: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    files: Sequence[File] = ()
    clusters: tuple[np.ndarray, ...] = ()
    figures: Mapping[str, tuple[str, Callable[[], Figure | None]]] = field(default_factory=dict)
    parts: Sequence[Mapping[str, Any]] = ()
    tracked: Mapping[str, Any] = field(default_factory=dict)
    image_values: Mapping[str, np.ndarray] = field(default_factory=dict)
    image_groups: np.ndarray | None = None
    selection: str = "fixed"

    def __post_init__(self) -> None:
        """Bring all that is written to values that JSON has, and check what readers rely on."""
        for name in ("baseline", "edited", "delta", "result", "details", "notes", "parts", "tracked"):
            object.__setattr__(self, name, _as_json(f"An outcome's {name}", getattr(self, name)))
        for side, metric in itertools.product(("baseline", "edited"), self.shown.table):
            if metric not in getattr(self, side):
                raise UserError(f"An outcome's {side} lacks {metric!r}, which its table shows; give both sides each.")
        one_of("An outcome's selection", self.selection, ("fixed", "proxy"))
        for name in self.figures:
            if not re.fullmatch(r"[\w-]+", name) or name in NAMES:
                raise UserError(
                    f"An outcome's figure {name!r} must be called by letters, digits, _ and -, and not as one that "
                    f"every run has ({', '.join(NAMES)})."
                )
        if any([type(text) for text in detail] != [str, str] for detail in self.details):
            raise UserError("An outcome's details must be pairs of texts, as ('widest', '3.2').")
        for metric, change in (self.delta or {}).items():
            ends = change.get("interval") if isinstance(change, Mapping) else None
            if not isinstance(change, Mapping) or "mean" not in change or not (ends is None or _is_interval(ends)):
                raise UserError(
                    f"An outcome's delta of {metric!r} must be a mapping with mean, std and interval, [low, "
                    "high] or None."
                )


def _is_interval(ends: Any) -> bool:
    return isinstance(ends, list) and len(ends) == 2 and all(map(is_number, ends))


def _as_json(what: str, value: Any) -> Any:
    """Return a value as it is read back from JSON; NumPy's numbers and arrays are taken as plain ones."""
    try:
        return json.loads(json.dumps(value, allow_nan=False, default=lambda one: one.tolist()))
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{what} can't be written as JSON ({error}): give finite numbers, text, lists, mappings."
        ) from error


class Task(Protocol):
    """What is done with embeddings; `BaseTask` has a default for all but `kind` and `measure`."""

    kind: ClassVar[str]
    """Its name in ``result.json``: runs of another kind don't compare."""
    groups: ClassVar[tuple[str, ...]]
    """The config groups that it reads beside its own."""

    def check(self, job: Job) -> None:
        """Raise a `UserError` for whatever can be known to be wrong before any work."""

    def usable(self, job: Job, source: Source, images: ImageSet) -> None:
        """Raise a `UserError` if the images of a source that can be decoded won't do; asked before the pass."""

    def wants(self, job: Job) -> Sequence[Want]:
        """Return the embeddings that it wants; `Job.sides` first."""

    def together(self, wants: Sequence[Want]) -> Hashable:
        """Return what is equal for jobs that a sweep is to run as one group, whose passes are shared."""

    def measure(self, job: Job, embeddings: Mapping[str, Embeddings]) -> Outcome:
        """Return what is found of the embeddings, which come by the names of `wants`."""

    def clear(self, folder: Path) -> None:
        """Remove what a run in this folder left before, where it would be taken for this one's."""


class BaseTask:
    """A task that wants both sides of one source, and checks nothing; a task of one's own overrides what it needs."""

    groups: ClassVar[tuple[str, ...]] = ()
    leaves: ClassVar[tuple[str, ...]] = ()
    """Files in a run's folder that would be taken for another run's there."""

    def check(self, job: Job) -> None:
        """Find nothing wrong."""

    def usable(self, job: Job, source: Source, images: ImageSet) -> None:
        """Take any images."""

    def wants(self, job: Job) -> Sequence[Want]:
        """Return both sides."""
        return job.sides()

    def together(self, wants: Sequence[Want]) -> Hashable:
        """Return the sources: jobs that want embeddings of the same ones share their passes."""
        return tuple(dict.fromkeys(want.source.place for want in wants))

    def clear(self, folder: Path) -> None:
        """Remove the files that it leaves."""
        for name in self.leaves:
            (folder / name).unlink(missing_ok=True)
