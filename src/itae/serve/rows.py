"""Rows, edits and rules as JSON has them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from itae.base.construct import construct
from itae.base.names import public_target
from itae.knowledge.base import KnowledgeBase
from itae.knowledge.ledger.journal import Edit
from itae.knowledge.records.snapshot import Snapshot

MOST_EDITS = 20
"""Edits that are told beside something else."""
_OF_A_ROW = ("source", "place", "group")


def row(snapshot: Snapshot, i: int) -> dict[str, Any]:
    """Return what is told of the row at a position wherever it is told: id, number, labels."""
    return {"id": snapshot.ids[i], "number": int(snapshot.numbers_M[i]), "labels": list(snapshot.labels_of(i))}


def whole_row(snapshot: Snapshot, i: int) -> dict[str, Any]:
    """Return all that a version has of the row at a position but its vector."""
    time = snapshot.column("time", i)
    others = [name for name in snapshot.table.column_names if name not in (*_OF_A_ROW, "time")]
    return {
        **row(snapshot, i),
        **{name: snapshot.column(name, i) for name in _OF_A_ROW},
        "time": None if time is None else time.isoformat(),
        "metadata": {name: _plain(snapshot.column(name, i)) for name in others},
    }


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | type(None)) else str(value)


def edit(told: Edit) -> dict[str, Any]:
    """Return an edit as a list has it."""
    return {name: getattr(told, name) for name in ("edit", "verb", "who", "why", "when", "counts")}


def edits_since(base: KnowledgeBase, seen: int | None, version: int) -> list[dict[str, Any]]:
    """Return the edits after a version up to another, the last one first, `MOST_EDITS` at most; None is that other."""
    first = max(version if seen is None else seen, version - MOST_EDITS) + 1
    return [edit(one) for one in reversed(base.log(first, version))] if first <= version else []


def rules(nodes: Mapping[str, Mapping[str, Any]], texts: Mapping[str, Mapping[str, str]]) -> list[dict[str, Any]]:
    """Return what can be said of rules: what each does, and its options with their defaults.

    Parameters
    ----------
    nodes
        Of the group ``feedback``, by their names.
    texts
        By the same names: what each option does, and under the empty name what the rule does. What isn't there is told
        by the class.
    """
    found = []
    for name, node in nodes.items():
        made, said = construct("feedback", node), texts.get(name, {})
        kinds = get_type_hints(type(made))
        options = [
            {
                "name": each.name,
                "default": getattr(made, each.name),
                "type": "one of" if get_origin(kinds[each.name]) is Literal else _TYPES.get(kinds[each.name], "text"),
                "choices": list(get_args(kinds[each.name])) if get_origin(kinds[each.name]) is Literal else [],
                "says": said.get(each.name, ""),
            }
            for each in (fields(made) if is_dataclass(made) else ())
            if each.name in node
        ]
        first = (inspect.getdoc(type(made)) or name).partition("\n\n")[0].replace("\n", " ")
        found.append({"name": name, "says": said.get("", first), "options": options})
    return found


_TYPES: Mapping[Any, str] = {float: "number", int: "integer", bool: "true or false"}


def rule_told(node: Mapping[str, Any], nodes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return a rule's node as name and options: of those of the same class the one that shares most options."""
    target, own = public_target(str(node.get("_target_"))), {k: v for k, v in node.items() if k != "_target_"}
    alike = {
        name: sum(other.get(key) == value for key, value in own.items())
        for name, other in nodes.items()
        if public_target(str(other["_target_"])) == target
    }
    return {"name": max(alike, key=alike.__getitem__) if alike else target, **own}
