"""What a simulated search tells before anything is judged: R@1 and MAP@R as metric learning has them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import retrieval
from snapshots import snapshot_of

from itae.knowledge.near.neighbours import Excluded
from itae.search.alike import Alike
from itae.search.rules import Nearest
from itae.search.users import Category, Described
from itae.tasks.feedback.methods import methods_of
from itae.tasks.feedback.searches import searches_of
from itae.tasks.feedback.simulate import Plan, simulate


@given(seed=st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_the_whole_collection_is_scored_before_anything_is_judged(seed):
    rng = np.random.default_rng(seed)
    snapshot = snapshot_of(rng.standard_normal((30, 4)))
    labels = [f"c{i}" for i in rng.integers(0, 3, 30)]
    said, codes = Described(list(snapshot.ids), [(label,) for label in labels], {}), np.arange(30)
    user = Category()
    searches = searches_of(user, said, said, Excluded(codes, codes), None, 0)
    plan = Plan(user, methods_of(Nearest(), ()), (5,), 1, 0)
    told = simulate(Alike(snapshot), snapshot.vectors_ME, searches, plan)
    for s, search in enumerate(searches.each):
        similar = snapshot.vectors_ME.astype(float) @ snapshot.vectors_ME[search.query].astype(float)
        others = sorted((i for i in range(30) if i != search.query), key=lambda i: -similar[i])
        hits = [labels[i] == labels[search.query] for i in others]
        slow = retrieval(hits, sum(hits))
        assert told.before[:, s] == pytest.approx([slow["r_at_1"], slow["map_at_r"]])
