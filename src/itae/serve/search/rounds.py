"""The rounds of a search as the page has them: by `itae.search.rounds`, as the command makes them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from itae.base.construct import construct
from itae.base.errors import UserError, did_you_mean
from itae.base.names import public_target
from itae.knowledge.records.snapshot import Snapshot
from itae.search.filters import condition
from itae.search.folded import folded
from itae.search.rounds import Ask, page_again, round_of, rule_of_file
from itae.search.rule import Rule
from itae.search.search import Page, Search
from itae.search.session import Round, Session
from itae.search.sought import sought_again
from itae.serve.desk import Desk
from itae.serve.errors import RefusedError
from itae.serve.rows import edits_since, row, rule_told
from itae.serve.search import search_models as models
from itae.serve.search.line import line
from itae.serve.search.searches import Searches


class Rounds:
    """Rounds of the searches of all users.

    Parameters
    ----------
    desk, searches
        The base, and the searches.
    """

    def __init__(self, desk: Desk, searches: Searches) -> None:
        self.desk, self.searches = desk, searches

    def next(self, user: str, name: str, asked: models.NewRound) -> dict[str, Any]:
        """Make the next round of a search; marks on rows that are gone meanwhile go with them, which a note tells."""
        session, snapshot = self.searches.read(user, name), self.desk.snapshot()
        node = self._node(asked.rule, session)
        yes, no, notes = _there(snapshot, asked)
        session.marked(yes, no)  # what was never shown can't be marked
        where = condition(asked.labels, asked.sources, asked.where)
        ask = Ask(node, yes, no, where, asked.count, asked.diverse)
        page, done = round_of(self._search(session, snapshot), session, self._rule(node), ask)
        session = self.searches.add(user, name, session, done)
        return self._page(name, session, len(session.rounds) - 1, page, snapshot, notes=notes)

    def more(self, user: str, name: str, count: int) -> dict[str, Any]:
        """Have the last round of a search show more; return what it shows beyond what it has shown."""
        session = self.searches.read(user, name)
        number = self._last(session)
        then = session.rounds[number]
        total = min(models.MOST, len(then.shown) + count)
        page, snapshot = self._again(session, number, total)
        done = replace(then, count=total, shown=page.ids)
        made = self.searches.lengthen(user, name, session, done)
        return self._page(name, made, number, page, snapshot, start=len(then.shown))

    def again(self, user: str, name: str, number: int) -> dict[str, Any]:
        """Return a round of a search as it was then."""
        session = self.searches.read(user, name)
        if not 0 <= number < len(session.rounds):
            raise RefusedError(404, f"There is no round {number} in this search: it has {len(session.rounds)}.")
        return self._page(name, session, number, *self._again(session, number))

    def replay(self, user: str, name: str) -> dict[str, Any]:
        """Run all rounds of a search again, and say which show the same."""
        session = self.searches.read(user, name)
        rounds = [
            {
                "round": number,
                "version": then.version,
                "rule": self._told(then.rule),
                "same": self._again(session, number)[0].ids == list(then.shown),
            }
            for number, then in enumerate(session.rounds)
        ]
        return {"rounds": rounds}

    def about(self, name: str, session: Session, notes: tuple[str, ...] = ()) -> dict[str, Any]:
        """Return a search and its rounds in numbers."""
        snapshot = self.desk.snapshot()
        rounds = [
            {
                "round": number,
                "version": each.version,
                "rule": self._told(each.rule),
                "where": each.where,
                "count": each.count,
                "yes": len(each.yes),
                "no": len(each.no),
                "shown": len(each.shown),
                "diverse": each.diverse,
                "time": each.time,
            }
            for number, each in enumerate(session.rounds)
        ]
        return {
            "search": name,
            "name": session.name,
            **query_told(snapshot, session.name, session.sha256),
            "notes": list(notes),
            "rounds": rounds,
        }

    def _page(
        self,
        name: str,
        session: Session,
        number: int,
        page: Page,
        snapshot: Snapshot,
        start: int = 0,
        notes: tuple[str, ...] = (),
    ) -> dict[str, Any]:
        """Tell a page by the snapshot that it was found in: in another of that version rows lie elsewhere."""
        then = session.rounds[number]
        before = session.rounds[number - 1] if number else None
        return {
            "search": name,
            "round": number,
            "version": page.version,
            "root": page.root,
            "edited": edits_since(self.desk.base, before.version if before else None, page.version),
            "rule": self._told(then.rule),
            "where": then.where,
            "diverse": then.diverse,
            "count": then.count,
            "start": start,
            "left": page.left,
            "yes": list(then.yes),
            "no": list(then.no),
            "judged": [
                {**row(snapshot, snapshot.position[id_]), "mark": mark}
                for mark, ids in (("yes", then.yes), ("no", then.no))
                for id_ in ids
            ],
            "results": _results(snapshot, page, then, before, self.desk.near_identical)[start:],
            "notes": [*notes, *page.notes],
            "command": self._line(name, session, then),
        }

    def _line(self, name: str, session: Session, then: Round) -> str:
        called, rules = self._told(then.rule)["name"], self.desk.served.rules
        usual = {key: value for key, value in rules.get(called, {}).items() if key != "_target_"}
        return line(self.desk.base.path, session, then, called, then.rule, usual, f"search-{name}.jsonl")

    def _search(self, session: Session, snapshot: Snapshot) -> Search:
        query = sought_again(session, snapshot).query
        return Search(self.desk.base, snapshot, query, self.desk.alike(snapshot))

    def _again(self, session: Session, number: int, count: int | None = None) -> tuple[Page, Snapshot]:
        then = session.rounds[number]
        search = self._search(session, self.desk.snapshot(then.version))
        return page_again(search, session, number, self._rule(then.rule), count), search.snapshot

    def _node(self, rule: models.Rule | None, session: Session) -> Mapping[str, Any]:
        rules = self.desk.served.rules
        if rule is None:
            return session.rounds[-1].rule if session.rounds else rules[self.desk.served.rule]
        if rule.name not in rules:
            raise UserError(f"There is no rule {rule.name!r}: {', '.join(rules)}.{did_you_mean(rule.name, rules)}")
        node, options = rules[rule.name], rule.model_extra or {}
        if unknown := sorted(options.keys() - (node.keys() - {"_target_"})):
            raise UserError(f"The rule {rule.name} has no option {unknown[0]!r}; /api/base lists those it has.")
        for key, value in options.items():
            if not (_is_plain(value) or value == node[key]):
                raise UserError(f"The rule {rule.name} has {key}={value!r}: give a number, a text, true or false.")
        return {**node, **options}

    def _rule(self, node: Mapping[str, Any]) -> Rule:
        """Return the rule of a node; a class that it or an option names is imported only if who serves has named it."""
        target = public_target(str(node.get("_target_")))
        named = [each for each in self.desk.served.rules.values() if public_target(str(each["_target_"])) == target]
        if any(all(_is_plain(value) or value == each.get(key) for key, value in node.items()) for each in named):
            return construct("feedback", node)
        return rule_of_file(node)

    def _told(self, node: Mapping[str, Any]) -> dict[str, Any]:
        return rule_told(node, self.desk.served.rules)

    def _last(self, session: Session) -> int:
        if not session.rounds:
            raise UserError("This search has no round yet; begin one.")
        return len(session.rounds) - 1


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | None) or (isinstance(value, float) and math.isfinite(value))


def query_told(snapshot: Snapshot, name: str, sha256: str | None) -> dict[str, Any]:
    """Return what kind of a query one is, ``text``, ``row`` or ``picture``, and the number of the row that it is."""
    i = snapshot.position.get(name) if sha256 else None
    is_row = i is not None and snapshot.digests_M32[i].tobytes().hex() == sha256
    kind = "row" if is_row else "picture" if sha256 else "text"
    return {"kind": kind, "number": int(snapshot.numbers_M[i]) if is_row else None}


def _there(snapshot: Snapshot, asked: models.NewRound) -> tuple[list[str], list[str], tuple[str, ...]]:
    """Return those marks whose rows are in a version, and a note on the others."""
    gone = [id_ for id_ in (*asked.yes, *asked.no) if id_ not in snapshot.position]
    yes, no = ([id_ for id_ in some if id_ in snapshot.position] for some in (asked.yes, asked.no))
    if not gone:
        return yes, no, ()
    more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
    told = f"{gone[0]!r}{more} was marked and is gone in version {snapshot.version}; the mark went with it."
    return yes, no, (told,)


def _results(
    snapshot: Snapshot, page: Page, then: Round, before: Round | None, near_identical: float
) -> list[dict[str, Any]]:
    judged = {*then.yes, *then.no}  # who has left the list is no reason for others to have moved
    stayed = [id_ for id_ in before.shown if id_ not in judged] if before else []
    was = {id_: rank for rank, id_ in enumerate(stayed, 1)}
    marks = dict.fromkeys(then.yes, "yes") | dict.fromkeys(then.no, "no")
    under = folded(snapshot, page.positions, near_identical).tolist()
    found = []
    for k, (i, told) in enumerate(zip(page.positions.tolist(), page.results, strict=True)):
        near = told["nearest"]
        found.append(
            {
                **row(snapshot, i),
                "rank": k + 1,
                "similarity": told["similarity"],
                "score": told["score"],
                "nearest": None if near is None else _nearest(snapshot, near, marks),
                "was": was.get(told["id"]),
                "same_as": page.results[under[k]]["id"] if under[k] != k else None,
            }
        )
    return found


def _nearest(snapshot: Snapshot, id_: str, marks: Mapping[str, str]) -> dict[str, Any]:
    return {"id": id_, "number": int(snapshot.numbers_M[snapshot.position[id_]]), "mark": marks[id_]}
