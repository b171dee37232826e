"""``itae search``: the rows of a base that are like an image or words, and again by what was judged of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from itae.app.knowledge.opened import NEEDED, snapshot_of
from itae.app.knowledge.printed import print_json, print_table, table_of
from itae.app.knowledge.words import OF_A_SPACE, Asked, ask, config, parser
from itae.app.search.printed import (
    Pages,
    new_folder,
    plain,
    print_csv,
    print_json_of,
    print_pages,
    print_paths,
    write_links,
)
from itae.app.search.queries import sought
from itae.app.search.sessions import Replayed, next_round, replayed
from itae.app.settings import cache_folder
from itae.base.checks import whole
from itae.base.console import say
from itae.base.construct import construct
from itae.base.errors import UserError
from itae.base.names import choice_of
from itae.knowledge.base import KnowledgeBase, open_knowledge
from itae.knowledge.records.similarity import unit
from itae.knowledge.records.snapshot import Snapshot
from itae.search.alike import Alike
from itae.search.rounds import COUNT
from itae.search.search import Page, Search, marks_of, rows_where
from itae.search.sought import Sought

READS = ("feedback", "knowledge", *OF_A_SPACE, *NEEDED)


def main(argv: Sequence[str]) -> int:
    """Run ``itae search`` with what stands after it; return the exit status."""
    asked = ask(_parser(), argv, READS)
    options = asked.options
    if options.count is not None:
        whole("-n", options.count, low=1)
    _check_words(asked)
    links = None if options.links is None else new_folder(options.links)
    base, plain_ = open_knowledge(options.kb), config(asked.words)
    if options.replay is not None:
        _show_replayed(options, replayed(asked, base, plain_), base, links)
        return 0
    snapshot = snapshot_of(base, plain_, cache_folder(plain_["paths"]), options.at)
    check = partial(_refuse_marks_of_several, options)
    if options.session is not None:
        pages = [next_round(asked, base, plain_, snapshot, check)]
    else:
        pages = _pages(asked, base, plain_, snapshot, check)
    _show(options, pages, base, snapshot, links)
    return 0


def _parser() -> argparse.ArgumentParser:
    made = parser("search", "Find images of a base by an image or by words, and again by what was judged of them.",
                  "QUERY", prog="itae ")  # fmt: skip
    made.add_argument(
        "--text", action="append", metavar="WORDS", help="words to look for; needs a base whose space has them"
    )
    made.add_argument("--yes", action="append", default=[], metavar="ID", help="an image that was shown is right")
    made.add_argument("--no", action="append", default=[], metavar="ID", help="an image that was shown is wrong")
    made.add_argument(
        "--where",
        metavar="EXPR",
        help="only rows for which this holds: SQL on id, label, source, group, time and metadata",
    )
    made.add_argument("-n", "--count", type=int, metavar="N", help=f"how many images ({COUNT})")
    made.add_argument(
        "--at", metavar="VERSION", help="of this version or tag (the newest; of a replay that of each round)"
    )
    made.add_argument("--keep-judged", action="store_true", help="show what was judged and the query's own rows, first")
    told = "images unlike those that were shown, for who has found nothing yet; with a session it knows them"
    made.add_argument("--diverse", action="store_true", help=told)
    form = made.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON document; of several queries a list")
    form.add_argument("--paths", action="store_true", help="where the images lie, one a line")
    form.add_argument("--csv", action="store_true", help="a line for each image")
    form.add_argument("--links", metavar="DIR", help="a new folder with a link to each image")
    told = "write the round into a file, or go on with that of a file; what isn't said stays as it was"
    made.add_argument("--session", metavar="FILE", help=told)
    made.add_argument("--forget", action="append", default=[], metavar="ID", help="take back a mark of the session")
    made.add_argument(
        "--replay", metavar="FILE", help="run all rounds of a session again, and say whether they are the same"
    )
    return made


def _check_words(asked: Asked) -> None:
    """Refuse words that do nothing together, before any work."""
    options, queries = asked.options, asked.others or asked.options.text
    if options.replay is not None and (queries or options.yes or options.no or options.forget or options.session):
        raise UserError("--replay runs a session as it is: give no query, marks or --session with it.")
    if options.replay is not None and (
        options.count or options.where is not None or options.keep_judged or options.diverse
    ):
        raise UserError(
            "--replay shows what each round was asked: give no -n, --where, --keep-judged or --diverse with it."
        )
    if options.diverse and options.keep_judged:
        raise UserError("--diverse shows what is unlike all that was shown: give no --keep-judged with it.")
    if options.replay is not None and (choice := asked.given("feedback")) and not _names_a_class(choice):
        raise UserError(
            f"{choice[0]}: --replay ranks each round by its own rule; leave it out, or go on with --session FILE."
        )
    if options.forget and options.session is None:
        raise UserError("--forget takes back a mark of a session; give it with --session FILE.")


def _names_a_class(words: Sequence[str]) -> bool:
    """Whether words name a rule of somebody's own, whose code a replay has to be given."""
    return any(word.lstrip("+").startswith("feedback._target_=") for word in words)


def _refuse_marks_of_several(options: argparse.Namespace, count: int) -> None:
    if count > 1 and (options.yes or options.no or options.session):
        raise UserError(f"{count} queries were given, and marks are of one; give one, or no --yes, --no and --session.")


def _pages(
    asked: Asked,
    base: KnowledgeBase,
    plain_: Mapping[str, Any],
    snapshot: Snapshot,
    check: Callable[[int], object],
) -> list[tuple[Sought, Page]]:
    """Return a page for each query."""
    options, rule = asked.options, construct("feedback", plain_["feedback"])
    marks_of(snapshot, options.yes, options.no)  # a wrong id is told before a picture is embedded
    where = rows_where(base, snapshot, options.where or None)
    pages: list[tuple[Sought, Page]] = []
    alike = Alike(snapshot)
    found = sought(asked, snapshot, check)
    alike.expect(unit(np.stack([one.query.vector_E for one in found])))
    for one in found:
        search = Search(base, snapshot, one.query, alike)
        count = options.count or COUNT
        if options.diverse:
            page = search.diverse_page(options.yes, options.no, (), count, where)
        else:
            page = search.page(rule, options.yes, options.no, count, where, options.keep_judged)
        pages.append((one, page))
    return pages


def _show_replayed(options: argparse.Namespace, found: Replayed, base: KnowledgeBase, links: Path | None) -> None:
    """Show the rounds of a session that was run again, and the page of the last."""
    if options.json:
        rounds = [plain(*pair) | {"same": same} for pair, same in zip(found.pages, found.same, strict=True)]
        print_json({"query": found.session.name, "rounds": rounds})
        return
    if not (options.paths or options.csv):
        table = table_of("round", "version", "rule", "yes", "no", "shown", "replayed")
        each = zip(found.pages, found.session.rounds, found.same, strict=True)
        for number, ((_, page), then, same) in enumerate(each):
            counts = (str(len(then.yes)), str(len(then.no)), str(len(then.shown)))
            name, told = choice_of(str(then.rule["_target_"])), "the same" if same else "another order"
            table.add_row(str(number), str(page.version), name, *counts, told)
        print_table(table)
        say(f"query      {found.session.name}")
    _show(options, found.pages[-1:], base, found.snapshot, links)


def _show(
    options: argparse.Namespace, pages: Pages, base: KnowledgeBase, snapshot: Snapshot, links: Path | None
) -> None:
    if options.json:
        print_json_of(pages)
    elif options.paths:
        print_paths(pages)
    elif options.csv:
        print_csv(pages)
    elif links is not None:
        write_links(links, pages, base, snapshot)
    else:
        print_pages(pages)
