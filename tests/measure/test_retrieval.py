"""Recall, precision and MAP@R of a ranking: by hand, and against their definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import retrieval

from itae.measure.retrieval import ranking_scores


@given(hits=st.lists(st.booleans(), max_size=30), more=st.integers(0, 20))
def test_scores_are_those_of_their_definition(hits, more):
    positives = max(1, sum(hits) + more)
    assert ranking_scores(np.array(hits, bool), positives) == pytest.approx(retrieval(hits, positives))


@pytest.mark.parametrize(
    ("hits", "positives", "told"),
    [
        ([1, 1, 1, 0, 0], 3, (1, 1, 0.3, 1)),
        ([0, 1, 0, 1, 1], 3, (0, 1, 0.3, 1 / 6)),  # 1/3 of 1/2
        ([1, 0, 1, 0, 0], 4, (1, 1, 0.2, (1 + 2 / 3) / 4)),
        ([0] * 10 + [1] * 5, 5, (0, 0, 0, 0)),
        ([0, 1], 1, (0, 1, 0.1, 0)),  # the first R places alone count
    ],
)
def test_known_answers(hits, positives, told):
    found = ranking_scores(np.array(hits, bool), positives)
    assert tuple(found[name] for name in ("r_at_1", "r_at_10", "p_at_10", "map_at_r")) == pytest.approx(told)
