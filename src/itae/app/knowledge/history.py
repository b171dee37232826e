"""``itae knowledge log | diff | tag``: what was done, and names of versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from itae.app.knowledge.printed import json_option, print_json, print_table, table_of
from itae.app.knowledge.words import ask, parser
from itae.base.console import say
from itae.base.errors import UserError
from itae.knowledge.base import open_knowledge

_SHOWN = 20


def log(argv: Sequence[str]) -> int:
    """Run ``itae knowledge log``."""
    made = parser("log", "The edits of a base, the newest last: who, when, what, why.")
    json_option(made)
    asked = ask(made, argv)
    edits = open_knowledge(asked.options.kb).log()
    if asked.options.json:
        names = ("edit", "verb", "who", "when", "why", "asked", "counts", "root", "forgotten")
        told = [{name: getattr(edit, name) for name in names} for edit in edits]
        for one, edit in zip(told, edits, strict=True):
            one |= {name: list(getattr(edit.touched, name)) for name in ("added", "changed", "deleted")}
        print_json(told)
        return 0
    table = table_of("edit", "when", "who", "verb", "added", "changed", "deleted", "rows", "why")
    for edit in edits:
        counts = [str(edit.counts.get(name, "")) for name in ("added", "changed", "deleted", "rows")]
        table.add_row(str(edit.edit), edit.when[:19].replace("T", " "), edit.who, edit.verb, *counts, edit.why)
    print_table(table)
    return 0


def diff(argv: Sequence[str]) -> int:
    """Run ``itae knowledge diff``."""
    made = parser("diff", "What is different in version B from version A.", "A B")
    json_option(made)
    asked = ask(made, argv)
    if len(asked.others) != 2:
        raise UserError("itae knowledge diff KB A B: give two versions or tags.")
    found = open_knowledge(asked.options.kb).diff(*asked.others)
    if asked.options.json:
        print_json({"added": found.added, "deleted": found.deleted, "changed": found.changed}, str)
        return 0
    for name in ("added", "deleted"):
        for id_ in getattr(found, name)[:_SHOWN]:
            say(f"{name:<8} {id_}")
    for id_, fields in list(found.changed.items())[:_SHOWN]:
        say(f"changed  {id_}: " + "; ".join(f"{name} {_plain(a)} -> {_plain(b)}" for name, (a, b) in fields.items()))
    say(f"{len(found.added)} added, {len(found.changed)} changed, {len(found.deleted)} deleted")
    return 0


def tag(argv: Sequence[str]) -> int:
    """Run ``itae knowledge tag``."""
    made = parser("tag", "Give a version a name, for --at and restore; without one, list them.", "NAME")
    made.add_argument("--at", metavar="VERSION", help="which (the newest)")
    made.add_argument("--remove", action="store_true", help="take the name away")
    asked = ask(made, argv)
    base = open_knowledge(asked.options.kb)
    if not asked.others:
        for name, version in sorted(base.tags().items(), key=lambda pair: pair[1]):
            say(f"{version:>6}  {name}")
    elif len(asked.others) > 1:
        raise UserError(f"itae knowledge tag gives one name, and {len(asked.others)} were given.")
    elif asked.options.remove:
        base.untag(asked.others[0])
    else:
        base.tag(asked.others[0], asked.options.at)
    return 0


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
