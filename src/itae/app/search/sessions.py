"""A search that goes on: rounds that are written into a file, and run again from it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from itae.app.knowledge.opened import snapshot_of
from itae.app.knowledge.words import Asked
from itae.app.search.queries import sought
from itae.app.settings import cache_folder
from itae.base.construct import construct
from itae.base.errors import UserError
from itae.base.place import at_home
from itae.knowledge.base import KnowledgeBase
from itae.knowledge.records.snapshot import Snapshot
from itae.search.rounds import COUNT, Ask, begun, page_again, round_of, rule_of_file
from itae.search.search import Page, Search, rows_where
from itae.search.session import Session
from itae.search.session_file import add_round, read_session
from itae.search.sought import Sought, sought_again


def next_round(
    asked: Asked,
    base: KnowledgeBase,
    plain: Mapping[str, Any],
    snapshot: Snapshot,
    check: Callable[[int], object],
) -> tuple[Sought, Page]:
    """Return the page of a session's next round, and write it into the file.

    Parameters
    ----------
    asked, base, plain, snapshot
        The command line, its base and config, and the version that is searched.
    check
        Is given how many queries there are, before a picture is embedded.

    Raises
    ------
    UserError
        For a session that can't be read, written or gone on with, and for whatever is wrong with the words.
    """
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
        (one,) = sought(asked, snapshot, check)
        session = begun(base, one)
    last = session.rounds[-1] if session.rounds else None
    given = last is None or bool(asked.given("feedback"))
    node = plain["feedback"] if given else last.rule  # type: ignore[union-attr]
    rule = construct("feedback", node) if given else rule_of_file(node)
    where = last.where if last and options.where is None else options.where or None
    count = options.count or (last.count if last else COUNT)
    yes, no = session.marked(options.yes, options.no, options.forget)
    if gone := [id_ for id_ in (*yes, *no) if id_ not in snapshot.position]:
        raise UserError(
            f"{gone[0]!r} was marked in this session and is gone in version {snapshot.version}: take the mark back "
            "with --forget, or search the version that had it with --at."
        )
    ask = Ask(node, yes, no, where, count, options.diverse)
    page, done = round_of(Search(base, snapshot, one.query), session, rule, ask, options.keep_judged)
    add_round(path, session, done)
    return one, page


@dataclass(frozen=True)
class Replayed:
    """A session that was run again: a page for each round, and the version of the last."""

    session: Session
    pages: Sequence[tuple[Sought, Page]]
    snapshot: Snapshot

    @property
    def same(self) -> list[bool]:
        """Whether each page has the ids that were shown then, in their order."""
        pairs = zip(self.pages, self.session.rounds, strict=True)
        return [page.ids == list(then.shown) for (_, page), then in pairs]


def replayed(asked: Asked, base: KnowledgeBase, plain: Mapping[str, Any]) -> Replayed:
    """Run all rounds of a session again, each in its own version and by its own rule.

    Raises
    ------
    UserError
        For a session that can't be read, is of another base, or has a rule or a version that isn't to be had.
    """
    options, path = asked.options, at_home(asked.options.replay)
    session = read_session(path)
    session.refuse_another_base(base.about.name, options.kb)
    if not session.rounds:
        raise UserError(f"{path} has no round to replay.")
    given = type(construct("feedback", plain["feedback"])) if asked.given("feedback") else None
    pages: list[tuple[Sought, Page]] = []
    seen: str | int | None = None  # the version that the last round was of: it is read, and its similarities made, once
    for number, each in enumerate(session.rounds):
        at = each.version if options.at is None else options.at
        if at != seen:
            snapshot, seen = snapshot_of(base, plain, cache_folder(plain["paths"]), at), at
            one = sought_again(session, snapshot)
            search = Search(base, snapshot, one.query)
        pages.append((one, page_again(search, session, number, rule_of_file(each.rule, given))))
    return Replayed(session, pages, snapshot)
