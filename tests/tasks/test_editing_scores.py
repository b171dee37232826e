"""Scores of mending: by hand, against scikit-learn, and that images add up to them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from itae.tasks.editing.scores import Answers, auroc, curve, precision

TRUTH = np.array([0, 0, 1, 1, 2, 2])
CLEAN = np.array([0, 0, 1, 1, 2, 0])  # 5 of 6
NOISY = np.array([1, 0, 0, 1, 0, 0])  # 2 of 6: changed at 0, 2 and 4
MENDED = np.array([0, 2, 1, 1, 0, 0])  # 3 of 6: right at 0 and 2 again, 1 spoilt


def test_scores_by_hand():
    found = Answers(TRUTH, CLEAN, NOISY, MENDED).scores(edits=2)
    told = {name: score.value for name, score in found.items()}
    assert told["clean"] == pytest.approx(5 / 6)
    assert told["noisy"] == pytest.approx(2 / 6)
    assert told["repaired"] == pytest.approx(3 / 6)
    assert told["recovery"] == pytest.approx((3 - 2) / (5 - 2))
    assert told["locality"] == pytest.approx(1 / 3), "of 1, 3 and 5, one was changed"
    assert told["changed_per_edit"] == pytest.approx(3 / 2)


def test_nothing_lost_nothing_to_recover():
    found = Answers(TRUTH, CLEAN, CLEAN, CLEAN).scores(edits=0)
    assert found["recovery"].value is None
    assert found["changed_per_edit"].value is None
    assert found["locality"].value == 0
    other = np.array([1, 1, 0, 0, 0, 1])
    assert Answers(TRUTH, CLEAN, other, CLEAN).scores(edits=1)["locality"].value is None, "none was left alone"


def test_a_curve_has_the_scores_at_each_point():
    found = curve(TRUTH, CLEAN, NOISY, np.stack([NOISY, MENDED, CLEAN]))
    np.testing.assert_allclose(found["accuracy"], [2 / 6, 3 / 6, 5 / 6])
    np.testing.assert_allclose(found["recovery"], [0, 1 / 3, 1])
    np.testing.assert_allclose(found["locality"], [0, 1 / 3, 0])
    nothing = curve(TRUTH, CLEAN, CLEAN, np.stack([CLEAN, MENDED]))
    assert np.isnan(nothing["recovery"]).all()


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=2, max_size=40))
def test_auroc_is_scikit_learns_and_images_add_up_to_it(rows):
    wrong, scores = np.array([one for one, _ in rows]), np.array([score for _, score in rows], np.float64)
    found = auroc(wrong, scores)
    if wrong.all() or not wrong.any():
        assert found.value is None
        return
    assert found.value == pytest.approx(roc_auc_score(wrong, scores))
    assert found.images.mean() == pytest.approx(found.value)


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_images_add_up_to_their_score(seed):
    draw = np.random.default_rng(seed)
    truth, *rest = (draw.integers(0, 3, 50) for _ in range(4))
    for score in Answers(truth, *rest).scores(edits=3).values():
        if score.images is not None:
            assert score.images.mean() == pytest.approx(score.value)
    first = draw.random(50) < 0.5
    first[0] = True
    found = precision(draw.random(50) < 0.3, first)
    assert found.images.mean() == pytest.approx(found.value)


def test_what_an_image_adds_is_linear_in_it():
    """An image's value is what the score changes by, n times, when it is taken out, to first order."""
    draw = np.random.default_rng(0)
    n = 4000
    wrong, scores = draw.random(n) < 0.2, draw.normal(size=n)
    scores[wrong] += 1
    found = auroc(wrong, scores)
    for i in (*np.flatnonzero(wrong)[:3].tolist(), *np.flatnonzero(~wrong)[:3].tolist()):
        rest = np.arange(n) != i
        without = roc_auc_score(wrong[rest], scores[rest])
        assert found.images[i] - found.value == pytest.approx((n - 1) * (found.value - without), abs=0.02)
