"""What the best of one device costs on another, by hand and by integrals taken step by step."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itae.base.errors import UserError
from itae.portable.search import regret
from itae.portable.search.fronts import Reference
from itae.portable.search.regret import Table, by_size, portable, regret_of, regrets

BLURRED, SLOWEST = 25.0, 64.0


def table_of(psnr, ms):
    psnr, ms = np.array(psnr, float), np.array(ms, float)
    nets, devices = tuple(f"n{i}" for i in range(ms.shape[1])), tuple(f"d{i}" for i in range(ms.shape[0]))
    psnr = np.broadcast_to(psnr, ms.shape).copy()
    return Table(nets, devices, psnr, ms, (Reference(BLURRED, SLOWEST),) * len(devices))


# Network 0 is for device 0, network 1 for device 1; both restore alike, and each takes 4 times as long elsewhere.
SWAPPED = table_of([27.0, 27.0], [[4.0, 16.0], [16.0, 4.0]])
cells = st.sampled_from([1.0, 2.0, 3.0, 8.0, 20.0, 64.0, np.nan])
TABLES = st.integers(1, 5).flatmap(
    lambda n: st.tuples(
        st.lists(st.floats(24, 32), min_size=n, max_size=n),
        st.lists(st.lists(cells, min_size=n, max_size=n), min_size=1, max_size=3),
    )
)


def lost_by_integral(table, nets, on, steps=20_000):
    """The share of the area lost, by sums over limits of time: the best that fits each, or the blurred picture."""
    psnr, ms = table.psnr[on], table.ms[on]

    def area(some):
        limits = 2 ** ((np.arange(steps) + 0.5) / steps * 12 - 6)  # 1/64 ms to 64
        fits = (ms[some][:, None] <= limits) & np.isfinite(psnr[some])[:, None]
        best = np.where(fits, psnr[some][:, None], BLURRED).max(0, initial=BLURRED)
        return (best - BLURRED).mean() * 12

    return 1 - area(list(nets)) / area(list(range(len(ms))))


def test_two_devices_by_hand():
    """On its own device a network has 2 dB at 4 halvings, on the other's 2 dB at 2: half of the area is lost."""
    found = {(one.best_of, one.on): one for one in regrets(SWAPPED)}
    for i in ("d0", "d1"):
        assert (found[i, i].share, found[i, i].db, found[i, i].times) == (0, 0, 1)
    for pair in (("d0", "d1"), ("d1", "d0")):
        one = found[pair]
        assert one.share == pytest.approx(0.5)
        assert one.db == pytest.approx(1.0)  # of 4 halvings, two give back the blurred picture: 2 dB lost, or 0
        assert one.times == one.worst_times == pytest.approx(4.0)


@given(TABLES)
@settings(max_examples=60, deadline=None)
def test_regret_is_what_is_lost_at_each_limit_of_time(made):
    table = table_of(*made)
    for on in range(len(table.devices)):
        if table.area(on, table.front(on)) < 0.1:
            continue
        for a in range(len(table.devices)):
            one = regret_of(table, table.front(a), "a", on)
            assert one.share == pytest.approx(lost_by_integral(table, table.front(a), on), abs=0.03)
            assert -1e-12 <= one.share <= 1
            assert one.db >= -1e-12
            assert np.isnan(one.times) or 1 <= one.times <= one.worst_times + 1e-9


def test_time_is_held_against_what_restores_as_well():
    """Not against the fastest of all, which is 1 dB worse; and what restores better and faster counts."""
    table = table_of([27.0, 26.0, 27.0, 27.5], [[4.0, 1.0, 12.0, 8.0]])
    one = regret_of(table, [0, 2, 3], "other", 0)
    assert one.worst_times == pytest.approx(3)
    assert one.times == pytest.approx(3 ** (1 / 3))


def test_a_front_of_other_photographs_may_lose_less_than_nothing():
    """Network 0 was chosen, and network 1 turned out better."""
    table = table_of([26.0, 27.0], [[4.0, 4.0]])
    assert regret_of(table, [1], "other", 0, own=[0]).share < 0
    assert regrets(table, [np.array([0])])[0].share == 0


def test_a_network_that_does_not_run_somewhere_gives_back_the_blurred_picture_there():
    table = table_of([27.0, 26.0], [[4.0, 4.0], [np.nan, 8.0]])
    one = regret_of(table, [0], "d0", 1)
    assert one.share == 1
    assert np.isnan(one.times)
    assert portable(table, 1).nets == (1,)


class TestPortable:
    def test_one_set_for_two_that_want_others(self):
        """Of one network half is lost somewhere, with a third that is 8 ms on both a quarter; two lose nothing."""
        third = table_of([27.0, 27.0, 27.0], [[4.0, 16.0, 8.0], [16.0, 4.0, 8.0]])
        found = portable(third, 1, among=[0, 1, 2])
        assert (found.nets, found.exact) == ((2,), True)
        assert found.worst == pytest.approx(0.25)
        assert found.shares == pytest.approx((0.25, 0.25))
        assert portable(third, 2, among=[0, 1, 2]).nets == (0, 1)
        assert [one.worst for one in by_size(SWAPPED, 5)] == pytest.approx([0.5, 0])

    def test_a_network_that_changes_nothing_is_left_out(self):
        table = table_of([27.0, 26.0], [[4.0, 8.0], [4.0, 8.0]])
        assert portable(table, 2, among=[0, 1]).nets == (0,)

    def test_what_is_on_no_front_may_be_the_best_for_all(self):
        """It is second on each device, and each first one is last on another."""
        times = [[1.0, 1.0, 8.0], [1.0, 8.0, 1.0]]
        one = portable(table_of([29.5, 30.0, 30.0], times), 1)
        assert one.nets == (0,)

    @given(TABLES, st.integers(1, 3))
    @settings(max_examples=60, deadline=None)
    def test_no_other_set_of_so_many_has_a_lesser_worst(self, made, size):
        table = table_of(*made)
        whole = [table.area(i, table.front(i)) for i in range(len(table.devices))]
        if not any(whole):
            with pytest.raises(UserError, match="no front"):
                portable(table, size)
            return
        worst = [
            max(1 - table.area(i, some) / whole[i] for i in range(len(whole)) if whole[i])
            for some in itertools.combinations(range(len(table.nets)), min(size, len(table.nets)))
        ]
        assert portable(table, size).worst == pytest.approx(min(worst), abs=1e-9)

    def test_where_there_are_too_many_sets_it_grows_one_and_exchanges(self, monkeypatch):
        rng = np.random.default_rng(3)
        psnr = rng.uniform(26, 31, 14)
        table = table_of(psnr, 2 ** (psnr - 26 + rng.normal(0, 0.7, (4, 14))))
        exact = portable(table, 3)
        monkeypatch.setattr(regret, "MOST_SETS", 0)
        grown = portable(table, 3)
        assert (exact.exact, grown.exact) == (True, False)
        assert exact.worst <= grown.worst + 1e-12 <= exact.worst + 0.02

    def test_a_size_of_none_is_refused(self):
        with pytest.raises(UserError, match=r"search\.portable=0"):
            portable(SWAPPED, 0)
