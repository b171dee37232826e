"""What a search is for: numbers of ``result.json`` by their dotted keys, and which way each is better."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from omegaconf import DictConfig

from itae.base.checks import is_number, one_of
from itae.base.errors import UserError, did_you_mean
from itae.base.names import public_target
from itae.results.run import mean_artifact_rate
from itae.results.shown import EDIT, Metric, Shown, shown_of

SIDES = ("baseline", "edited", "delta")
DIRECTIONS = {"higher": "maximize", "lower": "minimize"}
_NO_LABELS = ("timing",)  # of the driver's own numbers; what else a task adds may have seen some


@dataclass(frozen=True)
class Objective:
    """One of the numbers that a search is for.

    Parameters
    ----------
    setting
        Where it was set, for messages.
    key
        The way to it in ``result.json``, as in ``edited.acc``; one word is of the edited side. A mapping with a
        ``mean`` stands for that.
    direction
        ``maximize`` or ``minimize``; None for what the results say of it.
    """

    setting: str
    key: str
    direction: str | None

    @property
    def metric(self) -> str:
        """The name that the results tell of it by, if they do."""
        first, *rest = self.key.split(".")
        return rest[0] if first in SIDES and rest else first

    @property
    def of_edit(self) -> Metric | None:
        """What is known of it if it is of the edit, which has no sides; None if it is the task's."""
        return EDIT.get(self.key.partition(".")[0])

    @property
    def best(self) -> str | None:
        """What a page calls it, to choose by it; None if it is not in a page's table."""
        if self.of_edit is not None and self.key != "bimodality":
            return None
        side, _, rest = self.key.rpartition(".")
        return {"": self.key, "edited": rest, "delta": self.key}.get(side)

    def directed(self, shown: Shown | None, last: bool = True) -> Objective:
        """Return it with a direction; a `UserError` if neither the settings nor the results give one.

        If `shown` is not the last that will be known of the results, what it doesn't tell of stays without.
        """
        if self.direction is not None:
            return self
        known = self.of_edit or (shown.metrics.get(self.metric) if shown else None)
        if known is None and self.metric not in _NO_LABELS and not last:
            return self
        if known is None or known.better is None:
            way = ("set hydra.sweeper.direction to maximize or minimize" if self.setting.endswith("metric") else
                   f"say so, as in 'hydra.sweeper.objectives={{{self.key}: minimize}}'")  # fmt: skip
            if known is None and shown is not None and shown.metrics:
                way += f", or name one of {', '.join(name for name, one in shown.metrics.items() if one.better)}"
            raise UserError(f"{self.setting}={self.key!r}: no result says which way it is better; {way}.")
        return replace(self, direction=DIRECTIONS[known.better])

    def sees_labels(self, shown: Shown | None) -> bool:
        """Whether it may have seen labels: what nobody tells of is taken for such."""
        if self.metric in _NO_LABELS or self.of_edit is not None:
            return False
        return shown is None or shown.metric(self.metric).labels

    def value(self, result: Mapping[str, Any]) -> float | None:
        """Return it from a result; None where that has no finite value of it.

        A delta that the task doesn't give is edited minus baseline where both are measured in one space, and the share
        of flagged patches is the mean over the edited blocks: as in a table.

        Raises
        ------
        UserError
            If there is no such key in the result, or no number there.
        """
        if sides := self._in_common(result):
            before, after = sides
            return None if before is None or after is None else after - before
        if self.key == "artifact_rate":
            return mean_artifact_rate(result)
        path = self.key.split(".")
        own = len(path) == 1 and self.of_edit is None
        if own and (self.key in (result.get("edited") or {}) or self.key not in result):
            path = ["edited", self.key]
        node: Any = result
        for i, name in enumerate(path):
            if not isinstance(node, Mapping) or name not in node:
                raise self._missing(name, ".".join(path[:i]) or "result.json", node)
            node = node[name]
        if isinstance(node, Mapping):
            node = node.get("mean", node)
        if node is not None and not is_number(node):
            raise UserError(f"{self.setting}={self.key!r} is no number in the results but a {type(node).__name__}.")
        return float(node) if node is not None and math.isfinite(node) else None

    def _in_common(self, result: Mapping[str, Any]) -> list[float | None]:
        """Return both sides of a delta that isn't given, where they are measured in one space; else nothing."""
        side, _, name = self.key.removesuffix(".mean").partition(".")
        if side != "delta" or name in (result.get("delta") or {}) or name not in shown_of(result).common:
            return []
        return [replace(self, key=f"{side}.{name}").value(result) for side in ("baseline", "edited")]

    def _missing(self, name: str, where: str, node: Any) -> UserError:
        known = [key for key, value in node.items() if _has_number(value)] if isinstance(node, Mapping) else []
        there = ", ".join(known) or "no numbers"
        return UserError(
            f"{self.setting}={self.key!r} is not in the results; {where} has {there}.{did_you_mean(name, known)}"
        )


def objectives_of(options: Mapping[str, Any]) -> list[Objective]:
    """Return what a sweeper is asked for: its ``objectives``, or else its ``metric`` and ``direction``.

    Raises
    ------
    UserError
        For a direction that there isn't, and objectives that are none.
    """
    setting, direction = "hydra.sweeper.direction", options["direction"]
    if direction is not None:
        one_of(setting, direction, DIRECTIONS.values())
    if options.get("objectives") is None:
        return [Objective("hydra.sweeper.metric", str(options["metric"]), direction)]
    setting, told = "hydra.sweeper.objectives", options["objectives"]
    if not isinstance(told, Mapping) or not told:
        raise UserError(f"{setting}={told!r} must name objectives, as in {{edited.silhouette: maximize}}.")
    if direction is not None:
        raise UserError(
            f"hydra.sweeper.direction={direction} goes with hydra.sweeper.metric; {setting} have their own."
        )
    found = []
    for key, own in _flat(told):
        if own is not None:
            one_of(f"{setting}.{key}", own, DIRECTIONS.values())
        found.append(Objective(setting, key, own))
    return found


def _flat(told: Mapping[Any, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in told.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def settled(objectives: Sequence[Objective], config: DictConfig) -> tuple[list[Objective], Shown | None]:
    """Return the objectives with what is known of them before there is any result, and what that is.

    Clustering's own metrics are known, and k-means' are all of them; of somebody's own task or clusterer, the first
    results tell.

    Raises
    ------
    UserError
        For a metric that no result will have, or whose direction none will say.
    """
    task, clusterer = (public_target(str((config.get(group) or {}).get("_target_"))) for group in ("task", "clusterer"))
    known = shown_of({}) if task == "itae.tasks.clustering.Clustering" else None
    every = known is not None and clusterer == "itae.cluster.KMeans"
    if known is not None and every:
        _check_names(objectives, known)
    return [one.directed(known, last=every) for one in objectives], known


def _check_names(objectives: Sequence[Objective], known: Shown) -> None:
    delta = [name for name, metric in known.metrics.items() if metric.space != "own"]
    for one in objectives:
        side, name, *rest = one.key.split(".") if "." in one.key else ("", one.key)
        if not side:
            one_of(one.setting, name, [*known.metrics, *EDIT])
        elif side in SIDES and name in EDIT:
            raise UserError(f"{one.setting}={one.key!r}: {name} is the edit's, which has no sides; write {name}.")
        elif side in SIDES and rest in ([], ["mean"]):
            one_of(one.setting, name, delta if side == "delta" else known.metrics)


def _has_number(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_number, value.values()))
    return is_number(value)
