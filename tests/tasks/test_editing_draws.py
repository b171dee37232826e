"""All draws on one side: what rules have in common is found once, and one of a name of ours stands alone."""

from __future__ import annotations

import numpy as np
import pytest
from by_hand import blobs

import itae.tasks.editing.repair
from itae.base.errors import UserError
from itae.knowledge.answers.vote import Plurality
from itae.knowledge.near.neighbours import Excluded
from itae.tasks.asked import Asked
from itae.tasks.editing.corrupt import Boundary, Uniform
from itae.tasks.editing.draws import draws_of, side_of
from itae.tasks.editing.mending import Mending
from itae.tasks.editing.repair import Blame, Random, Source, Suspicion


def asked():
    memory = blobs(60, 3, spread=0.8)
    excluded = Excluded(memory.groups_M, memory.groups_M)
    truth = memory.labels_M.astype(np.int64)
    return Mending.of(Asked(memory, memory.ids, memory.vectors_ME, excluded, truth, True), 9)


def draws(one, rule, corruption=None, count=2):
    return draws_of(one.memory, corruption or Uniform(0.2), rule, Plurality(9), count, 0, (3, 1.0))


def same(one, other):
    """Whether two sides are the same to the last number."""
    scores = [[{name: score.value for name, score in draw.items()} for draw in side.scores] for side in (one, other)]
    curves = [{key: {name: values.tolist() for name, values in lines.items()} for key, lines in side.curves.items()}
              for side in (one, other)]  # fmt: skip
    return scores[0] == scores[1] and repr(curves[0]) == repr(curves[1])  # NaN is NaN


def test_what_jobs_with_other_rules_have_found_is_not_looked_for_again(monkeypatch):
    made, init = [], itae.tasks.editing.repair.Against.__init__
    monkeypatch.setattr(itae.tasks.editing.repair.Against, "__init__", lambda *args: made.append(args) or init(*args))
    one = asked()
    sides = {type(rule): side_of(one, draws(one, rule), rule, 1.0) for rule in (Suspicion(), Blame(), Random())}
    assert len(made) == 2, "a draw each"
    side_of(one, draws(one, Source()), Source(), 1.0)
    assert len(made) == 4, "planted sources make another memory"
    for rule in (Suspicion(), Blame(), Random(), Source()):
        fresh = asked()
        again = side_of(fresh, draws(fresh, rule), rule, 1.0)
        assert same(again, sides.get(type(rule), again))
    other = side_of(one, draws(one, Suspicion(), Uniform(0.4)), Suspicion(), 1.0)
    assert not same(other, sides[Suspicion])


def test_a_rule_that_is_called_as_one_of_ours_stands_in_its_place():
    class Random:
        def scores(self, memory, rng):
            return np.arange(len(memory.voters))[::-1]

    one = asked()
    side = side_of(one, draws(one, Random()), Random(), 1.0)
    assert {rule for rule, _ in side.curves} == {"random", "suspicion", "blame"}
    np.testing.assert_array_equal(side.first[1], np.arange(60))


def test_a_budget_ends_the_curves_and_not_the_scores():
    one = asked()
    whole, some = (side_of(one, draws(one, Random()), Random(), budget) for budget in (1.0, 0.1))
    assert whole.points[-1] == 60
    assert some.points[-1] == 6
    assert [{n: s.value for n, s in draw.items()} for draw in whole.scores] == [
        {n: s.value for n, s in draw.items()} for draw in some.scores
    ]


def test_sources_are_planted_for_who_asks_and_a_border_is_the_same_each_time():
    one = asked()
    assert all(draw.sources is None for draw in draws(one, Suspicion()))
    first, second = draws(one, Source(), Boundary(0.2))
    np.testing.assert_array_equal(first.labels_M, second.labels_M)
    assert first.sources != second.sources
    assert {source for source, wrong in zip(first.sources, first.wrong_M, strict=True) if wrong} == {"import 1"}


@pytest.mark.parametrize("labels", [np.zeros(3, int), np.full(60, 3), np.full(60, -1), np.full(60, 0.5)])
def test_labels_that_a_memory_does_not_have_are_told(labels):
    class Odd:
        rate = 0.2

        def labels(self, memory, rng):
            return labels

    with pytest.raises(UserError, match=r"Odd\.labels must"):
        draws(asked(), Suspicion(), Odd())
