"""A rule of feedback of somebody's own, as short as it can be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from itae.search.rules import Rule


@dataclass(frozen=True)
class Best(Rule):
    """The most similar of all that is liked, less a share of the most similar no."""

    share: float = 0.5

    def scores(self, near):
        return near.liked.max(axis=0) - (self.share * near.no.max(axis=0) if len(near.no) else 0)


class Half(Rule):
    """Has scores of half of the rows."""

    def scores(self, near):
        return near.query[: len(near.query) // 2]


class Lost(Rule):
    """Has a score that is no number."""

    def scores(self, near):
        return np.log(near.query - 2)


class Words(Rule):
    """Has scores that are none."""

    def scores(self, near):
        return np.array(["high"] * len(near.query))


class Nothing(Rule):
    """Has no scores."""
