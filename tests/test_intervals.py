"""The bootstrap over images and seeds, held against scikit-learn on repeated images, and its coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap

from itae import intervals
from itae.intervals import _Measure, counted, delta_intervals, with_intervals
from itae.metrics import hits, scores
from itae.tasks import TaskResult


def result(per_seed, right=None):
    return TaskResult({}, np.asarray(per_seed)[0], np.asarray(per_seed), right)


def noisy(labels, share, classes, draw, seeds=3):
    """Assignments that are the labels, but for a share of images that is anything."""
    out = np.tile(labels, (seeds, 1))
    wrong = draw.random(out.shape) < share
    out[wrong] = draw.integers(0, classes, int(wrong.sum()))
    return out


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 60), st.integers(1, 4), st.integers(1, 5))
def test_a_draw_is_scored_as_scikit_learn_scores_its_images(seed, n, classes, clusters):
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, classes, n)
    before, after = (draw.integers(0, clusters, (1, n)) for _ in range(2))
    right = [draw.random(n) < 0.5 for _ in range(2)]
    measure = _Measure(labels, result(before, right[0]), result(after, right[1]))
    drawn = draw.integers(0, n, (3, n))
    found = measure(counted(drawn))
    for r, rows in enumerate(drawn):
        deltas = {m: scores(labels[rows], after[0][rows])[m] - scores(labels[rows], before[0][rows])[m]
                  for m in ("nmi", "ari")}  # fmt: skip
        for m in ("acc", "purity"):  # whose matching is that of all images
            deltas[m] = hits(labels, after[0])[m][rows].mean() - hits(labels, before[0])[m][rows].mean()
        deltas["knn"] = right[1][rows].mean() - right[0][rows].mean()
        for i, name in enumerate(measure.names):
            assert found[i, r] == pytest.approx(deltas[name], abs=2e-6), name


def test_all_images_once_give_the_delta_itself():
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 4, 200)
    before, after = noisy(labels, 0.5, 4, draw), noisy(labels, 0.3, 4, draw)
    measure = _Measure(labels, result(before), result(after))
    found = dict(zip(measure.names, measure.of_all(), strict=True))
    for m in ("acc", "nmi", "ari", "purity"):
        want = np.mean([scores(labels, a)[m] - scores(labels, b)[m] for b, a in zip(before, after, strict=True)])
        assert found[m] == pytest.approx(want, abs=1e-6)


@pytest.mark.parametrize("held", [2**24, 10_000], ids=["kept", "some at a time"])
def test_the_percentiles_are_those_of_scipy(monkeypatch, held):
    monkeypatch.setattr(intervals, "_HELD", held)
    draw = np.random.default_rng(1)
    labels = draw.integers(0, 4, 300)
    sides = [result(noisy(labels, share, 4, draw), draw.random(300) < share) for share in (0.5, 0.3)]
    measure = _Measure(labels, *sides)
    told = bootstrap(
        (np.arange(300),), lambda drawn, axis: measure(counted(drawn)), n_resamples=200, batch=max(1, held // 300),
        vectorized=True, method="percentile", rng=np.random.default_rng(0),
    )  # fmt: skip
    bias = told.bootstrap_distribution.mean(axis=-1) - measure.of_all()
    ends = np.array(told.confidence_interval) - bias
    for _ in range(2):  # the second time by draws that are there
        found = delta_intervals(labels, *sides, draws=200)
        np.testing.assert_allclose([found[name] for name in measure.names], ends.T, atol=1e-12)


@pytest.mark.parametrize(
    ("n", "classes", "shares"), [(400, 4, (0.4, 0.2)), (2000, 100, (0.6, 0.2)), (300, 60, (0.7, 0))]
)
def test_the_interval_holds_the_delta_it_is_of_however_many_cells(n, classes, shares):
    """Of many cells, a draw's NMI is raised by several times its spread, and the more so the more they are."""
    draw = np.random.default_rng(5)
    labels = draw.integers(0, classes, n)
    sides = [result(noisy(labels, share, classes, draw)) for share in shares]
    for name, (low, high) in delta_intervals(labels, *sides, draws=200).items():
        each = [scores(labels, a)[name] - scores(labels, b)[name]
                for b, a in zip(*(side.per_seed for side in sides), strict=True)]  # fmt: skip
        assert low <= np.mean(each) <= high, name


def test_of_many_clusters_the_interval_holds_what_such_data_give_on_average():
    """The mean delta of 60 data sets of 800 images in 50 classes lies in the intervals of most of them."""
    draw = np.random.default_rng(6)
    ends, deltas = [], []
    for _ in range(60):
        labels = draw.integers(0, 50, 800)
        before, after = noisy(labels, 0.6, 50, draw, 1), noisy(labels, 0.2, 50, draw, 1)
        ends.append(delta_intervals(labels, result(before), result(after), draws=200))
        deltas.append({m: scores(labels, after[0])[m] - scores(labels, before[0])[m] for m in ("nmi", "ari")})
    for m in ("nmi", "ari"):
        true = np.mean([one[m] for one in deltas])
        assert np.mean([one[m][0] <= true <= one[m][1] for one in ends]) >= 0.85, m


def test_intervals_hold_the_true_delta_as_often_as_they_say():
    """Images of one population, drawn 60 times: its delta lies within about 95 % of the intervals."""
    held, times = {"acc": 0, "knn": 0, "nmi": 0}, 60
    draw = np.random.default_rng(1)

    def sample(n):
        labels = draw.integers(0, 4, n)
        return labels, noisy(labels, 0.4, 4, draw, 1), noisy(labels, 0.25, 4, draw, 1), draw.random((2, n))

    def right(u):
        return u[0] < 0.6, u[1] < 0.7

    labels, before, after, _ = sample(200_000)
    true = {m: scores(labels, after[0])[m] - scores(labels, before[0])[m] for m in ("acc", "nmi")} | {"knn": 0.1}
    for _ in range(times):
        labels, before, after, u = sample(400)
        b, a = right(u)
        found = delta_intervals(labels, result(before, b), result(after, a), draws=300)
        for m in held:
            held[m] += found[m][0] <= true[m] <= found[m][1]
    for m, count in held.items():
        assert count >= 0.85 * times, (m, count)
        assert count <= times


def test_more_images_make_it_narrower_and_seeds_that_differ_wider():
    draw = np.random.default_rng(2)

    def width(n, spread):
        labels = draw.integers(0, 4, n)
        before = noisy(labels, 0.4, 4, draw, 1).repeat(4, axis=0)
        after = np.concatenate([noisy(labels, share, 4, draw, 1) for share in (0.2 - spread, 0.2 + spread) * 2])
        low, high = delta_intervals(labels, result(before), result(after))["acc"]
        return high - low

    assert width(2000, 0.0) < 0.6 * width(300, 0.0)
    assert width(2000, 0.15) > 1.5 * width(2000, 0.0)


def test_the_same_on_both_sides_is_zero_and_the_same_twice_is_the_same():
    draw = np.random.default_rng(3)
    labels = draw.integers(0, 3, 100)
    side = result(noisy(labels, 0.3, 3, draw))
    assert set(delta_intervals(labels, side, side).values()) == {(0.0, 0.0)}
    other = result(noisy(labels, 0.1, 3, draw))
    assert delta_intervals(labels, side, other) == delta_intervals(labels, side, other)


def test_a_delta_without_an_interval_says_none():
    draw = np.random.default_rng(4)
    labels = draw.integers(0, 3, 50)
    side = result(noisy(labels, 0.3, 3, draw))
    delta = {"acc": {"mean": 0.0}, "ami": {"mean": 0.0}}
    found = with_intervals(delta, labels, side, side)
    assert found == {"acc": {"mean": 0.0, "interval": [0.0, 0.0]}, "ami": {"mean": 0.0, "interval": None}}
    alone = TaskResult({}, labels)  # of a task of somebody's own
    assert with_intervals(delta, labels, alone, alone)["acc"]["interval"] is None
