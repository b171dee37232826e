"""What rounds come to: known answers, exact laws, and noise with the heavy tails that a busy machine has."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itae.portable.clock.reading import Reading
from itae.portable.clock.statistic import compared, differs, quantile, split_half

TIMES = st.lists(st.floats(0.1, 1e4), min_size=2, max_size=40)


def reading(each_ms, statistic="cpu_min") -> Reading:
    each = tuple(float(ms) for ms in each_ms)
    least = min(each, default=math.nan)
    return Reading("net", "device", len(each), statistic, least, least, least, least, least, 0, True, 200, None, each)


@pytest.mark.parametrize(
    ("times", "known"),
    [([10, 12], 0.2), ([12, 10], 0.2), ([10, 10, 9, 30], 0.11111), ([5, 5, 5, 5, 1], 0), ([0, 1], math.inf)],
)
def test_split_half_of_a_few_rounds(times, known):
    """The fifth round is left out: it would make one half longer than the other."""
    assert split_half(times) == pytest.approx(known, abs=1e-5)


def test_one_round_has_no_halves():
    assert math.isnan(split_half([]))
    assert math.isnan(split_half([3.0]))
    assert math.isnan(quantile([], 0.5))


@given(TIMES)
def test_split_half_is_the_formula(times):
    even = times[: len(times) - len(times) % 2]
    halves = [[], []]
    for i, one in enumerate(even):
        halves[i % 2].append(one)
    known = abs(min(halves[0]) - min(halves[1])) / min(even)
    assert split_half(times) == pytest.approx(known)
    assert split_half([7 * one for one in times]) == pytest.approx(known)


@pytest.mark.parametrize(("rounds", "below"), [(7, None), (8, 0), (10, 0), (12, 1), (20, 3), (40, 11)])
def test_the_interval_is_the_sign_tests(rounds, below):
    """The ranks at 99 %, by the binomial law: of 20, 2 (1 + 20 + 190 + 1,140) / 2^20 is .003, and one more is .012."""
    ratios = np.linspace(2, 3, rounds)
    found = compared(reading(ratios), reading(np.ones(rounds)))
    if below is None:
        assert (found.low, found.high) == (0, math.inf)
        return
    assert 2 * sum(math.comb(rounds, k) for k in range(below + 1)) / 2**rounds <= 0.01
    assert 2 * sum(math.comb(rounds, k) for k in range(below + 2)) / 2**rounds > 0.01
    assert found.low == pytest.approx(min(ratios[below], 2)), "as far as the ratio of the minima"
    assert found.high == pytest.approx(ratios[-1 - below])
    assert found.ratio == pytest.approx(2)


@given(st.lists(st.tuples(st.floats(0.1, 1e3), st.floats(0.1, 1e3)), min_size=10, max_size=10))
def test_of_equal_costs_none_differs_whatever_the_times(pairs):
    """If costs are equal, an order by lot makes each way to swap a round's two times as likely; at most 1 % differ.

    All of the 1,024 ways are gone through, so this is no matter of luck.
    """
    table = np.array(pairs)
    ways = list(itertools.product((False, True), repeat=10))
    found = 0
    for way in ways[:512]:  # the other half are these with a and b in each other's place
        swap = np.array(way)[:, None]
        a, b = np.where(swap, table[:, ::-1], table).T
        found += differs(reading(a), reading(b))
    assert found <= 0.01 * 512


@given(TIMES, TIMES, st.floats(0.01, 100))
def test_a_ratio_turns_round_and_knows_no_unit(one, other, unit):
    a, b = reading(one), reading(other)
    found, back, scaled = (
        compared(a, b),
        compared(b, a),
        compared(*(reading(np.multiply(x, unit)) for x in (one, other))),
    )
    assert found.low <= found.ratio <= found.high
    assert scaled == pytest.approx(found)
    assert back.ratio == pytest.approx(1 / found.ratio)
    assert back.low == pytest.approx(1 / found.high if found.high < math.inf else 0)
    assert back.high == pytest.approx(1 / found.low if found.low else math.inf)


def test_rounds_that_both_have_are_compared_alone():
    """The minimum only falls with more rounds: those of the longer one don't count."""
    found = compared(reading([2.0] * 10), reading([1.0] * 10 + [0.1] * 10))
    assert found == pytest.approx((2, 2, 2))
    assert found.differs


def test_nothing_is_known_of_no_rounds_and_of_a_clock_that_saw_no_time():
    for one in ([], [0.0] * 10):
        found = compared(reading(one), reading([1.0] * 10))
        assert math.isnan(found.ratio)
        assert not found.differs


@pytest.mark.parametrize(("more", "known"), [(1, False), (1.009, False), (1.011, True), (0.992, False), (0.989, True)])
def test_what_is_nearer_than_a_hundredth_is_no_difference(more, known):
    assert differs(reading([more] * 50), reading([1.0] * 50)) is known
    assert differs(reading([1.0] * 50), reading([more] * 50)) is known


def noisy(rng, cells, rounds):
    """Return times [rounds, cells] of equal cells on a busy machine, in an order by lot.

    A floor that drifts and jumps for all cells; places in a round, of which late ones are slower; log-normal noise; and
    one run in seven that was disturbed for as long as a heavy tail says (Pareto's of exponent 1.5, without a variance).
    """
    floor = 1 + 0.1 * np.sin(np.arange(rounds) / 5) + 0.2 * (rng.random(rounds) < 0.2)
    place = np.linspace(1, 1.1, cells)
    order = np.array([rng.permutation(cells) for _ in range(rounds)])
    disturbed = (rng.random((rounds, cells)) < 1 / 7) * rng.pareto(1.5, (rounds, cells))
    return floor[:, None] * place[order] * (1 + 0.02 * rng.lognormal(0, 1, (rounds, cells))) + disturbed


@pytest.mark.parametrize("rounds", [10, 12, 40])
def test_of_100_equal_pairs_95_or_more_do_not_differ(rounds):
    rng = np.random.default_rng(rounds)
    tables = [noisy(rng, 20, rounds) for _ in range(100)]
    assert sum(differs(reading(times[:, 3]), reading(times[:, 12])) for times in tables) <= 5


def test_what_costs_a_tenth_more_is_told_and_its_interval_holds_that():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(100):
        times = noisy(rng, 20, 40)
        found.append(compared(reading(1.1 * times[:, 3]), reading(times[:, 12])))
    assert sum(one.differs and one.low > 1 for one in found) >= 90
    assert sum(one.low <= 1.1 <= one.high for one in found) >= 97
    assert np.median([abs(one.ratio - 1.1) for one in found]) < 0.03


def test_times_of_two_clocks_are_no_ratio():
    with pytest.raises(AssertionError, match="cpu_min of device and wall_min of device"):
        compared(reading([1.0] * 10), reading([1.0] * 10, "wall_min"))
