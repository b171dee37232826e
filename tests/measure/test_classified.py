"""Scores of a classification: by hand, against scikit-learn and scipy, and how often an interval is right."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap
from sklearn import metrics
from sklearn.calibration import calibration_curve

from itae.knowledge.answers.choose import balanced_accuracy
from itae.knowledge.records.snapshot import SEVERAL
from itae.measure.classified import (
    auroc_values,
    class_sizes,
    confusion,
    image_values,
    mean_average_precision,
    recall_intervals,
    recalls,
    reliability,
    right,
    unknown_auroc,
)
from itae.measure.intervals import by_group, mean_interval

# Six images of classes 0, 0, 1, 2, 2, 2; class 3 has none.
LABELS = np.array([0, 0, 1, 2, 2, 2])
TOLD = np.array([[0, 1], [1, 0], [1, -1], [2, 3], [-1, -1], [3, 0]])


def some(seed, n, classes, ranked=6):
    """Draw labels of which the first class told is right for half, and classes told best first."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, classes, n)
    told = np.argsort(draw.random((n, classes)), axis=1)[:, :ranked]
    lucky = draw.random(n) < 0.5
    told[lucky, 0] = labels[lucky]
    told[draw.random(n) < 0.1] = -1
    return labels, told


CASES = (st.integers(0, 10**6), st.integers(1, 40), st.integers(2, 9))


# ------------------------------------------------------------------------------------------ by hand


def test_scores_by_hand():
    assert right(LABELS, TOLD).tolist() == [True, False, True, True, False, False]
    assert right(LABELS, TOLD, 2).tolist() == [True, True, True, True, False, False]
    means = {name: values.mean() for name, values in image_values(LABELS, TOLD, 4).items()}
    assert means == pytest.approx({"top_1": 3 / 6, "top_5": 4 / 6, "balanced_accuracy": (1 / 2 + 1 + 1 / 3) / 3})
    np.testing.assert_array_equal(recalls(LABELS, TOLD, 4), [1 / 2, 1, 1 / 3, np.nan])
    assert class_sizes(LABELS, 4).tolist() == [2, 1, 3, 0], "3 has no images"
    assert confusion(LABELS, TOLD[:, 0], 4).tolist() == [
        [1, 1, 0, 0, 0],
        [0, 1, 0, 0, 0],
        [0, 0, 1, 1, 1],  # one of the second class without an answer
        [0, 0, 0, 0, 0],
    ]


def test_answers_without_a_ranking_have_no_top_5():
    assert image_values(LABELS, TOLD[:, :1], 4).keys() == {"top_1", "balanced_accuracy"}


def test_the_balanced_values_of_images_by_hand():
    """Two classes of five images, 2/3 and 1/2 of them right, and one without images."""
    told = np.array([0, 0, -1, 1, 0])[:, None]
    first, second = 5 / (2 * 3) * np.sqrt(3 / 2), 5 / (2 * 2) * np.sqrt(2)
    residuals = np.array([first / 3, first / 3, -first * 2 / 3, second / 2, -second / 2])
    values = image_values(np.array([0, 0, 0, 1, 1]), told, 3)["balanced_accuracy"]
    np.testing.assert_allclose(values, (2 / 3 + 1 / 2) / 2 + residuals)


def test_the_balanced_values_of_images_of_several_labels_by_hand():
    """Class 0 has 1 + 1/10 images, two that count: the root is of 2, not of 1.1 / .1."""
    truth = [{0}, set(range(10)), {1}, {1}]
    values = image_values(truth, np.array([0, -1, 1, 1])[:, None], 10)["balanced_accuracy"]
    recall = np.array([1 / 1.1, 2 / 2.1, *[0] * 8])
    np.testing.assert_allclose(values[0], recall.mean() + 4 / (10 * 1.1) * np.sqrt(2) * (1 - recall[0]))
    np.testing.assert_allclose(values.mean(), recall.mean())


def test_any_of_several_labels_is_right_and_each_is_a_part_of_an_image():
    truth = [{0, 1}, {1}, {0, 1, 2}]
    told = np.array([[1, 2], [0, 1], [2, 0]])
    assert right(truth, told).tolist() == [True, False, True]
    assert right(truth, told, 2).tolist() == [True, True, True]
    np.testing.assert_allclose(class_sizes(truth, 4), [5 / 6, 1 / 2 + 1 + 1 / 3, 1 / 3, 0])
    np.testing.assert_allclose(recalls(truth, told, 4), [1, (5 / 6) / (11 / 6), 1, np.nan])
    assert image_values(truth, told, 4)["balanced_accuracy"].mean() == pytest.approx((1 + 5 / 11 + 1) / 3)


def test_balanced_accuracy_is_that_by_which_a_base_chooses_its_voter():
    truth, winners = [{0}, {0, 2}, {1}, {1, 2}, {2}], np.array([0, 2, 0, -1, 2])
    rows = SimpleNamespace(
        label_names=["a", "b", "c", "d"], labels_M=np.array([0, SEVERAL, 1, SEVERAL, 2]), several={1: (0, 2), 3: (1, 2)}
    )
    of_a_base = balanced_accuracy(rows, np.arange(5), winners)
    assert image_values(truth, winners[:, None], 4)["balanced_accuracy"].mean() == pytest.approx(of_a_base)


def test_an_image_without_a_label_cannot_be_scored():
    with pytest.raises(AssertionError, match="without labels"):
        recalls([{0}, set()], TOLD[:2], 4)
    with pytest.raises(AssertionError, match="no class"):
        right(np.array([0, -1]), TOLD[3:5])


def test_reliability_by_hand():
    """Of four bins: 0 and .25 in the first, .5 in the second, none in the third, .9 and 1 in the last."""
    found = reliability(np.array([0, 1, 1, 1, 0], bool), np.array([0, 0.25, 0.5, 0.9, 1]), bins=4)
    assert found.images_B.tolist() == [2, 1, 0, 2]
    np.testing.assert_allclose(found.share_B, [0.125, 0.5, np.nan, 0.95])
    np.testing.assert_allclose(found.right_B, [0.5, 1, np.nan, 0.5])
    assert found.ece == pytest.approx((2 * 0.375 + 1 * 0.5 + 2 * 0.45) / 5)
    assert np.isnan(reliability(np.empty(0, bool), np.empty(0)).ece)


def test_shares_at_an_edge_lie_in_one_bin_however_they_were_summed():
    """0.1 + 0.1 + 0.1 is more than 0.3 by rounding; three of ten neighbours are three of ten."""
    share = np.array([0.1 + 0.1 + 0.1, 0.3, 3 / 10, 1 + 1e-12])
    assert reliability(np.ones(4, bool), share, bins=10).images_B.tolist() == [0, 0, 3, 0, 0, 0, 0, 0, 0, 1]


def test_auroc_of_unknown_by_hand():
    """Of the six pairs the unknown has the smaller p in five, an equal one in one."""
    assert unknown_auroc(np.array([0.9, 0.2, 0.3]), np.array([0.1, 0.2])) == pytest.approx(5.5 / 6)
    assert unknown_auroc(np.array([0.9]), np.empty(0)) is None
    assert unknown_auroc(np.empty(0), np.array([0.9])) is None


def test_mean_average_precision_by_hand():
    """Class 0: its images rank 1 and 3. Class 1: ranks 2. Class 2 has no images, class 3 only equal shares."""
    shares = np.array([[0.9, 0.1, 0.5, 0.2], [0.5, 0.8, 0.5, 0.2], [0.3, 0.4, 0.0, 0.2]])
    truth = [{0}, {3}, {0, 1}]
    assert mean_average_precision(truth, shares) == pytest.approx(((1 + 2 / 3) / 2 + 1 / 2 + 1 / 3) / 3)


# -------------------------------------------------------------------------- against well-kept libraries


@settings(max_examples=40, deadline=None)
@given(*CASES)
def test_scores_are_those_of_scikit_learn(seed, n, classes):
    labels, told = some(seed, n, classes)
    means = {name: values.mean() for name, values in image_values(labels, told, classes).items()}
    assert means["top_1"] == pytest.approx(metrics.accuracy_score(labels, told[:, 0]))
    there = np.unique(labels)
    of_sklearn = metrics.recall_score(labels, told[:, 0], labels=range(classes), average=None, zero_division=np.nan)
    np.testing.assert_allclose(recalls(labels, told, classes), of_sklearn)
    assert means["balanced_accuracy"] == pytest.approx(of_sklearn[there].mean())
    places = np.array([list(row).index(c) if c in row else 99 for c, row in zip(labels, told, strict=True)])
    assert means["top_5"] == pytest.approx((places < 5).mean())
    table = confusion(labels, told[:, 0], classes)
    np.testing.assert_array_equal(table.sum(axis=1), class_sizes(labels, classes))
    assert np.trace(table) == (places == 0).sum()
    assert table[:, classes].sum() == (told[:, 0] < 0).sum()


@settings(max_examples=40, deadline=None)
@given(*CASES)
def test_one_label_is_a_set_of_one(seed, n, classes):
    labels, told = some(seed, n, classes)
    sets = [{int(c)} for c in labels]
    one, other = image_values(labels, told, classes), image_values(sets, told, classes)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])
    np.testing.assert_array_equal(recall_intervals(labels, told, classes), recall_intervals(sets, told, classes))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 60), st.integers(1, 20))
def test_the_reliability_curve_is_scikit_learns(seed, n, bins):
    draw = np.random.default_rng(seed)
    share, hits = draw.random(n), draw.random(n) < 0.5
    found = reliability(hits, share, bins)
    some_B = found.images_B > 0
    right_B, share_B = calibration_curve(hits, share, n_bins=bins)
    np.testing.assert_allclose(found.right_B[some_B], right_B)
    np.testing.assert_allclose(found.share_B[some_B], share_B)
    assert found.images_B.sum() == n
    assert found.ece == pytest.approx((found.images_B[some_B] * np.abs(right_B - share_B)).sum() / n)


@settings(max_examples=40, deadline=None)
@given(*CASES)
def test_mean_average_precision_is_scikit_learns(seed, n, classes):
    draw = np.random.default_rng(seed)
    truth_NC = draw.random((n, classes)) < 0.3
    truth_NC[np.arange(n), draw.integers(0, classes, n)] = True
    shares = np.round(draw.random((n, classes)), 1)  # with ties
    there = truth_NC.any(axis=0)
    slow = metrics.average_precision_score(truth_NC[:, there], shares[:, there], average="macro")
    sets = [set(np.flatnonzero(row).tolist()) for row in truth_NC]
    assert mean_average_precision(sets, shares) == pytest.approx(slow)
    assert mean_average_precision(sets, shares + 1e-13 * draw.random(shares.shape)) == pytest.approx(slow)


def test_the_interval_is_that_of_scipys_bootstrap():
    """Which draws each group, of one or several images, by itself."""
    draw = np.random.default_rng(0)
    sizes = np.repeat([1, 2, 4], [80, 30, 10])
    hits = draw.binomial(sizes, 0.8)
    groups = np.repeat(np.arange(120), sizes)
    told = np.concatenate([np.arange(size) >= hit for size, hit in zip(sizes, hits, strict=True)]).astype(int)
    labels = np.zeros(len(groups), np.int64)
    (found,) = recall_intervals(labels, told[:, None], 1, groups)
    slow = bootstrap(
        (hits, sizes), lambda x, y, axis: x.sum(axis) / y.sum(axis), paired=True, vectorized=True,
        method="percentile", n_resamples=20000, rng=1,
    ).confidence_interval  # fmt: skip
    np.testing.assert_allclose(found, [slow.low, slow.high], atol=0.006)


# ---------------------------------------------------------------------------------------- intervals


def test_intervals_of_a_class_depend_on_nothing_but_its_images():
    labels, told = some(3, 200, 4)
    found = recall_intervals(labels, told, 6)
    assert np.isnan(found[4:]).all(), "classes without images"
    assert (found[:4, 0] <= recalls(labels, told, 4)).all()
    assert (recalls(labels, told, 4) <= found[:4, 1]).all()
    order = np.random.default_rng(0).permutation(200)
    np.testing.assert_array_equal(recall_intervals(labels[order], told[order], 6), found)
    of_two = labels >= 2
    np.testing.assert_array_equal(recall_intervals(labels[of_two], told[of_two], 6)[2:], found[2:])
    assert not np.array_equal(recall_intervals(labels, told, 4, seed=1), found[:4])


def test_images_of_the_same_bytes_are_drawn_together():
    """Ten copies of each image tell no more than one of each."""
    labels, told = some(4, 60, 2)
    groups = np.tile(np.arange(60), 10)
    copies = recall_intervals(np.tile(labels, 10), np.tile(told, (10, 1)), 2, groups)
    np.testing.assert_allclose(copies, recall_intervals(labels, told, 2))
    alone = recall_intervals(np.tile(labels, 10), np.tile(told, (10, 1)), 2)
    assert (np.diff(alone) < 0.5 * np.diff(copies)).all()
    values = image_values(np.tile(labels, 10), np.tile(told, (10, 1)), 2)
    once = image_values(labels, told, 2)
    for name in once:
        low, high = mean_interval(by_group(values[name], groups))
        np.testing.assert_allclose([low, high], mean_interval(once[name]), atol=0.01)


def test_all_right_is_not_certain():
    """By Clopper & Pearson, of ten all right: .025 ** .1 to 1; of none right the same from the other end."""
    low = 0.025**0.1
    told = np.repeat([0, 0], 10)[:, None]
    np.testing.assert_allclose(recall_intervals(np.repeat([0, 1], 10), told, 2), [[low, 1], [0, 1 - low]])
    twins = np.arange(20) // 2
    low = 0.025**0.2
    np.testing.assert_allclose(recall_intervals(np.repeat([0, 1], 10), told, 2, twins), [[low, 1], [0, 1 - low]])


def covered(found, true):
    return np.mean([low <= true <= high for low, high in found])


@pytest.mark.parametrize(
    ("n", "share", "least", "most"), [(200, 0.8, 0.92, 0.98), (40, 0.8, 0.90, 0.98), (20, 0.95, 0.95, 1)]
)
def test_how_often_an_interval_of_a_recall_holds_it(n, share, least, most):
    """800 classes of one recall are 800 draws of one class."""
    draw = np.random.default_rng(5)
    labels = np.repeat(np.arange(800), n)
    told = np.where(draw.random(800 * n) < share, labels, -1)[:, None]
    assert least <= covered(recall_intervals(labels, told, 800), share) <= most


def test_how_often_the_paired_interval_of_balanced_accuracy_holds_the_delta():
    """Classes of 480, 120 and 30 images on average, of which an edit mends some and spoils some."""
    draw = np.random.default_rng(6)
    before, mended, spoilt = np.array([0.9, 0.6, 0.4]), np.array([0.5, 0.0, 0.4]), np.array([0.0, 0.1, 0.1])
    after = before * (1 - spoilt) + (1 - before) * mended
    deltas, levels = [], []
    for _ in range(1000):
        labels = draw.choice(3, 630, p=np.array([16, 4, 1]) / 21)
        was = draw.random(630) < before[labels]
        now = np.where(was, draw.random(630) >= spoilt[labels], draw.random(630) < mended[labels])
        told = (np.where(hit, labels, -1)[:, None] for hit in (was, now))
        one, other = (image_values(labels, some, 3)["balanced_accuracy"] for some in told)
        deltas.append(mean_interval(other - one))
        levels.append(mean_interval(one))
    assert 0.92 <= covered(deltas, (after - before).mean()) <= 0.97
    assert 0.92 <= covered(levels, before.mean()) <= 0.97


@given(
    known=st.lists(st.integers(0, 6), min_size=1, max_size=30),
    unknown=st.lists(st.integers(0, 6), min_size=1, max_size=30),
)
def test_an_auroc_is_the_mean_of_what_its_queries_add(known, unknown):
    p = np.array(known + unknown) / 6
    is_unknown = np.repeat([False, True], [len(known), len(unknown)])
    values = auroc_values(p, is_unknown)
    assert values.mean() == pytest.approx(unknown_auroc(p[~is_unknown], p[is_unknown]))


def test_a_query_on_the_right_side_of_all_others_adds_1():
    assert auroc_values(np.array([0.9, 0.8, 0.1]), np.array([False, False, True])).tolist() == [1, 1, 1]


def test_the_spread_of_an_auroc_is_delongs():
    """The variance of the mean is that of both kinds of queries, each over how many there are (DeLong et al., 1988)."""
    draw = np.random.default_rng(0)
    known, unknown = draw.uniform(size=400), draw.uniform(size=80) ** 2
    of_known = np.array([np.mean((unknown < p) + (unknown == p) / 2) for p in known])
    of_unknown = np.array([np.mean((p < known) + (p == known) / 2) for p in unknown])
    error = np.sqrt(of_known.var(ddof=1) / 400 + of_unknown.var(ddof=1) / 80)
    values = auroc_values(np.concatenate([known, unknown]), np.repeat([False, True], [400, 80]))
    assert values.std(ddof=1) / np.sqrt(480) == pytest.approx(error, rel=0.02)
