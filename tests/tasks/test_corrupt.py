"""Labels made wrong: how many, which, and that the true ones are what they were."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from by_hand import base, blobs
from hypothesis import given
from hypothesis import strategies as st

from itae.base.errors import UserError
from itae.tasks.editing.corrupt import Boundary, Cluster, Pair, Uniform

KINDS = (Uniform, Pair, Cluster, Boundary)


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [0.1, 0.4])
def test_as_many_rows_are_wrong_as_the_rate_says(kind, rate):
    memory = blobs(60, 3)
    before = memory.labels_M.copy()
    labels = kind(rate=rate).labels(memory, rng())
    assert (labels != before).sum() == round(60 * rate)
    np.testing.assert_array_equal(memory.labels_M, before)
    np.testing.assert_array_equal(labels, kind(rate=rate).labels(memory, rng()), "drawn by the generator alone")


@pytest.mark.parametrize("kind", KINDS)
def test_rows_without_a_label_stay_so(kind):
    memory = base([(1.0, 0.1 * i) for i in range(12)], ["a", "b", None, "a", "b", None] * 2)
    labels = kind(rate=0.5).labels(memory, rng())
    assert (labels[memory.labels_M < 0] == memory.labels_M[memory.labels_M < 0]).all()
    assert (labels != memory.labels_M).sum() == 4


@given(st.integers(0, 10**6), st.integers(2, 5))
def test_a_pair_is_the_next_by_name_and_uniform_any_other(seed, classes):
    memory = blobs(50, classes)
    pair, uniform = Pair(0.3).labels(memory, rng(seed)), Uniform(0.3).labels(memory, rng(seed))
    wrong = pair != memory.labels_M
    np.testing.assert_array_equal(pair[wrong], (memory.labels_M[wrong] + 1) % classes)
    assert (uniform[uniform != memory.labels_M] < classes).all()


def test_uniform_gives_every_other_label():
    memory = blobs(400, 4)
    labels = Uniform(0.5).labels(memory, rng())
    wrong = labels != memory.labels_M
    assert len(set(zip(memory.labels_M[wrong].tolist(), labels[wrong].tolist(), strict=True))) == 12


def test_a_pocket_is_a_row_and_those_nearest_to_it():
    angles = np.arange(40) / 40 * np.pi
    memory = base(np.stack([np.cos(angles), np.sin(angles)], axis=1), ["a"] * 20 + ["b"] * 20)
    labels = Cluster(rate=0.125, size=5).labels(memory, rng(1))
    wrong = np.flatnonzero(labels != memory.labels_M)
    assert len(wrong) == 5
    assert wrong.max() - wrong.min() <= 8, "they lie together"
    assert len(set(labels[wrong].tolist())) == 1
    assert (np.diff(np.flatnonzero(labels != memory.labels_M)) == 1).all()


def test_pockets_are_no_larger_than_said_and_the_last_is_cut_to_the_rate():
    memory = blobs(200, 4)
    for size, rate in itertools.product((2, 10), (0.05, 0.5)):
        labels = Cluster(rate=rate, size=size).labels(memory, rng(3))
        assert (labels != memory.labels_M).sum() == round(200 * rate)


def test_where_pockets_leave_no_room_there_are_fewer():
    memory = base([(1.0, 0.0)] * 3, ["a", "a", "b"])  # a pocket is all of them, so one of its rows is right
    found = {int((Cluster(rate=0.9, size=3).labels(memory, rng(seed)) != memory.labels_M).sum()) for seed in range(10)}
    assert found == {1, 3}, "as far as pockets go in the order that is drawn"


def test_the_boundary_is_where_another_class_is_nearer_than_the_own():
    angles = np.radians([0, 10, 20, 30, 41, 49, 60, 70, 80, 90])
    memory = base(np.stack([np.cos(angles), np.sin(angles)], axis=1), ["a"] * 5 + ["b"] * 5)
    labels = Boundary(rate=0.2).labels(memory, rng())
    np.testing.assert_array_equal(np.flatnonzero(labels != memory.labels_M), [4, 5])
    np.testing.assert_array_equal(labels[[4, 5]], [1, 0])


def test_rows_of_the_group_are_no_others_of_a_class():
    """The twin of the same group would keep a row far from the boundary."""
    angles = np.radians([0, 40, 40, 44, 60, 64])
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    labels = ["a", "a", "a", "b", "b", "b"]
    together = Boundary(rate=0.33).labels(base(points, labels, groups=[0, 1, 1, 2, 3, 4]), rng())
    assert {1, 2} == set(np.flatnonzero(together != base(points, labels).labels_M).tolist())


@pytest.mark.parametrize("rate", [0, 1, -0.1, 1.5, float("nan"), True, "much", None])
@pytest.mark.parametrize("kind", KINDS)
def test_a_rate_is_a_share_between_0_and_1(kind, rate):
    with pytest.raises(UserError, match=r"corruption\.rate="):
        kind(rate=rate)


@pytest.mark.parametrize("size", [1, 0, 2.5, True])
def test_a_pocket_has_two_rows_or_more(size):
    with pytest.raises(UserError, match=r"corruption\.size="):
        Cluster(size=size)
