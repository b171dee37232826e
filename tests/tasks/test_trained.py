"""The classifiers beside a memory: what they are trained on, what they are, and that one of them forgets."""

from __future__ import annotations

import numpy as np
import pytest
from by_hand import base

from itae.knowledge.near.neighbours import Excluded
from itae.tasks.asked import Asked
from itae.tasks.incremental.arrivals import by_class, by_share
from itae.tasks.incremental.trained import TRAINED, FineTuned, LinearProbe, _parts, told_by


@pytest.fixture(scope="module")
def digits():
    """Return a memory of digits by their pixels, and others that it is asked."""
    from sklearn.datasets import load_digits

    pixels, truth = load_digits(return_X_y=True)
    memory, others = base(pixels[:600], [str(label) for label in truth[:600]]), base(pixels[600:1000], ["?"] * 400)
    codes = Excluded(memory.groups_M, np.arange(600, 1000))
    return Asked(memory, others.ids, others.vectors_ME, codes, truth[600:1000].astype(np.int64), False)


def probe_on(vectors_RE, labels_R):
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=1.0, tol=1e-6, max_iter=10_000).fit(vectors_RE, labels_R)


@pytest.mark.parametrize(("tolerance", "agree"), [(1e-6, 0.995), (1e-3, 0.96)])
@pytest.mark.parametrize("share", [True, False])
def test_the_probe_is_scikit_learns_fitted_anew_on_all_that_was_seen(digits, share, tolerance, agree, monkeypatch):
    """Wherever a fit begins: the way to the optimum is another, and at the tolerance of 1e-3 so are a few answers."""
    monkeypatch.setattr("itae.tasks.incremental.trained._TOLERANCE", tolerance)
    memory, queries = digits.memory, digits.queries_QE * np.float32(8)
    arrivals = (
        by_share(memory.labels_M, 400, 3, 1, 0)
        if share
        else by_class(memory.labels_M, digits.truth_Q, range(10), 5, 1, 0)
    )
    told, early = told_by(LinearProbe, digits, arrivals, 0)
    assert early == 0
    for step in range(arrivals.steps):
        rows = np.flatnonzero(arrivals.step_OM[0] <= step)
        model = probe_on(memory.vectors_ME[rows] * 8.0, memory.labels_M[rows])
        assert (told.seen[0, step] == model.predict(queries)).mean() >= agree, step
        if not share:
            assert (told.own[0, step][arrivals.task_OQ[0] > step] == -1).all(), "its classes haven't come"


def test_two_classes_are_as_one_against_the_other(digits, monkeypatch):
    monkeypatch.setattr("itae.tasks.incremental.trained._TOLERANCE", 1e-6)
    rows = np.flatnonzero(digits.memory.labels_M < 2)
    learner, labels = LinearProbe(3, 64, 0), digits.memory.labels_M[rows]
    x = digits.memory.vectors_ME[rows] * 8
    learner.learn(x, labels, np.ones(len(rows), bool))
    model = probe_on(x, labels)
    np.testing.assert_allclose(learner.weights_CE[1, :-1] * 2, model.coef_[0], atol=0.02)
    np.testing.assert_allclose(learner.weights_CE[0], -learner.weights_CE[1])
    assert not learner.weights_CE[2].any()


def test_a_fit_that_is_cut_off_is_counted_and_not_printed(digits, monkeypatch, recwarn):
    monkeypatch.setattr("itae.tasks.incremental.trained._MOST", 2)
    arrivals = by_class(digits.memory.labels_M, digits.truth_Q, range(10), 4, 1, 0)
    assert told_by(LinearProbe, digits, arrivals, 0)[1] == 4
    assert not [one for one in recwarn if "onverge" in str(one.message)]


def test_what_is_fine_tuned_forgets_and_the_probe_keeps(digits):
    arrivals = by_class(digits.memory.labels_M, digits.truth_Q, range(10), 5, 2, 0)
    ends = {name: told_by(kind, digits, arrivals, 0)[0] for name, kind in TRAINED.items()}
    first = arrivals.task_OQ == 0
    kept, tuned = (
        [(ends[name].seen[o, -1] == digits.truth_Q)[first[o]].mean() for o in range(2)]
        for name in ("linear_probe", "fine_tuned")
    )
    assert min(kept) > 0.8
    assert max(tuned) < 0.4


def test_fine_tuning_goes_on_from_the_new_rows_alone():
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(60, 4)).astype(np.float32), draw.integers(0, 3, 60)
    new = np.arange(60) >= 40
    ends = []
    for old in (x[:40], x[:40] + 1):
        learner = FineTuned(3, 4, 0)
        learner.known, learner.weights_CE[:] = np.arange(3), 0.1
        learner.learn(np.concatenate([old, x[40:]]), y, new)
        ends.append(learner.weights_CE.copy())
    np.testing.assert_array_equal(*ends)
    np.testing.assert_allclose(
        ends[0].sum(axis=0), 0.3, atol=1e-5
    )  # a step of softmax moves classes against each other
    assert (ends[0] != 0.1).any()


def test_no_query_is_told_by_what_was_trained_on_its_group():
    """Vectors say nothing of labels: who learns by heart tells its own rows, and those it hasn't seen by chance."""
    draw = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 2)
    vectors, labels = draw.normal(size=(60, 80))[groups], draw.integers(0, 2, 60)[groups]
    memory = base(vectors, [str(label) for label in labels], groups=groups)
    asked = Asked(memory, memory.ids, memory.vectors_ME, Excluded(groups, groups), labels.astype(np.int64), True)
    arrivals = by_share(memory.labels_M, 120, 1, 1, 0)
    assert (told_by(LinearProbe, asked, arrivals, 0)[0].seen == labels).mean() < 0.7
    learner = LinearProbe(2, 80, 0)
    learner.learn(memory.vectors_ME * 9, labels, np.ones(120, bool))
    assert ((memory.vectors_ME @ (learner.weights_CE[1] - learner.weights_CE[0])[:-1] > 0) == labels).mean() > 0.95


@pytest.mark.parametrize("seed", [0, 7])
def test_parts_have_nothing_to_do_with_shares(seed, digits):
    """With one draw for both, a part would be the first steps, and what is trained on the others would know nothing."""
    memory = digits.memory
    asked = Asked(
        memory, memory.ids, memory.vectors_ME, Excluded(memory.groups_M, memory.groups_M), memory.labels_M, True
    )
    step_M = by_share(memory.labels_M, 600, 20, 1, seed).step_OM[0]
    first = np.flatnonzero(step_M < 4)
    parts = [np.isin(first, queries).sum() for _, queries in _parts(asked, seed)]
    assert sum(parts) == 120
    assert max(parts) < 48


def test_rows_that_a_query_must_not_find_are_not_learnt():
    """A gallery with the queries themselves in it, labelled at random: without them nothing is known of them."""
    draw = np.random.default_rng(0)
    vectors, labels = draw.normal(size=(80, 80)), draw.integers(0, 2, 80)
    memory = base(vectors, [str(label) for label in labels])
    for codes, most in ((np.arange(40), 0.75), (np.arange(80, 120), 1.1)):
        asked = Asked(
            memory, memory.ids[:40], memory.vectors_ME[:40], Excluded(np.arange(80), codes), labels[:40], False
        )
        told, _ = told_by(LinearProbe, asked, by_share(memory.labels_M, 40, 1, 1, 0), 0)
        share = (told.seen == labels[:40]).mean()
        assert most - 0.5 < share < most
