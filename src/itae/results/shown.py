"""What a result says of its own metrics, so that whoever reads it knows none of them by name.

A task names its metrics, which way each is better, which have seen labels, and what stands in a table (``shown`` in
``result.json``). Results from before there were several tasks have none of that: they are of clustering (`before`).
What an edit tells of itself is the same for every task.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from itae.base.errors import UserError
from itae.results.before import KIND, said

BETTER = ("higher", "lower", None)
SPACES = ("own", "common", None)


def _text(what: str, value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise UserError(f"{what} must be a line of text, not {str(value)[:80]!r}.")
    return value


@dataclass(frozen=True)
class Metric:
    """What is to know of a metric before its numbers are read.

    Parameters
    ----------
    name
        As in ``result.json``; without a dot, which parts it from its side and its mean.
    title
        As people read it; by default the name.
    better
        ``higher``, ``lower``, or None where neither is: by that nothing is chosen.
    labels
        Whether it has seen labels: to choose by it makes an oracle. True unless the task says otherwise.
    space
        ``own``: measured in the embeddings of each side, so that two edits don't compare. ``common``: in those of the
        baseline, so that they do, and small changes look best. None: in no space.
    """

    name: str
    title: str = ""
    better: str | None = "higher"
    labels: bool = True
    space: str | None = None

    def __post_init__(self) -> None:
        _text("name", self.name)
        if not re.fullmatch(r"[\w-]+", self.name):  # nothing that has a meaning to HTML, rich or a command line
            raise UserError(f"The metric {self.name[:80]!r} must have a name of letters, digits, _ and - alone.")
        _text("title", self.title)
        if self.better not in BETTER or self.space not in SPACES or not isinstance(self.labels, bool):
            raise UserError(
                f"The metric {self.name[:80]!r} says better={self.better!r}, labels={self.labels!r}, space="
                f"{self.space!r}; these are higher, lower or None; a bool; own, common or None."
            )
        object.__setattr__(self, "title", self.title or self.name)

    @property
    def sign(self) -> float:
        """What its values are multiplied by for the largest to be best; a `UserError` where none is."""
        if self.better is None:
            raise UserError(
                f"By {self.name} nothing can be chosen: neither higher nor lower is better in all these runs."
            )
        return 1.0 if self.better == "higher" else -1.0


EDIT = {
    one.name: one
    for one in (
        Metric("bimodality", labels=False),
        Metric("artifact_rate", "share of patches flagged", better=None, labels=False),
        Metric("moved", "cosine distance of the embeddings", better=None, labels=False),
    )
}
"""What is known of an edited pass, whatever the task."""


@dataclass(frozen=True)
class Shown:
    """What a result says of its metrics.

    Parameters
    ----------
    headline
        The metric of tables that have one.
    criterion
        The metric that chooses without labels, where none is asked for; None where there is none.
    table
        The metrics of a run's table, in its order.
    metrics
        All that may be asked for, by name, in the order of columns.
    about
        What stands beside the number of images in a title, as ``k=10``.
    over
        What mean and standard deviation are over, as ``10 seeds``; None where there is one value.

    Raises
    ------
    UserError
        If it names a metric that is not among `metrics`.
    """

    headline: str
    criterion: str | None
    table: Sequence[str]
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    about: str = ""
    over: str | None = None

    def __post_init__(self) -> None:
        named = [self.headline, *self.table, *([] if self.criterion is None else [self.criterion])]
        if unknown := [name for name in named if name not in self.metrics]:
            raise UserError(f"{str(unknown[0])[:80]!r} is not among the metrics that the result tells of; add it.")
        if self.criterion is not None and self.metrics[self.criterion].labels:
            raise UserError(f"The criterion {self.criterion!r} has seen labels; name one that hasn't, or none.")

    @classmethod
    def of(cls, plain: Any) -> Shown:
        """Return what a result says; a `UserError` where that has another shape: it may be anybody's file."""
        if not isinstance(plain, Mapping) or not isinstance(plain.get("metrics"), Mapping):
            raise UserError("What the result says of its metrics (shown) has no metrics; run it again.")
        metrics = {name: _metric(name, one) for name, one in plain["metrics"].items()}
        table, criterion, over = plain.get("table", []), plain.get("criterion"), plain.get("over")
        if not isinstance(table, list):
            raise UserError(f"table must be a list of metrics, not {str(table)[:80]!r}.")
        return cls(
            _text("headline", plain.get("headline")),
            None if criterion is None else _text("criterion", criterion),
            tuple(_text("table", name) for name in table),
            metrics,
            _text("about", plain.get("about", "")),
            None if over is None else _text("over", over),
        )

    def plain(self) -> dict[str, Any]:
        """Return it as ``result.json`` has it."""
        metrics = {name: {key: value for key, value in asdict(one).items() if key != "name"}
                   for name, one in self.metrics.items()}  # fmt: skip
        return {"headline": self.headline, "criterion": self.criterion, "table": list(self.table), "metrics": metrics,
                "about": self.about, "over": self.over}  # fmt: skip

    def metric(self, name: str) -> Metric:
        """Return what is known of a metric, of its delta (``delta.x``), or of one of the edit's.

        Of any other it is taken that it has seen labels, and that higher is better.
        """
        short = name.removeprefix("delta.")
        known = self.metrics.get(short) or EDIT.get(short) or Metric(re.sub(r"[^\w-]", "_", short) or "_", short)
        return known if short == name else replace(known, title=f"delta of {known.title}")

    @property
    def unit(self) -> str:
        """What `over` counts: ``seeds``, or nothing."""
        return re.sub(r"^\d+ ", "", self.over or "")

    @property
    def common(self) -> list[str]:
        """The metrics that are measured in the space of the baseline."""
        return [name for name, metric in self.metrics.items() if metric.space == "common"]


def shown_of(result: Mapping[str, Any]) -> Shown:
    """Return what the result of a run that ended well says of its metrics, or, of an old one, what clustering does."""
    return Shown.of(said(result) if result.get("shown") is None else result["shown"])


def kind_of(result: Mapping[str, Any]) -> str:
    """Return which task a result is of: metrics of two tasks don't compare, even of one name."""
    return _text("kind", result.get("kind", KIND))


def merged(every: Iterable[Shown]) -> Shown:
    """Return what is so of many runs, whatever their order; of none what clustering says.

    The metrics of all. Of one that two tell of in different ways neither higher nor lower is better, and it has seen
    labels if it has in one of them. Of several headlines or criteria it is the one that comes first among the metrics.
    """
    different = {repr(one): one for one in every} or {"": shown_of({})}
    runs = [different[told] for told in sorted(different, key=lambda told: (-len(different[told].metrics), told))]
    metrics: dict[str, Metric] = {}
    for name, metric in ((name, metric) for run in runs for name, metric in run.metrics.items()):
        metrics[name] = _both(metrics.get(name, metric), metric)
    order = list(metrics)
    known = {run.criterion for run in runs if run.criterion is not None}
    criteria = [name for name in known if metrics[name].better is not None and not metrics[name].labels]
    abouts, overs = {run.about for run in runs}, {run.over for run in runs}
    units = sorted({run.unit for run in runs if run.unit})
    return Shown(
        min((run.headline for run in runs), key=order.index),
        min(criteria, key=order.index, default=None),
        tuple(dict.fromkeys(name for run in runs for name in run.table)),
        metrics,
        abouts.pop() if len(abouts) == 1 else "",
        overs.pop() if len(overs) == 1 else " or ".join(units) or None,
    )


def _both(one: Metric, other: Metric) -> Metric:
    return replace(
        one,
        better=one.better if one.better == other.better else None,
        labels=one.labels or other.labels,
        space=one.space if one.space == other.space else "own",  # the more careful of them
    )


def _metric(name: Any, plain: Any) -> Metric:
    if not isinstance(plain, Mapping):
        raise UserError(f"The metric {str(name)[:80]!r} must be told of by a mapping, not {str(plain)[:80]!r}.")
    known = {key: plain[key] for key in ("title", "better", "labels", "space") if key in plain}
    return Metric(name, **known)
