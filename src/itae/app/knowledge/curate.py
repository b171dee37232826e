"""``itae knowledge suspects | duplicates | outliers``: what people who look after a folder of pictures ask for most."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from typing import Any

from itae.app.knowledge.printed import counted, json_option, print_json, print_table, table_of
from itae.app.knowledge.words import Asked, ask, config, parser
from itae.app.settings import runtime_of
from itae.base.checks import whole
from itae.base.console import say
from itae.knowledge.base import open_knowledge
from itae.knowledge.curate.duplicates import THRESHOLD, near_duplicate
from itae.knowledge.curate.duplicates import duplicates as groups_of
from itae.knowledge.curate.outliers import outliers as outliers_of
from itae.knowledge.curate.suspects import suspects as suspects_of
from itae.knowledge.records.snapshot import Snapshot


def suspects(argv: Sequence[str]) -> int:
    """Run ``itae knowledge suspects``."""
    made = _list("suspects", "Rows that are likely labelled wrongly, the likeliest first, and why.")
    made.add_argument("--threshold", type=float, default=THRESHOLD, metavar="SIMILARITY",
                      help=f"from which two pictures are nearly the same ({THRESHOLD})")  # fmt: skip
    asked, snapshot, device = _asked(made, argv)
    found = suspects_of(snapshot, asked.options.n, asked.options.threshold, device)
    if _printed(asked, [one.plain(snapshot) for one in found]):
        return 0
    table = table_of("row", "label", "suggested", "score", "because")
    for one in found:
        labels = ", ".join(snapshot.labels_of(one.position))
        table.add_row(snapshot.ids[one.position], labels, one.suggested or "-", f"{one.score:.3f}", "; ".join(one.says))
    print_table(table)
    if found and found[0].suggested:
        words = ["itae", "knowledge", "correct", asked.options.kb, found[0].suggested, snapshot.ids[found[0].position]]
        say(f"to correct the first: {shlex.join(words)}")
    return 0


def duplicates(argv: Sequence[str]) -> int:
    """Run ``itae knowledge duplicates``."""
    made = _list("duplicates", "Groups of pictures that are the same, or nearly; those of other labels first.")
    made.add_argument("--threshold", type=float, metavar="SIMILARITY",
                      help=f"from which two pictures are nearly the same ({THRESHOLD}; more where a picture's nearest "
                      "other usually is as near as that)")  # fmt: skip
    made.add_argument("--same-bytes", action="store_true", help="only those that are the same to the last byte")
    asked, snapshot, _ = _asked(made, argv)
    options = asked.options
    threshold = options.threshold
    if threshold is None and not options.same_bytes:
        threshold = near_duplicate(snapshot)
    found = groups_of(snapshot, None if options.same_bytes else threshold)
    if _printed(asked, [group.plain(snapshot) for group in found[: options.n]]):
        return 0
    for group in found[: options.n]:
        what = "the same bytes" if group.same_bytes else f"alike from {group.similarity:.6f} on"
        say(f"{len(group.positions)} rows, {what}{', of different labels' if group.labels_differ else ''}")
        for i, similar in zip(group.positions, group.nearest, strict=True):
            say(f"  {similar:.6f}  {snapshot.ids[i]}, {', '.join(snapshot.labels_of(i)) or 'no label'}")
    rows = sum(len(group.positions) for group in found)
    say(f"{counted(len(found), 'group')} of {counted(rows, 'row')} in all")
    return 0


def outliers(argv: Sequence[str]) -> int:
    """Run ``itae knowledge outliers``."""
    made = _list("outliers", "Pictures that are like no other: of all rows, and of those of their own label.")
    asked, snapshot, device = _asked(made, argv)
    over_all, in_class = outliers_of(snapshot, asked.options.n, device)
    told = {"all": [one.plain(snapshot) for one in over_all], "labels": [one.plain(snapshot) for one in in_class]}
    if _printed(asked, told):
        return 0
    for name, some in (("of all rows", over_all), ("of their own label", in_class)):
        table = table_of("row", "label", "distance", f"nearest {name}")
        for one in some:
            labels = one.label or ", ".join(snapshot.labels_of(one.position))
            table.add_row(snapshot.ids[one.position], labels, f"{one.distance:.6f}", snapshot.ids[one.nearest])
        print_table(table)
        say("")
    return 0


def _list(verb: str, told: str) -> argparse.ArgumentParser:
    made = parser(verb, told)
    made.add_argument("-n", type=int, default=20, metavar="N", help="how many (20)")
    made.add_argument("--at", metavar="VERSION", help="of this version or tag (the newest)")
    json_option(made)
    return made


def _asked(made: argparse.ArgumentParser, argv: Sequence[str]) -> tuple[Asked, Snapshot, str]:
    asked = ask(made, argv, ("runtime",))
    whole("-n", asked.options.n, low=1)
    device = runtime_of(config(asked.words)["runtime"]).device if asked.words else "auto"
    return asked, open_knowledge(asked.options.kb).snapshot(asked.options.at), device


def _printed(asked: Asked, told: Any) -> bool:
    if asked.options.json:
        print_json(told)
    return bool(asked.options.json)
