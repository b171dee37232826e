"""One search in one version of a base: pages of rows for a query, and again for what was judged.

Shapes: E embedding width, R rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from itae.base.errors import UserError, did_you_mean
from itae.knowledge.answers.classify import label_of
from itae.knowledge.base import KnowledgeBase
from itae.knowledge.near.neighbours import INDEX
from itae.knowledge.records.snapshot import Snapshot
from itae.search.alike import Alike
from itae.search.diverse import diverse
from itae.search.judged import Marks, Query
from itae.search.rank import Found, rank, without
from itae.search.rules import Rule, Unchanged


@dataclass(frozen=True)
class Page:
    """What a round shows.

    Parameters
    ----------
    results
        Best first: ``id``, ``label`` (a list where there are several), ``similarity`` to the query, ``score`` by the
        rule, ``nearest`` (the judged row that it is most alike to; None is the query), ``mark`` (yes, no or None),
        ``place`` of its image (None where it is kept in the base, or nowhere).
    positions
        Of the results, in the snapshot.
    version, root
        Of the base.
    notes
        What to know, in sentences.
    left
        How many rows more there are to show.
    """

    results: Sequence[dict[str, Any]]
    positions: np.ndarray
    version: int
    root: str
    notes: Sequence[str]
    left: int

    @property
    def ids(self) -> list[str]:
        """Of the results."""
        return [row["id"] for row in self.results]

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        told = {"version": self.version, "root": self.root, "results": list(self.results)}
        return told | ({"notes": list(self.notes)} if self.notes else {})


class Search:
    """Pages for one query.

    Parameters
    ----------
    base
        The base.
    snapshot
        A version of it.
    query
        What is looked for, whose rows are those of the snapshot.
    alike
        The similarities of the snapshot, where other searches have some.
    """

    def __init__(self, base: KnowledgeBase, snapshot: Snapshot, query: Query, alike: Alike | None = None) -> None:
        self.base, self.snapshot, self.query = base, snapshot, query
        self.alike = alike or Alike(snapshot)

    def page(
        self,
        rule: Rule,
        yes: Sequence[str] = (),
        no: Sequence[str] = (),
        count: int = 20,
        where: str | np.ndarray | None = None,
        keep_judged: bool = False,
    ) -> Page:
        """Return the rows that come first.

        Parameters
        ----------
        rule
            See `itae.search.rules`.
        yes, no
            Ids of rows that were judged.
        count
            How many, at least 1; where there are not so many, all of them.
        where
            A condition on rows, or the positions that `rows_where` found for one.
        keep_judged
            Whether what was judged and the query's own rows come first, beyond `count`.

        Raises
        ------
        UserError
            For an id that this version lacks, or that is both yes and no; for a condition that is none; for an empty
            base, or a condition that no row meets.
        """
        rows = where if isinstance(where, np.ndarray) else rows_where(self.base, self.snapshot, where)
        marks = marks_of(self.snapshot, yes, no)
        return self._told(rank(self.alike, self.query, marks, rule, count, rows, keep_judged), marks, rows)

    def diverse_page(
        self,
        yes: Sequence[str] = (),
        no: Sequence[str] = (),
        seen: Sequence[str] = (),
        count: int = 20,
        where: str | np.ndarray | None = None,
    ) -> Page:
        """Return rows that are near the query and unlike what was shown, in the order of their choice.

        A score is the similarity to the query; see `itae.search.diverse`.

        Parameters
        ----------
        yes, no, count, where
            As of `page`.
        seen
            Ids of what was shown before; those that this version lacks don't count.

        Raises
        ------
        UserError
            As `page` does.
        """
        rows = where if isinstance(where, np.ndarray) else rows_where(self.base, self.snapshot, where)
        marks, position = marks_of(self.snapshot, yes, no), self.snapshot.position
        shown = [position[id_] for id_ in seen if id_ in position and id_ not in {*yes, *no}]
        seen_marks = Marks(marks.yes, [*marks.no, *shown])
        chosen_K = diverse(self.alike, self.query, seen_marks, count, rows)
        found = rank(self.alike, self.query, marks, Unchanged(), max(1, len(chosen_K)), np.sort(chosen_K))
        in_order_K = np.argsort(found.positions_K)[np.argsort(np.argsort(chosen_K))]
        return self._told(found.taken(in_order_K), marks, rows, seen_marks)

    def _told(self, found: Found, marks: Marks, rows: np.ndarray | None, seen: Marks | None = None) -> Page:
        rows = self.snapshot.live if rows is None else rows
        out = np.union1d((seen or marks).all, self.query.rows)
        left = len(without(rows, out)) - int((~np.isin(found.positions_K, out)).sum())
        index = self.snapshot.memo.get(INDEX)
        notes = [*found.notes, *([index.note] if index else [])]
        if not len(found.positions_K):
            notes.append("Nothing is left to show: all rows that may be found were judged, or are the query itself.")
        return Page(self._rows(found, marks), found.positions_K, self.snapshot.version, self.snapshot.root, notes, left)

    def _rows(self, found: Found, marks: Marks) -> list[dict[str, Any]]:
        snapshot, marked = self.snapshot, dict.fromkeys(marks.yes, "yes") | dict.fromkeys(marks.no, "no")
        return [
            {
                "id": snapshot.ids[i],
                "label": label_of(snapshot, i),
                "similarity": similarity,
                "score": score,
                "nearest": None if near < 0 else snapshot.ids[near],
                "mark": marked.get(i),
                "place": snapshot.column("place", i),
            }
            for i, similarity, score, near in zip(
                found.positions_K.tolist(),
                found.similarities_K.tolist(),
                found.scores_K.tolist(),
                found.nearest_K.tolist(),
                strict=True,
            )
        ]


def rows_where(base: KnowledgeBase, snapshot: Snapshot, where: str | None) -> np.ndarray | None:
    """Return the positions of a version's rows that meet a condition, ascending; None without one.

    Raises
    ------
    UserError
        For a condition that is none (see `itae.knowledge.base.KnowledgeBase.where`), for an empty base, or a condition
        that no row meets.
    """
    if not len(snapshot):
        raise UserError(f"{base.path} has no rows in version {snapshot.version}: nothing can be found.")
    if where is None:
        return None
    rows = base.where_in(snapshot, where)
    if not len(rows):
        raise UserError(f"--where {where!r}: no row of version {snapshot.version} meets it.")
    return rows


def marks_of(snapshot: Snapshot, yes: Sequence[str], no: Sequence[str]) -> Marks:
    """Return where the rows lie that were judged.

    Raises
    ------
    UserError
        For an id that this version lacks, and for one that is both.
    """
    for id_ in (*yes, *no):
        if id_ not in snapshot.position:
            raise UserError(
                f"There is no row {id_!r} in version {snapshot.version}, so it can't be marked; give an id that is "
                f"there, or the version that had it with --at.{did_you_mean(id_, snapshot.position)}"
            )
    if both := sorted(set(yes) & set(no)):
        raise UserError(f"{both[0]!r} is marked yes and no; give one of the two.")
    return Marks(*([snapshot.position[id_] for id_ in dict.fromkeys(some)] for some in (yes, no)))
