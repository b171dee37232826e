"""How good the answers of both sides are: the same queries, classes and intervals on each, so that deltas are paired.

Queries of known classes are scored; those of classes that no row has are wrong by that. Those of held out classes, and
of classes that no row has, are what `unknown_auroc` tells from the others.

Shapes: N scored queries, A queries of which AUROC is told, C classes, T labels told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from itae.knowledge.records.snapshot import NONE
from itae.measure.classified import (
    Reliability,
    Truth,
    auroc_values,
    class_sizes,
    confusion,
    image_values,
    mean_average_precision,
    recall_intervals,
    recalls,
    reliability,
    right,
)
from itae.measure.intervals import by_group, mean_interval
from itae.results.shown import Metric
from itae.tasks.knn.answers import TOLD, Answers
from itae.tasks.knn.galleries import SIDES
from itae.tasks.knn.queries import Queries
from itae.tasks.memory import truth_of

AUROC = "unknown_auroc"
METRICS = {
    one.name: one
    for one in (
        Metric("top_1", "top-1 accuracy"),
        Metric("top_5", "top-5 accuracy"),
        Metric("balanced_accuracy", "balanced accuracy"),
        Metric("map", "mAP over classes"),
        Metric(AUROC, "AUROC of unknown classes"),
        Metric("ece", "calibration error (ECE)", better="lower"),
    )
}
"""In the order of a table."""


@dataclass(frozen=True, eq=False)
class Scored:
    """The answers of both sides to the queries that are scored.

    Parameters
    ----------
    names
        The classes, sorted.
    at
        Which queries are scored, int64 [N].
    truth
        Of these: codes of `names`.
    told
        By side, the codes that were told, best first, [N, T], -1 for none; T is 1 where `TOLD` labels say nothing.
    answers
        By side, what they came from.
    groups
        Whole numbers from 0, equal for queries that are drawn together, [N].
    asked, unknown, asked_groups
        The queries of which AUROC is told, whether the class of each is one that no row has, and their groups, [A].
    lacking
        Classes of scored queries that no row has.
    has_shares
        Whether shares say more than the answer: by one row alone each is 1, and the calibration error 1 - top-1.
    """

    names: tuple[str, ...]
    at: np.ndarray
    truth: Truth
    told: Mapping[str, np.ndarray]
    answers: Mapping[str, Answers]
    groups: np.ndarray
    asked: np.ndarray
    unknown: np.ndarray
    asked_groups: np.ndarray
    lacking: tuple[str, ...]
    has_shares: bool = True

    @cached_property
    def has_auroc(self) -> bool:
        """Whether there are queries of both kinds."""
        return bool(self.unknown.any() and not self.unknown.all())

    @cached_property
    def single(self) -> bool:
        """Whether each query has one label, so that there is a confusion matrix."""
        return isinstance(self.truth, np.ndarray)

    @cached_property
    def sizes(self) -> np.ndarray:
        """How many scored queries each class has, float64 [C]."""
        return class_sizes(self.truth, len(self.names))

    def right(self, side: str) -> np.ndarray:
        """Return whether the answer to each is right, bool [N]."""
        return right(self.truth, self.told[side])

    def recalls(self, side: str) -> np.ndarray:
        """Return the recall of each class, float64 [C]; NaN for one without queries."""
        return recalls(self.truth, self.told[side], len(self.names))

    def recall_intervals(self, side: str, seed: int) -> np.ndarray:
        """Return the 95 % interval of each, float64 [C, 2]."""
        return recall_intervals(self.truth, self.told[side], len(self.names), self.groups, seed)

    def confusion(self, side: str) -> np.ndarray:
        """Return how many queries of a class, by row, got each answer, int64 [C, C + 1]; the last column is none."""
        assert isinstance(self.truth, np.ndarray)
        return confusion(self.truth, self.told[side][:, 0], len(self.names))

    def reliability(self, side: str) -> Reliability:
        """Return what the shares of the answers say of their being right."""
        there = self.told[side][:, 0] != NONE
        return reliability(self.right(side)[there], self.answers[side].share[self.at][there])


def scored(queries: Queries, answers: Mapping[str, Answers], k: int | None) -> Scored:
    """Return the answers of both sides in one numbering of the classes.

    Parameters
    ----------
    queries
        With their truth.
    answers
        By side.
    k
        How many rows voted; None where labels are voted on without rows.
    """
    classes = frozenset[str]().union(*(one.classes for one in answers.values()))
    truth = queries.known_truth
    names = tuple(sorted(classes.union(*truth)))
    at = np.array([i for i, some in enumerate(truth) if some], np.int64)
    codes, _ = truth_of([truth[i] for i in at.tolist()], names)
    asked = np.array([i for i, some in enumerate(queries.truth) if some], np.int64)
    unknown = np.array([classes.isdisjoint(queries.truth[i]) for i in asked.tolist()], bool)
    width = TOLD if len(classes) > TOLD and (k is None or k > 1) else 1
    groups = queries.groups()
    lacking = sorted({label for i in at.tolist() for label in truth[i]} - classes)
    return Scored(
        names, at, codes, {side: _renumbered(one, names)[at][:, :width] for side, one in answers.items()}, answers,
        _from_0(groups[at]), asked, unknown, _from_0(groups[asked]), tuple(lacking), k is None or k > 1,
    )  # fmt: skip


def _from_0(groups: np.ndarray) -> np.ndarray:
    return np.unique(groups, return_inverse=True)[1].reshape(-1)


def codes_in(answers: Answers, names: tuple[str, ...]) -> np.ndarray:
    """Return the place in `names` of each of a side's codes, -1 where it isn't there; the last is for `NONE`."""
    place = {name: i for i, name in enumerate(names)}
    return np.array([*(place.get(name, NONE) for name in answers.label_names), NONE], np.int64)


def _renumbered(answers: Answers, names: tuple[str, ...]) -> np.ndarray:
    return codes_in(answers, names)[answers.told]


@dataclass(frozen=True, eq=False)
class Scores:
    """By metric, as `itae.tasks.task.Outcome` has them: both sides, edited minus baseline, and each image's part."""

    baseline: dict[str, Any]
    edited: dict[str, Any]
    delta: dict[str, Any]
    image_values: dict[str, np.ndarray]


def scores(found: Scored) -> Scores:
    """Return the scores of both sides, paired."""
    values = {side: _values(found, side) for side in SIDES}
    means = {side: {name: float(each.mean()) for name, each in some.items()} | _others(found, side)
             for side, some in values.items()}  # fmt: skip
    both = [name for name in METRICS if all(name in one for one in means.values())]
    told = {side: {name: _single(one[name]) for name in both} for side, one in means.items()}
    delta = {}
    for name in both:
        ends = None
        if name in values["baseline"]:
            groups = found.asked_groups if name == AUROC else found.groups
            ends = mean_interval(by_group(values["edited"][name] - values["baseline"][name], groups))
        delta[name] = _single(means["edited"][name] - means["baseline"][name]) | {"interval": ends and list(ends)}
    parts = {name: each[None] for name, each in values["edited"].items() if name != AUROC}  # of the scored alone
    return Scores(told["baseline"], told["edited"], delta, parts)


def _values(found: Scored, side: str) -> dict[str, np.ndarray]:
    """Return what each query adds to each score that is a mean over queries."""
    values = image_values(found.truth, found.told[side], len(found.names))
    if found.has_auroc:
        values[AUROC] = auroc_values(found.answers[side].p[found.asked], found.unknown)
    return values


def _others(found: Scored, side: str) -> dict[str, float]:
    """Return the scores that are no means over queries."""
    ece = found.reliability(side).ece
    others = {"ece": ece} if found.has_shares and not np.isnan(ece) else {}
    shares_QC = found.answers[side].shares
    if shares_QC is None:
        return others
    places = codes_in(found.answers[side], found.names)[:-1]
    shares_NC = np.zeros((len(found.at), len(found.names)), np.float32)
    shares_NC[:, places[places >= 0]] = shares_QC[found.at][:, places >= 0]
    return others | {"map": mean_average_precision(found.truth, shares_NC)}


def _single(value: float) -> dict[str, Any]:
    return {"mean": value, "std": None, "per_seed": [value]}
