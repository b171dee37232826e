"""What results would have said of their metrics that were written before they did: all of them are of clustering."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from itae.measure import scores

KIND, TASK = "clustering", "itae.tasks.clustering.Clustering"
METRICS: dict[str, dict[str, Any]] = {
    **{name: {"title": name if name == "purity" else name.upper()} for name in (*scores.METRICS, "knn")},
    "inertia": {"better": "lower", "labels": False, "space": "own"},
    "silhouette": {"labels": False, "space": "own"},
    "silhouette_common": {"title": "silhouette common", "labels": False, "space": "common"},
    "separation": {"title": "class separation"},
    "effective_rank": {"title": "effective rank", "better": None, "labels": False, "space": "own"},
}
"""What clustering's metrics are, in the order of columns.

`silhouette` is of each edit's own space, so it is a hint; `silhouette_common` compares, and favours no edit at all. On
the model with planted artifacts (`experiment=demo`, ACC .51 to .94) the first rises from .37 to .83 and the second
falls from .36 to .08.
"""
SCORED, UNSCORED = ("acc", "nmi", "ari", "ami", "knn"), ("inertia", "silhouette")
"""The rows of a run's table, with labels and without."""
PARTS = ({"kind": "clusters", "title": "Clusters"},)
"""What its page has besides scores and figures."""


def said(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the result of a clustering says of its metrics (``shown``), if it doesn't say so itself."""
    baseline, delta = result.get("baseline") or {}, result.get("delta")
    seeds = len(baseline.get("seeds", ()))
    return {
        "headline": "acc" if delta else "inertia",
        "criterion": "silhouette",
        "table": [name for name in SCORED if name in delta] if delta else [n for n in UNSCORED if n in baseline],
        "metrics": METRICS,
        "about": f"k={baseline['k']}" if "k" in baseline else "",
        "over": f"{seeds} seeds" if seeds > 1 else None,
    }


def details(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the lines under the table of such a result that are clustering's own."""
    if not result["delta"]:
        return []
    low = [result[side]["lowest_inertia"]["acc"] for side in ("baseline", "edited")]
    return [("one seed", f"of lowest inertia, chosen without labels: ACC {low[0]:.4f} baseline, {low[1]:.4f} edited")]
