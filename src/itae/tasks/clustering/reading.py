"""What both sides are like beside their scores: how much their clusters agree, how expressive their spaces are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from itae.measure.scores import told_interval
from itae.measure.spaces import looked_at

if TYPE_CHECKING:
    from itae.measure.cluster.clustered import Clustered


def reading(
    before: Clustered, after: Clustered, delta: Mapping[str, Any] | None, agree: Mapping[str, Mapping[str, Any]]
) -> list[tuple[str, str]]:
    """Return the lines under the table."""
    return [("agreement", _agreement(agree)), ("spaces", _spaces(before, after, delta))]


def _agreement(agree: Mapping[str, Mapping[str, Any]]) -> str:
    ari, nmi = agree["ari"], agree["nmi"]
    text = (
        f"of the clusters before and after the edit, without labels: ARI {ari['chosen']:.4f}, NMI {nmi['chosen']:.4f}"
    )
    seeds = len(ari["per_seed"])
    return text + (f"; mean over {seeds} seeds {ari['mean']:.4f}, {nmi['mean']:.4f}" if seeds > 1 else "")


def _spaces(before: Clustered, after: Clustered, delta: Mapping[str, Any] | None) -> str:
    """Return effective rank and class separation of both sides, with the interval of what the latter's edit adds."""
    sides = [side.metrics for side in (before, after)]
    rows = looked_at(sides[0]["n"])
    of = "" if rows is None else f" (of {len(rows):,} images)"
    told = [f"effective rank{of} {' to '.join(_number(side['effective_rank']['mean'], 1) for side in sides)}"]
    if all("separation" in side for side in sides):
        text = f"class separation {' to '.join(_number(side['separation']['mean'], 4) for side in sides)}"
        ends = told_interval((delta or {}).get("separation"))
        told.insert(0, text + (f" (95 % of the change: {ends})" if ends else ""))
    return f"baseline to edited: {'; '.join(told)}"


def _number(value: float | None, digits: int) -> str:
    return "none" if value is None else f"{value:.{digits}f}"
