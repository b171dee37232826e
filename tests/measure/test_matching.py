"""The matching against all there are."""

from __future__ import annotations

from itertools import permutations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from itae.measure.matching import one_to_one


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(1, 5), columns=st.integers(1, 5), seed=st.integers(0, 999))
def test_no_other_matching_has_more_in_sum(rows, columns, seed):
    counts = np.random.default_rng(seed).integers(0, 6, (rows, columns))
    found = one_to_one(counts)
    taken = found[found >= 0]
    assert found.shape == (rows,)
    assert len(taken) == len(set(taken)) == min(rows, columns)
    wide = counts if rows <= columns else counts.T
    most = max(sum(wide[i, j] for i, j in enumerate(order)) for order in permutations(range(wide.shape[1]), len(wide)))
    assert sum(counts[i, j] for i, j in enumerate(found) if j >= 0) == most
