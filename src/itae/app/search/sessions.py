"""A search that goes on: rounds that are written into a file, and run again from it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from itae.app.knowledge.opened import snapshot_of
from itae.app.knowledge.words import Asked
from itae.app.search.queries import Sought, sought, sought_again
from itae.app.settings import cache_folder
from itae.base.construct import construct
from itae.base.errors import UserError
from itae.base.names import public_target
from itae.base.place import at_home
from itae.knowledge.base import KnowledgeBase
from itae.knowledge.records.snapshot import Snapshot
from itae.search.rule import Rule
from itae.search.search import Page, Search, rows_where
from itae.search.session import Round, Session, add_round, read_session

COUNT = 20
"""Images of a page where nothing else is said."""
_OURS = "itae.feedback."


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
        sha256 = one.sha256.hex() if one.sha256 else None
        session = Session(
            base.about.name, one.name, one.query.is_text, sha256, one.query.vector_E, one.query.among_images_E
        )
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
    page = Search(base, snapshot, one.query).page(rule, yes, no, count, where, options.keep_judged)
    told = {**node, "_target_": public_target(node["_target_"])}
    first = {snapshot.ids[i] for i in one.query.rows.tolist()} | {*yes, *no}  # by --keep-judged
    shown = [row["id"] for row in page.results if row["id"] not in first]
    add_round(path, session, Round(page.version, page.root, told, where, count, yes, no, shown))
    return one, page


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
    for each in session.rounds:
        at = each.version if options.at is None else options.at
        if at != seen:
            snapshot, seen = snapshot_of(base, plain, cache_folder(plain["paths"]), at), at
            one = sought_again(session, snapshot)
            search = Search(base, snapshot, one.query)
        rule = rule_of_file(each.rule, given)
        pages.append((one, search.page(rule, each.yes, each.no, each.count, each.where)))
    return Replayed(session, pages, snapshot)
