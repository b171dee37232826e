"""``itae search``: the rows of a base that are like an image or words, and again by what was judged of them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
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
from itae.app.search.queries import Sought, sought, sought_again
from itae.app.settings import cache_folder
from itae.base.checks import whole
from itae.base.console import say
from itae.base.construct import construct
from itae.base.errors import UserError
from itae.base.names import public_target
from itae.base.place import at_home
from itae.knowledge.base import KnowledgeBase, open_knowledge
from itae.knowledge.records.similarity import unit
from itae.knowledge.records.snapshot import Snapshot
from itae.search.alike import Alike
from itae.search.rule import Rule, name_of
from itae.search.search import Page, Search, marks_of, rows_where
from itae.search.session import Round, Session, add_round, read_session

READS = ("feedback", "knowledge", *OF_A_SPACE, *NEEDED)
_COUNT = 20
_OURS = "itae.feedback."


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
        return _replay(asked, base, plain_, links)
    snapshot = snapshot_of(base, plain_, cache_folder(plain_["paths"]), options.at)
    pages = (
        _in_session(asked, base, plain_, snapshot)
        if options.session is not None
        else _pages(asked, base, plain_, snapshot)
    )
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
    made.add_argument("-n", "--count", type=int, metavar="N", help=f"how many images ({_COUNT})")
    made.add_argument(
        "--at", metavar="VERSION", help="of this version or tag (the newest; of a replay that of each round)"
    )
    made.add_argument("--keep-judged", action="store_true", help="show what was judged and the query's own rows, first")
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
    if options.replay is not None and (options.count or options.where is not None or options.keep_judged):
        raise UserError("--replay shows what each round was asked: give no -n, --where or --keep-judged with it.")
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
    asked: Asked, base: KnowledgeBase, plain_: Mapping[str, Any], snapshot: Snapshot
) -> list[tuple[Sought, Page]]:
    """Return a page for each query."""
    options, rule = asked.options, construct("feedback", plain_["feedback"])
    marks_of(snapshot, options.yes, options.no)  # a wrong id is told before a picture is embedded
    where = rows_where(base, snapshot, options.where or None)
    pages: list[tuple[Sought, Page]] = []
    alike = Alike(snapshot)
    found = sought(asked, snapshot, partial(_refuse_marks_of_several, options))
    alike.expect(unit(np.stack([one.query.vector_E for one in found])))
    for one in found:
        search = Search(base, snapshot, one.query, alike)
        count = options.count or _COUNT
        page = search.page(rule, options.yes, options.no, count, where, options.keep_judged)
        pages.append((one, page))
    return pages


def _in_session(
    asked: Asked, base: KnowledgeBase, plain_: Mapping[str, Any], snapshot: Snapshot
) -> list[tuple[Sought, Page]]:  # fmt: skip
    """Return the page of a session's next round, and write it into the file."""
    options, path = asked.options, at_home(asked.options.session)
    session = read_session(path) if os.path.exists(path) else None
    if session is not None:
        session.refuse_another_base(base.about.name, options.kb)
        if asked.others or asked.options.text:
            raise UserError(
                f"{path} has its query, {session.name!r}; leave out this one, or give a new --session FILE."
            )
        one = sought_again(session, snapshot)
    else:
        rows_where(base, snapshot, options.where or None)  # told before a picture is embedded
        (one,) = sought(asked, snapshot, partial(_refuse_marks_of_several, options))
        sha256 = one.sha256.hex() if one.sha256 else None
        session = Session(
            base.about.name, one.name, one.query.is_text, sha256, one.query.vector_E, one.query.among_images_E
        )
    last = session.rounds[-1] if session.rounds else None
    given = last is None or bool(asked.given("feedback"))
    node = plain_["feedback"] if given else last.rule  # type: ignore[union-attr]
    rule = construct("feedback", node) if given else rule_of_file(node)
    where = last.where if last and options.where is None else options.where or None
    count = options.count or (last.count if last else _COUNT)
    yes, no = session.marked(options.yes, options.no, options.forget)
    if gone := [id_ for id_ in (*yes, *no) if id_ not in snapshot.position]:
        raise UserError(
            f"{gone[0]!r} was marked in this session and is gone in version {snapshot.version}: take the mark back "
            "with --forget, or search the version that had it with --at."
        )
    page = Search(base, snapshot, one.query).page(rule, yes, no, count, where, options.keep_judged)
    told = {**node, "_target_": public_target(node["_target_"])}
    first = {snapshot.ids[i] for i in one.query.rows.tolist()} | {*yes, *no}  # by --keep-judged
    shown = [row["id"] for row in page.results if row["id"] not in first]
    add_round(path, session, Round(page.version, page.root, told, where, count, yes, no, shown))
    return [(one, page)]


def rule_of_file(node: Mapping[str, Any], imported: type | None = None) -> Rule:
    """Return the rule that a file names: one of ours, or of the class that the command line has named as well.

    Raises
    ------
    UserError
        For any other class, whose code a file doesn't get imported.
    """
    target = public_target(str(node.get("_target_")))
    known = imported is not None and f"{imported.__module__}.{imported.__qualname__}" == node.get("_target_")
    if not known and not target.startswith(_OURS):
        raise UserError(
            f"The session was ranked by {target}, a rule of somebody's own; name it with feedback=..., so that its "
            "code is imported by your word and not by the file's."
        )
    if any(not isinstance(value, str | int | float | type(None)) for value in node.values()):
        raise UserError(
            f"The session's rule {dict(node)} has an option that is no number or text; was it changed by hand?"
        )
    return construct("feedback", node)


def _replay(asked: Asked, base: KnowledgeBase, plain_: Mapping[str, Any], links: Path | None) -> int:
    """Run all rounds of a session again."""
    options, path = asked.options, at_home(asked.options.replay)
    session = read_session(path)
    session.refuse_another_base(base.about.name, options.kb)
    if not session.rounds:
        raise UserError(f"{path} has no round to replay.")
    given = type(construct("feedback", plain_["feedback"])) if asked.given("feedback") else None
    pages: list[tuple[Sought, Page]] = []
    for each in session.rounds:
        at = each.version if options.at is None else options.at
        snapshot = snapshot_of(base, plain_, cache_folder(plain_["paths"]), at)
        one = sought_again(session, snapshot)
        rule = rule_of_file(each.rule, given)
        pages.append((one, Search(base, snapshot, one.query).page(rule, each.yes, each.no, each.count, each.where)))
    if options.json:
        rounds = [
            plain(*pair) | {"same": same_as(pair[1], each)} for pair, each in zip(pages, session.rounds, strict=True)
        ]
        print_json({"query": session.name, "rounds": rounds})
        return 0
    if not (options.paths or options.csv):
        _print_rounds(session, pages)
    _show(options, pages[-1:], base, snapshot, links)
    return 0


def same_as(page: Page, then: Round) -> bool:
    """Whether a page has the ids that were shown then, in their order."""
    return page.ids == list(then.shown)


def _print_rounds(session: Session, pages: Pages) -> None:
    table = table_of("round", "version", "rule", "yes", "no", "shown", "replayed")
    for number, ((_, page), each) in enumerate(zip(pages, session.rounds, strict=True)):
        name = name_of(str(each.rule["_target_"]))
        counts = (str(len(each.yes)), str(len(each.no)), str(len(each.shown)))
        table.add_row(
            str(number), str(page.version), name, *counts, "the same" if same_as(page, each) else "another order"
        )
    print_table(table)
    say(f"query      {session.name}")


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
