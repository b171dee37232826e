"""Rules of feedback against ten lines each, and what holds of all of them."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import feedback

from itae.app.compose import compose, conf_dir, plain_values
from itae.base.construct import construct
from itae.base.errors import UserError
from itae.search.judged import Judged
from itae.search.rules import Near, Nearest

RULES = sorted(path.stem for path in (conf_dir() / "feedback").glob("*.yaml"))
BY_HAND = ("none", "nearest", "margin", "rocchio", "mean_difference", "kernel", "tally", "nearest_yes", "kernel_mean")


@cache
def rule_of(*words):
    return construct("feedback", plain_values(compose(list(words)))["feedback"])


def drawn(seed, yes, no, rows=40, width=8, is_text=False):
    """Return judged vectors, and how alike rows are to them."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((1 + yes + no + rows, width)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    seen = vectors[: 1 + yes + no]
    similar = np.round(seen.astype(np.float64) @ vectors[len(seen) :].T.astype(np.float64), 2)  # so that many are equal
    judged = Judged(seen[0], seen[1 : 1 + yes], seen[1 + yes :], is_text, np.arange(-1, yes + no))
    return judged, Near(similar, yes, is_text)


counts = st.integers(0, 4)


@pytest.mark.parametrize("name", BY_HAND)
@given(seed=st.integers(0, 10**6), yes=counts, no=counts, is_text=st.booleans())
@settings(max_examples=40, deadline=None)
def test_each_rule_is_its_ten_lines(name, seed, yes, no, is_text):
    judged, near = drawn(seed, yes, no, is_text=is_text)
    found = rule_of(f"feedback={name}").fitted(judged).scores(near)
    for r, score in enumerate(found):
        row = near.all_JR[:, r].tolist()
        assert score == pytest.approx(feedback(name, row[0], row[1 : 1 + yes], row[1 + yes :], is_text), abs=1e-9)


def test_the_options_of_the_yaml_are_those_of_the_rule():
    judged, near = drawn(0, 2, 3)
    row = near.all_JR[:, 0].tolist()
    parts = row[0], row[1:3], row[3:]
    moved = rule_of("feedback=rocchio", "feedback.beta=.5", "feedback.gamma=2").fitted(judged).scores(near)[0]
    assert moved == pytest.approx(feedback("rocchio", *parts, yes_weight=0.5, no_weight=2))
    soft = rule_of("feedback=kernel", "feedback.temperature=.3").fitted(judged).scores(near)[0]
    assert soft == pytest.approx(feedback("kernel", *parts, temperature=0.3))
    counted = rule_of("feedback=tally", "feedback.power=.3", "feedback.gamma=.9").fitted(judged).scores(near)[0]
    assert counted == pytest.approx(feedback("tally", *parts, power=0.3, gamma=0.9))


@pytest.mark.parametrize("words", [("feedback=logistic",), ("feedback=logistic", "feedback.C=100"), ("feedback=svm",),
                                   ("feedback=svm", "feedback.C=.5")])  # fmt: skip
@given(seed=st.integers(0, 10**6), yes=counts, no=st.integers(1, 4))
@settings(max_examples=15, deadline=None)
def test_a_trained_rule_is_scikit_learns_decision(words, seed, yes, no):
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import SVC

    rule = rule_of(*words)
    judged, _ = drawn(seed, yes, no)
    rows = np.random.default_rng(seed).standard_normal((30, 8))
    x, y = judged.vectors.astype(float), [1] * (1 + yes) + [0] * no
    kind = LogisticRegression(C=rule.C, tol=1e-10, max_iter=10000) if "logistic" in words[0] else SVC(
        kernel="linear", C=rule.C, tol=1e-8)  # fmt: skip
    decision = kind.fit(x, y).decision_function(rows) - kind.intercept_
    found = rule.fitted(judged).scores(Near(x @ rows.T, yes, False))
    np.testing.assert_allclose(found, decision, atol=2e-4 * (1 + np.abs(decision).max()))


@pytest.mark.parametrize("name", ["logistic", "svm"])
def test_without_a_no_a_trained_rule_is_the_mean_difference_and_says_so(name):
    judged, near = drawn(1, 3, 0)
    rule = rule_of(f"feedback={name}")
    np.testing.assert_allclose(
        rule.fitted(judged).scores(near), rule_of("feedback=mean_difference").fitted(judged).scores(near), atol=1e-12
    )
    assert rule.notes(judged) == (f"feedback={name} needs a no, and there is none: ranked by mean_difference.",)
    assert rule.notes(drawn(1, 3, 1)[0]) == ()


@pytest.mark.parametrize("name", RULES)
@given(seed=st.integers(0, 10**6), yes=counts, no=counts, is_text=st.booleans())
@settings(max_examples=25, deadline=None)
def test_to_be_more_alike_to_a_yes_never_lowers_a_score(name, seed, yes, no, is_text):
    """What a monotone rule promises, and by which few of many rows are looked at closely."""
    judged, near = drawn(seed, yes, no, is_text=is_text)
    rule = rule_of(f"feedback={name}").fitted(judged)
    assert rule.monotone
    step = np.random.default_rng(seed).uniform(0, 0.3, near.all_JR.shape)
    step[1 + yes :] *= -1
    raised = rule.scores(Near(near.all_JR + step, yes, is_text))
    assert (raised >= rule.scores(near) - 1e-9).all()


@pytest.mark.parametrize("name", RULES)
def test_a_score_doesnt_depend_on_what_is_beside_it(name):
    judged, near = drawn(3, 3, 2)
    rule = rule_of(f"feedback={name}").fitted(judged)
    whole = rule.scores(near)
    for r in range(5):
        assert rule.scores(Near(near.all_JR[:, r : r + 1], 3, False))[0] == pytest.approx(whole[r], abs=1e-12)


@given(seed=st.integers(0, 10**6), yes=counts, no=counts)
@settings(max_examples=25, deadline=None)
def test_a_tally_of_power_1_orders_as_means_do_and_of_power_0_as_sums(seed, yes, no):
    _, near = drawn(seed, yes, no)
    means = rule_of("feedback=tally", "feedback.power=1", "feedback.gamma=.5").scores(near)
    np.testing.assert_allclose(2 * means, rule_of("feedback=mean_difference").scores(near), atol=1e-12)
    sums = rule_of("feedback=tally", "feedback.power=0", "feedback.gamma=1").scores(near)
    np.testing.assert_allclose(sums, near.liked.sum(axis=0) - near.no.sum(axis=0), atol=1e-12)


def test_a_tally_of_no_alone_runs_from_what_they_are_and_one_wrong_no_among_many_yes_hardly_counts():
    """A row as alike to all that was judged as the query is, and one that is less so: which comes first?"""
    rule, alike, other = rule_of("feedback=tally"), np.ones(1), np.full(1, 0.5)
    ten_no = [Near(np.repeat(row[None], 11, axis=0), 0, False) for row in (alike, other)]
    assert rule.scores(ten_no[0]) < rule.scores(ten_no[1])
    one_no = [Near(np.repeat(row[None], 11, axis=0), 9, False) for row in (alike, other)]
    assert rule.scores(one_no[0]) > rule.scores(one_no[1]) + 0.5


def test_a_text_is_not_among_the_judged_of_the_nearest_rule():
    near = np.array([[0.9], [0.5]])
    assert Nearest().scores(Near(near, 0, is_text=False))[0] == pytest.approx(2.9), "the query is nearer than the no"
    assert Nearest().scores(Near(near, 0, is_text=True))[0] == pytest.approx(0.9), "all that is judged is a no"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("feedback=rocchio", "feedback.beta=-1"), "feedback.beta=-1 must be a number of at least 0"),
        (("feedback=kernel", "feedback.temperature=0"), "feedback.temperature=0 must be a number of at least 0.02"),
        (("feedback=tally", "feedback.power=1.5"), "feedback.power=1.5 must be a number in \\[0, 1\\]"),
        (("feedback=tally", "feedback.gamma=-1"), "feedback.gamma=-1 must be a number of at least 0"),
        (("feedback=nearest", "feedback.within=no"), "feedback.within='no' is not one of query, nearest"),
        (("feedback=kernel", "feedback.mean=1"), "feedback.mean=1 must be true or false"),
        (("feedback=svm", "feedback.C=0"), "feedback.C=0 must be a number in"),
        (("feedback=rocchio", f"feedback.beta={10**400}"), "feedback.beta=10+ must be a number of at least 0"),
        (
            ("feedback=none", "feedback._target_=itae.feedback.Weighted", "+feedback.weights=abc"),
            "feedback.weights='abc' must be a list",
        ),
        (
            ("feedback=none", "feedback._target_=itae.feedback.Weighted", "+feedback.weights=[1,a]"),
            "feedback.weights='a' must be",
        ),
    ],
)
def test_a_wrong_option_is_told(words, told):
    with pytest.raises(UserError, match=told):
        rule_of(*words)
