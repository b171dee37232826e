"""The rounds of a session: the next one, a longer one, one of then; by one way for the command and the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from itae.base.construct import construct
from itae.base.errors import UserError
from itae.base.names import public_target
from itae.knowledge.base import KnowledgeBase
from itae.search.rule import Rule
from itae.search.search import Page, Search
from itae.search.session import Round, Session
from itae.search.sought import Sought

COUNT = 20
"""Images of a page where nothing else is said."""
_OURS = "itae.feedback."


@dataclass(frozen=True)
class Ask:
    """What a round is asked.

    Parameters
    ----------
    node
        Of the group ``feedback``.
    yes, no
        Ids of all that was judged so far.
    where
        A condition on rows, or None.
    count
        How many rows.
    diverse
        Whether the page is to be unlike what was shown, see `itae.search.diverse`.
    """

    node: Mapping[str, Any]
    yes: Sequence[str] = ()
    no: Sequence[str] = ()
    where: str | None = None
    count: int = COUNT
    diverse: bool = False


def begun(base: KnowledgeBase, one: Sought) -> Session:
    """Return a session of a query that has no round yet."""
    sha256 = one.sha256.hex() if one.sha256 else None
    query = one.query
    return Session(base.about.name, one.name, query.is_text, sha256, query.vector_E, query.among_images_E)


def round_of(search: Search, session: Session, rule: Rule, ask: Ask, keep_judged: bool = False) -> tuple[Page, Round]:
    """Return the page of a session's next round, and what is to be written of it.

    Parameters
    ----------
    search
        Of the session's query, in the version that is searched.
    session
        As it is before this round.
    rule, ask
        The rule of ``ask.node``, and the rest.
    keep_judged
        Whether what was judged and the query's own rows come first, beyond the count; they don't count as shown.

    Raises
    ------
    UserError
        As `Search.page` does.
    """
    page = _page(search, session.shown, rule, ask, keep_judged)
    first = {search.snapshot.ids[i] for i in search.query.rows.tolist()} | {*ask.yes, *ask.no}
    shown = [row["id"] for row in page.results if row["id"] not in first]
    told = {**ask.node, "_target_": public_target(ask.node["_target_"])}
    return page, Round(page.version, page.root, told, ask.where, ask.count, ask.yes, ask.no, shown, ask.diverse)


def page_again(search: Search, session: Session, number: int, rule: Rule, count: int | None = None) -> Page:
    """Return the page of a round that was, in the version that is searched.

    Parameters
    ----------
    search, session
        As of `round_of`; the session has the round.
    number
        Of the round, from 0.
    rule
        Its rule.
    count
        How many rows, by default those of then.
    """
    then = session.rounds[number]
    ask = Ask(then.rule, then.yes, then.no, then.where, count or then.count, then.diverse)
    return _page(search, replace(session, rounds=session.rounds[:number]).shown, rule, ask, keep_judged=False)


def _page(search: Search, seen: set[str], rule: Rule, ask: Ask, keep_judged: bool) -> Page:
    if ask.diverse:
        return search.diverse_page(ask.yes, ask.no, sorted(seen), ask.count, ask.where)
    return search.page(rule, ask.yes, ask.no, ask.count, ask.where, keep_judged)


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
