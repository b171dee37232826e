"""Intervals over images and seeds: an image's values held against scikit-learn, and how often an interval is right."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import crossed_interval
from scipy.stats import ttest_1samp
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from itae.measure.cluster.clustered import Clustered
from itae.measure.intervals import by_group, delta_intervals, image_values, mean_interval, with_intervals
from itae.measure.scores import acc_clustered, hits, scores

SHARES = ("acc", "purity", "nmi", "ari")
SLOW = {"nmi": normalized_mutual_info_score, "ari": adjusted_rand_score}


def result(per_seed, right=None):
    return Clustered({}, np.asarray(per_seed)[0], np.asarray(per_seed), right)


def noisy(labels, share, classes, draw, seeds=3):
    """Assignments that are the labels, but for a share of images that is anything."""
    out = np.tile(labels, (seeds, 1))
    wrong = draw.random(out.shape) < share
    out[wrong] = draw.integers(0, classes, int(wrong.sum()))
    return out


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 30), st.integers(1, 4), st.integers(1, 5))
def test_the_values_of_images_are_pseudo_values_of_scikit_learns_scores(seed, n, classes, clusters):
    draw = np.random.default_rng(seed)
    labels, assignments = draw.integers(0, classes, n), draw.integers(-1, clusters, n)  # -1 is noise
    found = image_values(labels, assignments[None], labels > 0)
    whole = scores(labels, assignments)
    for name in SHARES:
        assert found[name].mean() == pytest.approx(whole[name], abs=1e-9)
        if name in ("acc", "purity"):  # whose matching is that of all images
            np.testing.assert_array_equal(found[name][0], hits(labels, assignments)[name])
        elif n > 2:
            one_less = [SLOW[name](np.delete(labels, i), np.delete(assignments, i)) for i in range(n)]
            pseudo = n * whole[name] - (n - 1) * np.array(one_less)
            np.testing.assert_allclose(found[name][0], pseudo - pseudo.mean() + whole[name], atol=1e-8)
    np.testing.assert_array_equal(found["knn"], [labels > 0])


def test_the_values_of_images_in_a_cluster_are_nearly_pseudo_values_of_their_share():
    """The share is a ratio, which is linear but for a part in n."""
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 3, 2000)
    clusters = np.where(draw.random(2000) < 0.3, -1, noisy(labels, 0.4, 3, draw, 1)[0])
    right, inside = hits(labels, clusters)["acc"], clusters >= 0
    found = image_values(labels, clusters[None], None)["acc_clustered"]
    assert found.mean() == pytest.approx(acc_clustered(labels, clusters), abs=1e-12)
    without = (right.sum() - right) / (inside.sum() - inside)
    np.testing.assert_allclose(found[0], 2000 * right.sum() / inside.sum() - 1999 * without, atol=2e-3)
    assert np.ptp(found[0][~inside]) == 0, "noise moves it by nothing"


def test_where_all_is_noise_the_rest_keeps_its_interval():
    labels = np.repeat([0, 1], 20)
    sides = result([labels, labels]), result([np.full(40, -1), labels])
    found = delta_intervals(labels, *sides)
    assert "acc_clustered" not in found
    assert found["acc"][0] <= -0.5 <= found["acc"][1]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(2, 6), min_size=1, max_size=3), st.floats(0, 3), st.floats(0, 3))
def test_the_interval_is_the_slow_one(seed, shape, first, last):
    draw = np.random.default_rng(seed)
    values = draw.normal(size=shape) + first * draw.normal(size=(shape[0], *[1] * (len(shape) - 1)))
    values += last * draw.normal(size=shape[-1])
    assert mean_interval(values) == pytest.approx(crossed_interval(values), abs=1e-9)
    assert mean_interval(values[:, None]) == pytest.approx(crossed_interval(values), abs=1e-9), "one of a kind"
    if len(shape) == 1:
        told = ttest_1samp(values, 0).confidence_interval()
        assert mean_interval(values) == pytest.approx((told.low, told.high))


def test_of_one_value_there_is_no_interval():
    assert mean_interval(np.ones((1, 1))) is None


@pytest.mark.parametrize(
    ("shape", "spread"),
    [
        ((10,), (1,)), ((10, 300), (1, 0, 0)), ((10, 300), (0, 1, 0)), ((10, 300), (0, 0, 1)),
        ((10, 300), (0.1, 1, 3)), ((10, 300), (0.5, 1, 1)), ((3, 10, 300), (0.02, 0.05, 1, 1)),
        ((2, 10, 300), (0, 0.1, 1, 1)),
    ],
)  # fmt: skip
def test_it_holds_the_mean_of_what_each_sample_adds_in_93_to_97_percent(shape, spread):
    """Of seeds, images and draws that add to the mean, and of what is of all of them together."""
    draw, held, times = np.random.default_rng(1), 0, 1500
    for _ in range(times):
        values = spread[-1] * draw.normal(size=shape)
        for axis, one in enumerate(spread[:-1]):
            values += one * draw.normal(size=[n if i == axis else 1 for i, n in enumerate(shape)])
        low, high = mean_interval(values)
        held += low <= 0 <= high
    assert 0.93 <= held / times <= 0.975


@pytest.mark.parametrize(
    ("n", "classes", "shares"), [(400, 4, (0.4, 0.2)), (2000, 100, (0.6, 0.2)), (300, 60, (0.7, 0))]
)
def test_the_interval_holds_the_delta_it_is_of_however_many_cells(n, classes, shares):
    draw = np.random.default_rng(5)
    labels = draw.integers(0, classes, n)
    sides = [result(noisy(labels, share, classes, draw)) for share in shares]
    found = delta_intervals(labels, *sides)
    assert found.pop("acc_clustered") == pytest.approx(found["acc"]), "without noise they are one"
    for name, (low, high) in found.items():
        each = [scores(labels, a)[name] - scores(labels, b)[name]
                for b, a in zip(*(side.per_seed for side in sides), strict=True)]  # fmt: skip
        assert (low + high) / 2 == pytest.approx(np.mean(each)), name
        assert low < high


def test_of_many_clusters_the_interval_holds_what_such_data_give_on_average():
    """The mean delta of 300 data sets of 800 images in 50 classes lies in 95 % of their intervals."""
    draw = np.random.default_rng(6)
    ends, deltas = [], []
    for _ in range(300):
        labels = draw.integers(0, 50, 800)
        before, after = noisy(labels, 0.6, 50, draw, 1), noisy(labels, 0.2, 50, draw, 1)
        ends.append(delta_intervals(labels, result(before), result(after)))
        deltas.append({m: np.subtract(*(image_values(labels, a, None)[m].mean() for a in (after, before)))
                       for m in ("nmi", "ari")})  # fmt: skip
    for m in ("nmi", "ari"):
        true = np.mean([one[m] for one in deltas])
        assert 0.925 <= np.mean([one[m][0] <= true <= one[m][1] for one in ends]) <= 0.98, m


def test_intervals_hold_the_true_delta_as_often_as_they_say():
    """Images of one population, drawn 400 times: its delta lies within about 95 % of the intervals."""
    held, times = {"acc": 0, "knn": 0, "nmi": 0}, 400
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
        found = delta_intervals(labels, result(before, b), result(after, a))
        for m in held:
            held[m] += found[m][0] <= true[m] <= found[m][1]
    for m, count in held.items():
        assert 0.93 <= count / times <= 0.975, (m, count)


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


def test_copies_of_an_image_tell_no_more_than_the_image():
    draw = np.random.default_rng(7)
    labels = draw.integers(0, 3, 200)
    sides = [noisy(labels, share, 3, draw, 1) for share in (0.4, 0.2)]
    once = delta_intervals(labels, *map(result, sides))
    groups = np.tile(np.arange(200), 3)
    twice = [result(np.tile(side, 3)) for side in sides]
    known = delta_intervals(np.tile(labels, 3), *twice, groups)
    unknown = delta_intervals(np.tile(labels, 3), *twice)
    for name in SHARES:
        assert known[name] == pytest.approx(once[name], abs=0.01)
        assert np.diff(unknown[name]) < 0.9 * np.diff(known[name])
    assert known["acc"] == pytest.approx(once["acc"], abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 20))
def test_the_mean_over_groups_is_that_over_images(seed, n):
    draw = np.random.default_rng(seed)
    values, groups = draw.normal(size=(2, 3, n)), np.unique(draw.integers(0, n, n), return_inverse=True)[1]
    found = by_group(values, groups)
    np.testing.assert_allclose(found.mean(axis=-1), values.mean(axis=-1))
    assert by_group(values, None) is values
    count = int(groups.max()) + 1
    for g in range(count):
        want = (values[1, 2] - values[1, 2].mean())[groups == g].sum() * count / n + values[1, 2].mean()
        assert found[1, 2, g] == pytest.approx(want)


def test_a_delta_without_an_interval_says_none():
    draw = np.random.default_rng(4)
    labels = draw.integers(0, 3, 50)
    side = result(noisy(labels, 0.3, 3, draw))
    delta = {"acc": {"mean": 0.0}, "ami": {"mean": 0.0}}
    found = with_intervals(delta, labels, side, side)
    assert found == {"acc": {"mean": 0.0, "interval": [0.0, 0.0]}, "ami": {"mean": 0.0, "interval": None}}
    alone = Clustered({}, labels)  # of a task of somebody's own
    assert with_intervals(delta, labels, alone, alone)["acc"]["interval"] is None
    one = result(noisy(labels[:1], 0, 3, draw, 1))  # one image, one seed
    assert with_intervals(delta, labels[:1], one, one)["acc"]["interval"] is None


SIMULATION = Path(__file__).parents[2] / "experiments" / "06_intervals"


def test_the_simulation_says_93_to_97_percent_for_clusterings_as_they_are():
    """What README says of the intervals, of every setting that was counted."""
    rows = pd.read_csv(SIMULATION / "results.csv")
    made = rows[rows["varies"] != "k-means on other images"]
    assert len(made) == 15
    assert (made["times"] >= 1000).all()
    held = made[[*SHARES, "knn"]].to_numpy()
    assert 0.93 <= held.min() <= held.max() <= 0.975


@pytest.mark.slow
def test_the_simulation_comes_out_again():
    """400 data sets of two of its settings, some 15 s each: seeds that differ, and five draws of a control."""
    run = runpy.run_path(str(SIMULATION / "run.py"))
    rows = pd.read_csv(SIMULATION / "results.csv")
    every = list(run["settings"]())
    for i in (1, 14):
        found = run["coverage"](every[i], 400, seed=1)
        for name in (*SHARES, "knn"):
            assert 0.92 <= found[name] <= 0.985, (every[i], name)
            assert found[f"{name}.width"] == pytest.approx(rows[f"{name}.width"][i], rel=0.12)
