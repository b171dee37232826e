"""Fronts and the area under them, against what counts every pair and every square."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itae.base.errors import UserError
from itae.portable.search.fronts import (
    Interval,
    Reference,
    areas,
    by_photograph,
    compared,
    contributions,
    front,
    hypervolume,
    membership,
    plain,
    ranks,
)

REFERENCE = Reference(25.0, 64.0)
FEW = st.lists(st.tuples(st.integers(23, 32), st.sampled_from([1.0, 2.0, 4.0, 8.0, 32.0, 128.0, np.nan])), max_size=9)


def columns(points):
    return np.array([q for q, _ in points], float), np.array([t for _, t in points], float)


def beaten(points, i):
    """Whether another has at least the quality in at most the time, and is better in one."""
    q, t = points[i]
    return any(a >= q and b <= t and (a > q or b < t) for a, b in points if not np.isnan(b))


def squares(points, reference):
    """The area, square by square: which of the squares of 1 dB and one doubling has a network that is no worse."""
    area = 0
    for db in range(int(reference.psnr), 33):
        for doubling in range(int(np.log2(reference.ms))):
            area += any(q >= db + 1 and t <= 2.0**doubling for q, t in points)
    return area


@given(FEW)
@settings(max_examples=200, deadline=None)
def test_the_front_is_what_nobody_beats(points):
    expected = [i for i, (_, t) in enumerate(points) if not np.isnan(t) and not beaten(points, i)]
    found = front(*columns(points))
    assert sorted(found) == expected
    times = [points[i][1] for i in found]
    assert times == sorted(times)


@given(FEW)
@settings(max_examples=200, deadline=None)
def test_the_area_is_that_of_its_squares(points):
    assert hypervolume(*columns(points), REFERENCE) == pytest.approx(squares(points, REFERENCE))


@given(FEW)
@settings(max_examples=100, deadline=None)
def test_what_a_network_adds_is_what_is_lost_without_it(points):
    whole = hypervolume(*columns(points), REFERENCE)
    added = contributions(*columns(points), REFERENCE)
    on = set(front(*columns(points)))
    for i in range(len(points)):
        rest = [each for j, each in enumerate(points) if j != i and j in on]
        lost = whole - hypervolume(*columns(rest), REFERENCE) if i in on else 0.0
        assert added[i] == pytest.approx(lost)


@given(FEW)
@settings(max_examples=100, deadline=None)
def test_all_draws_at_once_have_the_areas_of_each(points):
    psnr, ms = columns(points)
    psnr_DN = psnr + np.array([[0.0], [1.5], [-2.0]])
    expected = [hypervolume(each, ms, Reference(base, 64.0)) for each, base in zip(psnr_DN, (25, 25, 24), strict=True)]
    assert areas(psnr_DN, ms, np.array([25.0, 25.0, 24.0]), 64.0) == pytest.approx(expected)


@given(FEW.filter(len))
@settings(max_examples=100, deadline=None)
def test_who_is_on_the_front_of_the_only_photograph_is_on_that_of_each_draw(points):
    psnr, ms = columns(points)
    on = np.zeros(len(points))
    on[front(psnr, ms)] = 1
    assert membership(psnr[:, None], ms, 2).tolist() == on.tolist()


def test_one_network_has_its_db_times_its_halvings():
    assert hypervolume(np.array([27.0]), np.array([16.0]), REFERENCE) == pytest.approx(2 * 2)


def test_the_area_does_not_depend_on_the_unit_of_time_and_the_worse_than_the_reference_has_none():
    psnr, ms = np.array([26.0, 28.0, 24.0, 30.0]), np.array([2.0, 9.0, 1.0, 65.0])
    slower = hypervolume(psnr, 7 * ms, Reference(25.0, 7 * 64.0))
    assert slower == pytest.approx(hypervolume(psnr, ms, REFERENCE))
    assert hypervolume(psnr[2:], ms[2:], REFERENCE) == 0
    assert hypervolume(np.array([]), np.array([]), REFERENCE) == 0


@pytest.mark.parametrize(("psnr", "ms"), [(np.nan, 1.0), (25.0, np.nan), (25.0, 0.0), (25.0, np.inf)])
def test_a_reference_that_is_no_point_is_refused(psnr, ms):
    with pytest.raises(UserError, match="reference point"):
        Reference(psnr, ms)


def test_fronts_are_peeled():
    psnr, ms = np.array([30.0, 29.0, 28.0, 31.0, 40.0]), np.array([4.0, 5.0, 6.0, 8.0, np.nan])
    assert ranks(psnr, ms).tolist() == [0, 1, 2, 0, -1]


def test_photographs_weigh_the_same_however_many_pairs_they_have():
    names, values = by_photograph(np.array([1.0, 3.0, 10.0]), ["b", "b", "a"])
    assert names == ("a", "b")
    assert values.tolist() == [10.0, 2.0]


class TestMembership:
    psnr = np.array([[30.0, 31.0, 29.0], [29.0, 30.0, 28.0], [33.0, 27.0, 30.0]])

    def test_who_wins_on_every_photograph_is_always_on_it_and_who_is_left_out_never(self):
        ms = np.array([5.0, 6.0, np.nan])
        assert membership(self.psnr, ms, 50).tolist() == [1.0, 0.0, 0.0]

    def test_who_wins_on_some_photographs_is_on_it_as_often_as_these_are_drawn(self):
        """The slower is on it where it is better: of three photographs, +3, -4 and +1 dB."""
        share = membership(self.psnr[[0, 2]], np.array([5.0, 6.0]), 4000)[1]
        exact = np.mean([a + b + c > 0 for a in (3, -4, 1) for b in (3, -4, 1) for c in (3, -4, 1)])
        assert share == pytest.approx(exact, abs=0.03)

    def test_a_time_that_is_hardly_known_may_be_anybodys(self):
        psnr, ms = np.array([[30.0, 30.0], [30.0, 30.0]]), np.array([5.0, 5.01])
        sure, unsure = membership(psnr, ms, 400), membership(psnr, ms, 400, noise_N=np.array([0.2, 0.2]))
        assert sure.tolist() == [1.0, 0.0]
        assert 0.35 < unsure[1] < 0.65


class TestCompared:
    blurred = np.array([25.0, 24.0, 26.0, 25.5])
    ms = np.array([4.0, 16.0])
    psnr = blurred + np.array([[1.0], [2.0]])

    def test_a_set_against_itself_gains_nothing_in_any_draw(self):
        found = compared((self.psnr, self.ms), (self.psnr, self.ms), self.blurred, 64.0, 100)
        assert found.gain == (0.0, 0.0, 0.0)
        assert found.above == 0

    def test_twice_the_db_is_twice_the_area(self):
        """Each network is as many dB over the blurred on every photograph, so nothing depends on the draw."""
        twice = self.blurred + np.array([[2.0], [4.0]])
        found = compared((twice, self.ms), (self.psnr, self.ms), self.blurred, 64.0, 100)
        assert found.other.value == pytest.approx(2 * 1 + 2 * 2)
        assert found.gain == pytest.approx((1.0, 1.0, 1.0))
        assert found.above == 1

    def test_what_wins_on_one_photograph_of_four_is_not_sure_to(self):
        odd = self.psnr + np.array([4.0, -0.9, -0.9, -0.9])
        gain = compared((odd, self.ms), (self.psnr, self.ms), self.blurred, 64.0, 400).gain
        assert gain.low < 0 < gain.value < gain.high

    def test_over_nothing_there_is_no_gain_to_tell(self):
        none = np.array([np.nan, np.nan])
        found = compared((self.psnr, self.ms), (self.psnr, none), self.blurred, 64.0, 20)
        assert plain(found.gain) == {"value": None, "low": None, "high": None}
        assert plain(Interval(1.0, 0.5, 2.0)) == {"value": 1.0, "low": 0.5, "high": 2.0}
