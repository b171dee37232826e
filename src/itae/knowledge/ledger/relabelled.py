"""What a change does to labels: which rows get others, and which labels the base has never had."""

from __future__ import annotations

from typing import Any

from itae.knowledge.ledger.changes import Change


def relabelled(change: Change) -> list[dict[str, Any]]:
    """Return ``{id, before, after}`` of each row that gets other labels, lists, in the order of ids."""
    before, after = change.before, change.after
    each = (
        {"id": id_, "before": list(before.labels_of(before.position[id_])), "after": list(after.labels_of(there))}
        for id_ in change.touched.changed
        if (there := after.position.get(id_)) is not None
    )
    return [one for one in each if one["before"] != one["after"]]


def new_labels(change: Change) -> list[str]:
    """Return the labels, sorted, that no row has before a change and some row that stays has after it."""
    return sorted({name for one in relabelled(change) for name in one["after"]} - change.before.label_counts.keys())
