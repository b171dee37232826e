"""Rows, edits and rules as JSON has them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from itae.base.construct import construct
from itae.base.names import public_target
from itae.knowledge.ledger.journal import Edit
from itae.knowledge.records.snapshot import Snapshot

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


def rules(nodes: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what can be said of rules: what each does, and its options with their defaults."""
    found = []
    for name, node in nodes.items():
        made = construct("feedback", node)
        doc = inspect.getdoc(type(made)) or ""
        told = {key: says for cls in reversed(type(made).__mro__) for key, says in _options(cls.__doc__ or "").items()}
        options = [
            {"name": each.name, "default": getattr(made, each.name), "type": _TYPES.get(str(each.type), "text"),
             "says": told.get(each.name, "")}
            for each in (fields(made) if is_dataclass(made) else ()) if each.name in node
        ]  # fmt: skip
        found.append({"name": name, "says": doc.partition("\n\n")[0].replace("\n", " "), "options": options})
    return found


_TYPES = {"float": "number", "int": "integer", "bool": "true or false"}


def _options(doc: str) -> dict[str, str]:
    """Return what a numpy docstring says of each parameter."""
    _, _, after = inspect.cleandoc(doc).partition("Parameters\n----------\n")
    found: dict[str, list[str]] = {}
    names: list[str] = []
    for line in after.split("\n"):
        if re.match(r"-+$", line):  # the next heading
            found.pop(names[-1], None)
            break
        if line and not line.startswith(" "):
            names = [name.strip() for name in line.split(",")]
            found |= {name: [] for name in names}
        elif line.strip():
            for name in names:
                found[name].append(line.strip())
    return {name: " ".join(lines).replace("``", "") for name, lines in found.items()}


def rule_told(node: Mapping[str, Any], nodes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return a rule's node as name and options: of those of the same class the one that shares most options."""
    target, own = public_target(str(node.get("_target_"))), {k: v for k, v in node.items() if k != "_target_"}
    alike = {
        name: sum(other.get(key) == value for key, value in own.items())
        for name, other in nodes.items()
        if public_target(str(other["_target_"])) == target
    }
    return {"name": max(alike, key=alike.__getitem__) if alike else target, **own}
