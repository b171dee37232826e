"""Orders in which rows are looked at: what each rule says of a memory with wrong labels."""

from __future__ import annotations

import numpy as np
import pytest
from by_hand import blobs

from itae.knowledge.curate.suspects import suspects
from itae.tasks.editing.corrupt import Cluster, Uniform
from itae.tasks.editing.mending import planted_sources, ranked, relabelled
from itae.tasks.editing.repair import Blame, Random, Source, Suspicion
from itae.tasks.editing.scores import auroc


def rng(seed=0):
    return np.random.default_rng(seed)


def noisy(rate=0.2, kind=Uniform, sources=None):
    memory = blobs(200, 4)
    labels = kind(rate=rate).labels(memory, rng())
    wrong = labels != memory.labels_M
    told = None if sources is None else planted_sources(memory, wrong, *sources, rng(1))
    return relabelled(memory, labels, told), wrong


@pytest.mark.parametrize("kind", [Uniform, Cluster])
def test_suspicion_is_that_of_the_suspects(kind):
    memory, _ = noisy(kind=kind)
    scores = Suspicion().scores(memory, rng())
    told = {one.position: one.score for one in suspects(memory, None)}
    assert scores.tolist() == [told[i] for i in memory.voters.tolist()]


def test_blame_is_that_of_the_suspects_and_finds_what_votes_wrongly():
    memory, wrong = noisy()
    scores = Blame().scores(memory, rng())
    told = {one.position: one.reasons["blame"] for one in suspects(memory, None)}
    assert scores.tolist() == [told[i] for i in memory.voters.tolist()]
    assert auroc(wrong, scores).value > 0.9


def test_random_is_drawn_and_says_nothing():
    memory, _ = noisy()
    one, same, other = (Random().scores(memory, rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_the_source_of_the_wrong_rows_comes_first_and_whole():
    memory, wrong = noisy(sources=(5, 1.0))
    scores = Source().scores(memory, rng())
    sources = np.array(memory.table.column("source").to_pylist())
    assert len(set(scores[sources == "import 1"].tolist())) == 1
    assert scores[sources == "import 1"][0] > scores[sources != "import 1"].max()
    assert (sources[wrong] == "import 1").all()
    assert (sources == "import 1").sum() == 2 * wrong.sum()


def test_with_one_source_nothing_disagrees_with_it():
    memory, _ = noisy(sources=(1, 1.0))
    assert set(Source().scores(memory, rng()).tolist()) == {0.0}


@pytest.mark.parametrize(("count", "right"), [(1, 0.0), (2, 0.0), (4, 0.5), (3, 100.0)])
def test_imports_are_planted_as_said(count, right):
    memory = blobs(100, 4)
    wrong = Uniform(0.1).labels(memory, rng()) != memory.labels_M
    sources = np.array(planted_sources(memory, wrong, count, right, rng()))
    assert (sources[wrong] == "import 1").all()
    sizes = [int((sources == f"import {i + 1}").sum()) for i in range(count)]
    assert sum(sizes) == 100
    assert sizes[0] == (100 if count == 1 else min(100, 10 + round(10 * right)))
    assert max(sizes[1:], default=0) - min(sizes[1:], default=0) <= 1


def test_equal_scores_go_in_an_order_that_is_drawn():
    memory = blobs(50, 2)
    scores = np.repeat([0.0, 1.0], 25)
    one, same, other = (ranked(memory, scores, rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    for order in (one, other):
        assert set(order[:25].tolist()) == set(range(25, 50)), "the highest first"
        assert order[:25].tolist() != sorted(order[:25].tolist())
