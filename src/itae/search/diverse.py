"""A page for a user who has found nothing yet: images that are unlike what was shown and unlike each other.

Where no image of a page was wanted, there is no yes to go by, and the next page of the same order is more of the same.
This one is chosen by maximal marginal relevance (Carbonell & Goldstein, 1998, SIGIR): one image after the other, near
the query and far from all that was shown or chosen so far; what was seen weighs more than is usual.

How that was chosen: on the training split of the digits and what is made of them, for six kinds of wishes (class, other
polarity, colour and rotation, one label, left digit), after pages of 10 that had nothing. The share of next pages with
something wanted, mean of the six: the next by similarity .26; this with weight .5 .41, .3 .57, .7 .28, and .3 among the
200 nearest .46; the farthest from all that was seen .54, among the 200 nearest .46; even steps along the whole order
.55; drawn at random .56. It is no better than the next page of the same order everywhere: among 1,490 emoji by
DINOv2-S, which had no part in the choice, .33 against .53 for the class, and .12 against .41 for the class by another
vendor. `task=feedback` tells both for the images at hand.

Shapes: C candidates, K chosen, S judged.
"""

from __future__ import annotations

import numpy as np

from itae.knowledge.records.similarity import similarities
from itae.search.alike import Alike
from itae.search.judged import Marks, Query
from itae.search.rank import rank, without
from itae.search.rules import Unchanged

WEIGHT = 0.3
"""Of the similarity to the query; that to what was seen has the rest."""
POOL = 4096
"""Candidates: the nearest to the query that are left."""


def diverse(
    alike: Alike,
    query: Query,
    marks: Marks,
    count: int,
    rows: np.ndarray | None = None,
    weight: float = WEIGHT,
    pool: int = POOL,
) -> np.ndarray:
    """Return the positions of a diverse page, in the order of their choice, int64 [K].

    The order of rows changes nothing: similarities are those of `itae.search.rank`, and of candidates that are equally
    good the one more similar to the query is taken, then the one of the smaller id.

    Parameters
    ----------
    alike, query, marks, rows
        As of `itae.search.rank.rank`.
    count
        Images of the page, at least 1.
    weight, pool
        As `WEIGHT`, 0 to 1, and `POOL`, at least `count`.
    """
    rows = without(alike.snapshot.live if rows is None else rows, marks.all)
    # Without marks: each of them would ask how alike it is to all rows, and a user may have seen thousands.
    found = rank(alike, query, Marks((), ()), Unchanged(), max(pool, count), rows)
    left_C, near_C = found.positions_K, found.similarities_K
    most_C = np.full(len(left_C), -1.0)  # similarity to what was seen
    for one in marks.all.tolist():
        most_C = np.maximum(most_C, _to(alike, one, left_C))
    chosen: list[int] = []
    while len(chosen) < min(count, len(left_C)):
        value_C = np.round(weight * near_C - (1 - weight) * most_C, 9)
        value_C[chosen] = -np.inf
        best = int(value_C.argmax())  # of equal ones the first
        chosen.append(best)
        most_C = np.maximum(most_C, _to(alike, int(left_C[best]), left_C))
    return left_C[chosen]


def _to(alike: Alike, row: int, left_C: np.ndarray) -> np.ndarray:
    """Return how alike a row is to all candidates, float64 [C]."""
    vectors_ME = alike.snapshot.vectors_ME
    vector_1E = np.array(vectors_ME[row : row + 1])
    if alike.exact:
        return alike.columns(vector_1E)[0][left_C]
    return similarities(vectors_ME, vector_1E, left_C[None])[0]
