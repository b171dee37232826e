"""What every edit has on the command line: who, why, a look before it, and what is told after it."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from itae.app.knowledge.printed import counted, json_option, print_json
from itae.base.console import say
from itae.knowledge.answers.turned import turned
from itae.knowledge.base import KnowledgeBase
from itae.knowledge.ledger.changes import Change
from itae.knowledge.ledger.relabelled import new_labels, relabelled

_SHOWN = 8  # of one kind: ids, notes, predictions


def edit_options(parser: argparse.ArgumentParser) -> None:
    """Give a verb the options of an edit."""
    parser.add_argument("--why", default="", metavar="TEXT", help="the reason, for the journal")
    parser.add_argument("--who", metavar="NAME", help="by whom (the user)")
    parser.add_argument("--dry-run", action="store_true", help="only say what would change, predictions too")
    json_option(parser)


def commit(base: KnowledgeBase, change: Change, options: argparse.Namespace) -> int:
    """Make an edit of a change, or say what it would do; return the exit status."""
    touched = {name: list(getattr(change.touched, name)) for name in ("added", "changed", "deleted")}
    told: dict[str, Any] = {"version": change.before.version, "edit": None, **touched, "same": change.same,
                            "notes": list(change.notes)}  # fmt: skip
    if options.dry_run:
        found = turned(change.before, change.after) if change else None
        told |= {"turned": found.rows if found else [], "turned_of": found.of if found else 0,
                 "voter_note": found.voter_note if found else "", "labels": relabelled(change),
                 "new_labels": new_labels(change)}  # fmt: skip
        if options.json:
            print_json(told)
            return 0
        _say(touched, change, "would be ")
        if told["new_labels"]:
            say(f"note     no row of the base has the label {' or '.join(map(repr, told['new_labels'][:_SHOWN]))} yet")
        if found:
            _say_turned(found.rows, found.of, found.note)
            if found.voter_note:
                say(f"note     {found.voter_note}")
        return 0
    edit = base.commit(change, options.who, options.why)
    if options.json:
        told |= {"edit": edit and edit.edit, "version": edit.edit if edit else change.before.version}
        print_json(told)
        return 0
    _say(touched, change, "")
    if edit is not None:
        say(f"edit {edit.edit}, {counted(edit.counts['rows'], 'row')} now; to take it back: "
            f"itae knowledge undo {shlex.quote(options.kb)} {edit.edit}")  # fmt: skip
    return 0


def _say(touched: dict[str, list[str]], change: Change, would: str) -> None:
    for name, ids in touched.items():
        if ids:
            some = ", ".join(ids[:_SHOWN]) + (f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else "")
            say(f"{would}{name:<8} {len(ids)}  {some}" if len(ids) <= _SHOWN or would else f"{name:<8} {len(ids)}")
    if change.same:
        say(f"as it is {change.same}")
    if not change:
        say("Nothing changes, so there is no edit.")
    for note in change.notes[:_SHOWN]:
        say(f"note     {note}")
    if (more := len(change.notes) - _SHOWN) > 0:
        say(f"note     and {more} more of these, which --json has")


def _say_turned(rows: list[dict[str, Any]], of: int, note: str) -> None:
    sampled = f" ({note})" if note else ""
    say(f"predictions that turn: {len(rows)} of {of}, each row asked as if it were not there{sampled}")
    for row in rows[:_SHOWN]:
        say(f"  {row['id']}: {row['before']} -> {row['after']}")
