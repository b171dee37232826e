"""Who searches what: the queries that are drawn, what their users want, and what they are never shown.

The same for both sides of a run.

Shapes: M rows of the collection, Q images that may be queries, S searches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from itae.base.errors import UserError
from itae.knowledge.near.neighbours import Excluded
from itae.search.users import Described, drawn, generator
from itae.tasks.feedback.methods import named


@dataclass(frozen=True, eq=False)
class Search:
    """One simulated search.

    Parameters
    ----------
    query
        The place of the image among those that may be queries.
    id, wish
        Of the query; what its user wants, in words.
    out
        Positions that are never shown, ascending: the query, its group, and what has their bytes.
    wanted
        Positions of the others that the user wants, ascending; at least one.
    """

    query: int
    id: str
    wish: str
    out: np.ndarray
    wanted: np.ndarray

    @property
    def name(self) -> str:
        """What it is told from others by."""
        return f"{self.id}\0{self.wish}"


@dataclass(frozen=True, eq=False)
class Searches:
    """All searches of a run.

    Parameters
    ----------
    each
        In the order of the queries' ids.
    groups
        Whole numbers from 0, equal for searches of one query or of queries that belong together, int64 [S].
    queries
        How many images could be queries.
    looked_at
        How many were drawn until there were enough searches.
    wishless, hopeless
        How many of those have nothing to be searched for, or nothing that is wanted in the collection.
    """

    each: Sequence[Search]
    groups: np.ndarray
    queries: int
    looked_at: int
    wishless: int
    hopeless: int


def searches_of(
    user: Any, queries: Described, rows: Described, excluded: Excluded, most: int | None, seed: int
) -> Searches:
    """Return the searches of a user: of at most `most` queries, drawn by the seed among those that have any.

    Parameters
    ----------
    user
        See `itae.search.users.User`.
    queries, rows
        What is said of the images that are searched with, and of those that may be found.
    excluded
        Which rows are out for which query.
    most, seed
        How many queries, None for all; what is drawn is drawn by ids, so that fewer queries are some of more.
    """
    order = sorted(range(len(queries)), key=lambda q: (drawn(seed, "query", queries.ids[q]), queries.ids[q]))
    found: list[tuple[Search, int]] = []
    chosen = wishless = hopeless = looked_at = 0
    for q in order:
        if most is not None and chosen == most:
            break
        looked_at += 1
        query = queries[q]
        wishes = list(user.wishes(query, generator(seed, "wish", query.id)))
        out_M = excluded.codes_M == excluded.codes_Q[q]
        own = [_search(user, q, query, wish, rows, out_M) for wish in wishes]
        kept = [one for one in own if len(one.wanted)]
        wishless, hopeless = wishless + (not wishes), hopeless + (bool(wishes) and not kept)
        chosen += bool(kept)
        found += [(one, int(excluded.codes_Q[q])) for one in kept]
    found.sort(key=lambda one: one[0].name)
    groups = np.unique(np.array([group for _, group in found], np.int64), return_inverse=True)[1].reshape(-1)
    return Searches([one for one, _ in found], groups, len(queries), looked_at, wishless, hopeless)


def _search(user: Any, q: int, query: Any, wish: str, rows: Described, out_M: np.ndarray) -> Search:
    wanted_M = np.asarray(user.wanted(query, rows, wish))
    if wanted_M.shape != out_M.shape or wanted_M.dtype != bool:
        raise UserError(
            f"user={named(user)} wants {wanted_M.dtype} of shape {wanted_M.shape} of {len(rows)} images; its wanted() "
            "must return true or false for each of them."
        )
    wanted_M = wanted_M & ~out_M
    return Search(q, query.id, wish, np.flatnonzero(out_M), np.flatnonzero(wanted_M))
