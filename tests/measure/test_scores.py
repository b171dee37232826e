"""The scores against brute force and their own laws."""

import itertools
import json

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

from itae.base.errors import UserError
from itae.measure.scores import METRICS, acc_clustered, hits, paired_delta, scores, summarise

few = settings(max_examples=60, deadline=None)


@st.composite
def pairs(draw, most=5):
    n = draw(st.integers(1, 40))
    one = st.lists(st.integers(0, most - 1), min_size=n, max_size=n)
    return np.array(draw(one)), np.array(draw(one))


def brute_acc(labels, assignments):
    """The best share over every one-to-one map of clusters to classes."""
    k = max(labels.max(), assignments.max()) + 1
    return max(np.mean(np.array(p)[assignments] == labels) for p in itertools.permutations(range(k)))


@few
@given(pairs())
def test_acc_is_the_best_of_all_one_to_one_maps(pair):
    assert scores(*pair)["acc"] == pytest.approx(brute_acc(*pair))


@few
@given(pairs(most=8), st.randoms(use_true_random=False))
def test_names_of_clusters_and_classes_mean_nothing(pair, random):
    names = random.sample(range(1000), 8)
    others = random.sample(range(1000), 8)
    renamed = scores(np.array(names)[pair[0]], np.array(others)[pair[1]])
    assert renamed == pytest.approx(scores(*pair), abs=1e-9)


@few
@given(pairs(most=8))
def test_bounds(pair):
    found = scores(*pair)
    labels, assignments = pair
    assert tuple(found) == METRICS
    # Each class's (cluster's) own share bounds the match from below, purity from above.
    largest = max(np.bincount(labels).max(), 0) / len(labels)
    shares = max(np.mean((labels == c) & (assignments == k)) for c in set(labels) for k in set(assignments))
    assert shares <= found["acc"] <= found["purity"] + 1e-12 <= 1 + 1e-12
    assert found["purity"] >= largest - 1e-12
    assert -1e-9 <= found["nmi"] <= 1 + 1e-9
    assert -0.5 - 1e-9 <= found["ari"] <= 1 + 1e-9
    assert found["ami"] <= 1 + 1e-9


@few
@given(pairs(most=8))
def test_all_but_purity_are_symmetric(pair):
    there, back = scores(*pair), scores(*pair[::-1])
    assert {m: there[m] for m in METRICS[:-1]} == pytest.approx({m: back[m] for m in METRICS[:-1]}, abs=1e-9)


@st.composite
def with_noise(draw):
    n = draw(st.integers(1, 12))
    labels = draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    return np.array(labels), np.array(draw(st.lists(st.integers(-1, 2), min_size=n, max_size=n)))


@few
@given(with_noise())
def test_noise_is_scored_as_the_slow_reference_does(pair):
    labels, clusters = pair
    found = scores(labels, clusters) | {"acc_clustered": acc_clustered(labels, clusters)}
    want = reference.clustering_scores(labels.tolist(), clusters.tolist())
    assert {name: found[name] for name in want} == pytest.approx(want, abs=1e-9)
    for right in hits(labels, clusters).values():
        assert not right[clusters < 0].any()


def test_leaving_points_out_gains_nothing_but_acc_clustered():
    """A clustering that is half wrong, and the same with what is wrong left out."""
    labels = np.repeat([0, 1], 50)
    half, fewer = np.tile([0, 0, 1, 1, 0], 20), np.full(100, -1)
    fewer[half == labels] = half[half == labels]
    assert scores(labels, fewer)["acc"] == scores(labels, half)["acc"]
    assert acc_clustered(labels, fewer) == 1
    none = scores(labels, np.full(100, -1))
    assert none == pytest.approx(dict.fromkeys(METRICS, 0.0), abs=1e-9), "all noise says nothing"
    assert acc_clustered(labels, np.full(100, -1)) is None


def test_the_same_partition_is_perfect():
    labels = np.array([3, 3, 7, 7, 9, 9])
    assert scores(labels, np.array([5, 5, 0, 0, 100, 100])) == pytest.approx(dict.fromkeys(METRICS, 1.0))


def test_one_cluster_for_all_has_the_majority_share():
    found = scores(np.array([0] * 6 + [1] * 3 + [2]), np.zeros(10, int))
    assert found["acc"] == found["purity"] == 0.6
    assert found["nmi"] == found["ari"] == found["ami"] == 0


def test_more_clusters_than_classes_lose_acc_but_not_purity():
    found = scores(np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 2, 2]))
    assert found["acc"] == pytest.approx(4 / 6)
    assert found["purity"] == 1


def test_nmi_is_the_arithmetic_one():
    """Two classes in four clusters: I = ln 2, entropies ln 2 and ln 4; arithmetic 2/3, geometric .707."""
    assert scores(np.array([0, 0, 1, 1]), np.arange(4))["nmi"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("labels", "assignments", "said"),
    [
        ([0, 1], [0, -2], "assignments hold -2"),
        ([0, -1], [0, 1], "labels hold -1"),
        ([0, 1], [0, 1, 1], "2 labels can't score 3"),
        ([], [], "labels of shape"),
        ([0.0, 1.0], [0, 1], "labels of shape"),
        ([[0, 1]], [[0, 1]], "labels of shape"),
    ],
)
def test_what_is_refused(labels, assignments, said):
    with pytest.raises(UserError, match=said):
        scores(np.array(labels), np.array(assignments))


def test_summary_is_the_samples_mean_and_spread():
    found = summarise([{"acc": 0.5}, {"acc": 0.7}, {"acc": 0.9}])
    assert found == {"acc": {"mean": pytest.approx(0.7), "std": pytest.approx(0.2), "per_seed": [0.5, 0.7, 0.9]}}


def test_one_seed_has_no_spread_and_stays_json():
    assert (
        json.dumps(summarise([{"acc": 1}]), allow_nan=False) == '{"acc": {"mean": 1.0, "std": null, "per_seed": [1.0]}}'
    )


def test_delta_is_paired():
    """The means differ by .1 and so does every seed: no spread, though both sides have one."""
    before = {"seeds": [1, 2], **summarise([{"acc": 0.2, "inertia": 9.0}, {"acc": 0.6, "inertia": 8.0}])}
    after = {"seeds": [1, 2], **summarise([{"acc": 0.3, "inertia": 5.0}, {"acc": 0.7, "inertia": 4.0}])}
    delta = paired_delta(before, after)
    assert list(delta) == ["acc"]
    assert delta["acc"]["mean"] == pytest.approx(0.1)
    assert delta["acc"]["std"] == pytest.approx(0, abs=1e-12)
    with pytest.raises(AssertionError):
        paired_delta(before, after | {"seeds": [3, 4]})


def test_where_one_side_has_no_value_there_is_no_delta():
    before = {"seeds": [1, 2], **summarise([{"acc_clustered": None}, {"acc_clustered": 0.5}])}
    after = {"seeds": [1, 2], **summarise([{"acc_clustered": 0.9}, {"acc_clustered": 0.7}])}
    assert paired_delta(before, after)["acc_clustered"] == {
        "mean": pytest.approx(0.2), "std": None, "per_seed": [None, pytest.approx(0.2)]
    }  # fmt: skip
