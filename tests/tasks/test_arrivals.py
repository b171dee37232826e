"""Which rows come when."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from itae.tasks.incremental.arrivals import NEVER, by_class, by_share


@given(st.integers(0, 99), st.integers(1, 9), st.integers(1, 4), st.integers(1, 9))
def test_classes_come_once_each_and_whole(seed, classes, orders, steps):
    draw = np.random.default_rng(seed)
    labels, asked, steps = draw.integers(-1, classes, 40), draw.integers(0, classes, 10), min(steps, classes)
    given_order = draw.permutation(classes)
    found = by_class(labels, asked, given_order, steps, orders, seed)
    for o in range(orders):
        sizes = np.bincount(found.step_OC[o], minlength=steps)
        assert sizes.tolist() == [len(some) for some in np.array_split(np.arange(classes), steps)]
        assert (found.step_OM[o][labels < 0] == NEVER).all()
        assert (found.step_OM[o][labels >= 0] == found.step_OC[o][labels[labels >= 0]]).all()
        assert (found.task_OQ[o] == found.step_OC[o][asked]).all()
    assert (np.diff(found.step_OC[0][given_order]) >= 0).all(), "the first order is the given one"
    more = by_class(labels, asked, given_order, steps, orders + 2, seed)
    assert (more.step_OC[:orders] == found.step_OC).all(), "an order doesn't depend on how many there are"


@given(st.integers(0, 99), st.integers(1, 4), st.integers(1, 9))
def test_rows_come_once_each_in_even_shares(seed, orders, steps):
    labels = np.random.default_rng(seed).integers(-1, 3, 40)
    found = by_share(labels, 7, steps, orders, seed)
    known = np.flatnonzero(labels >= 0)
    for o in range(orders):
        shares = [found.rows(o, step) for step in range(steps)]
        assert sorted(np.concatenate(shares).tolist()) == known.tolist()
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert not found.task_OQ.any()
    assert found.tasks == 1
