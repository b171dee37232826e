"""The clock on devices whose times and faults are known."""

from __future__ import annotations

import itertools
import json
import math
import re
import time
from types import SimpleNamespace

import numpy as np
import pytest
from burners import Told, burn, busy, cell, measured, net, picture, work

from itae.portable.clock import rounds
from itae.portable.clock.measure import Measure
from itae.portable.clock.rounds import readings
from itae.portable.clock.statistic import compared, differs


def steady(seconds: float = 0.010) -> Told:
    return Told(lambda _: seconds)


@pytest.mark.slow
def test_known_times_are_recovered_under_load():
    """Two programs more than this one want CPUs; time by the wall would be off by half and more on two cores."""
    known = (0.002, 0.004, 0.008, 0.016)
    with busy(2):
        found, _ = measured([cell(burn(seconds), f"{seconds}") for seconds in known], settle=1)
    for seconds, reading in zip(known, found, strict=True):
        assert reading.statistic == "cpu_min"
        assert reading.ms == pytest.approx(1000 * seconds, rel=0.03)
        assert reading.steady
        assert reading.wrong is None


@pytest.mark.slow
def test_known_ratios_of_work_are_recovered_under_load():
    """How long a turn takes, nobody knows; 2 and 4 times as many take 2 and 4 times as long, within 3 %.

    The shortest takes 10 ms: of runs of 1 ms, what a cold cache adds is a twentieth.
    """
    turns = (1_000_000, 2_000_000, 4_000_000)
    with busy(2):
        found, _ = measured([cell(work(some), f"{some}") for some in turns], rounds=60, budget_s=240, settle=1)
    for (some, one), (more, other) in itertools.combinations(zip(turns, found, strict=True), 2):
        assert other.ms / one.ms == pytest.approx(more / some, rel=0.03)


@pytest.mark.slow  # it goes on until times are steady, which depends on what else the machine does
def test_of_equal_devices_none_differs():
    """At 99 %, two of six pairs would differ once in 700 times. Nothing is made up: times are this machine's."""
    found, _ = measured([cell(work(20_000), f"{i}") for i in range(12)], rounds=20, settle=1)
    pairs = [compared(a, b) for a, b in zip(found[::2], found[1::2], strict=True)]
    assert sum(pair.differs for pair in pairs) <= 1, pairs


@pytest.mark.slow  # it goes on until times are steady, which depends on what else the machine does
def test_what_differs_by_a_quarter_is_told_apart():
    found, _ = measured([cell(work(some), f"{some}") for some in (40_000, 50_000)], rounds=40, settle=1)
    assert differs(*found)


def test_what_one_leaves_behind_meets_all_others():
    """Whoever runs after `hot` takes half as long again: in a fixed order, that would always be the same one."""
    last = [""]

    def after(name):
        def seconds(_):
            slowed, last[0] = last[0] == "hot", name
            return 0.015 if slowed else 0.010

        return Told(seconds)

    names = ("hot", "a", "b", "c")
    found, _ = measured([cell(after(name), name) for name in names], rounds=40, max_split_half=1e-9)
    for one in found:
        assert one.ms == pytest.approx(10)
    slowed = [np.isclose(one.each_ms, 15) for one in found[1:]]
    assert all(5 <= some.sum() <= 20 for some in slowed), "each follows it in a quarter of all rounds"
    assert not any(differs(a, b) for a, b in itertools.combinations(found[1:], 2))


@pytest.mark.slow
def test_the_order_is_drawn_anew_by_the_seed():
    def orders(seed):
        ran: list[str] = []
        cells = [cell(Told(lambda _, name=name: ran.append(name) or 0.01), name) for name in "abcdef"]
        measured(cells, seed=seed, rounds=10, warmup=1)
        return [ran[i : i + 6] for i in range(6, len(ran), 6)]

    found = orders(0)
    assert len(found) == 10
    assert all(sorted(order) == list("abcdef") for order in found), "each cell once a round"
    assert len(set(map(tuple, found))) == 10
    assert found == orders(0)
    assert found != orders(1)


def first_again():
    kept: list[np.ndarray] = []

    def answer(of):
        kept.append(net("", of))
        return kept[0]

    return answer


def one_late():
    kept: list[np.ndarray] = []

    def answer(of):
        kept.append(net("", of))
        return kept[-2] if len(kept) > 1 else kept[-1]

    return answer


def third_again():
    """Remember by the last pixels of the picture, which are the same in all: a careless key of a cache."""
    count = itertools.count()
    kept: list[np.ndarray] = []

    def answer(of):
        if next(count) < 3:
            kept.append(net("", of))
            return kept[-1]
        return kept[2]

    return answer


@pytest.mark.parametrize("device", [first_again, one_late, third_again])
@pytest.mark.parametrize("budget_db", [90.0, None])
def test_an_output_of_an_earlier_picture_is_caught(device, budget_db):
    found, _ = measured([cell(Told(lambda _: 0.001, answer=device()), "quick", budget_db=budget_db), cell(steady())])
    assert "net on quick gave the output of picture" in found[0].wrong
    assert "stale" in found[0].wrong
    assert not found[0].steady
    assert (found[1].wrong, found[1].rounds) == (None, 10)


def test_equal_outputs_of_a_network_that_makes_all_pictures_equal_are_right():
    def grey(name, of):
        return np.full_like(of, 0.5)

    device = Told(lambda _: 0.01, answer=lambda of: grey("", of))
    found, _ = readings([cell(device)], Measure(), picture, grey, lambda _: None)
    assert found[0].wrong is None


@pytest.mark.parametrize(
    ("answer", "budget_db", "said"),
    [
        (lambda of: net("", of)[:, :, :8], 90.0, r"net on bad gave an array of shape \[1, 3, 8, 16\], where"),
        (lambda of: np.where(of > 0.99, np.nan, net("", of)), None, "net on bad gave values that are not finite"),
        (
            lambda of: net("", of) + np.float32(1e-3),
            90.0,
            "net on bad is 60.0 dB from the network for picture 0, where 90",
        ),
        (lambda of: net("", of)[:, ::-1], None, r"net on bad is \d+\.\d dB from the network for picture 0, where 15 "),
        (lambda of: of.fill(0) or net("", of), None, "dB from the network"),
        (lambda of: 1 / 0, 90.0, r"net on bad failed on picture 0 \(ZeroDivisionError: division by zero\)"),
    ],
)
def test_a_wrong_output_is_told_and_the_others_go_on(answer, budget_db, said):
    """The one before the last writes into the picture that it is given, which the others must not see."""
    bad = cell(Told(lambda _: 0.001, answer=answer), "bad", budget_db=budget_db)
    found, went = measured([bad, cell(steady(), "good"), bad, cell(steady(), "other")])
    for one in (found[0], found[2]):
        assert (one.rounds, one.steady) == (0, False)
        assert np.isnan([one.ms, one.wall_min_ms, one.p50_ms, one.split_half]).all()
    assert re.search(said, found[0].wrong), found[0].wrong
    assert [(one.rounds, one.wrong, one.parity_db) for one in found[1::2]] == [(10, None, 200), (10, None, 200)]
    assert went["rounds"] == 10


def test_one_that_fails_in_the_midst_is_named_and_the_others_go_on(caplog):
    def seconds(run):
        if run == 7:
            raise RuntimeError("Conv node\n  /up/conv1: no\t memory" + "!" * 1000)
        return 0.01

    cells = [cell(steady(), "a"), cell(Told(seconds), "tired"), cell(steady(), "b")]
    found, _ = measured(cells, rounds=12, warmup=2)
    assert found[1].rounds == 5
    assert not found[1].steady
    assert found[1].ms == pytest.approx(10), "what it had shown is told"
    told = "net on tired failed on picture 7 (RuntimeError: Conv node /up/conv1: no memory!!!"
    assert found[1].wrong.startswith(told)
    assert len(found[1].wrong) < 400
    assert told in caplog.text
    assert [found[0].rounds, found[2].rounds] == [12, 12]
    assert not differs(found[0], found[1])


def test_all_that_are_left_wrong_end_it():
    found, went = measured([cell(Told(lambda _: 1 / 0), "a")], budget_s=60)
    assert found[0].wrong
    assert went["rounds"] == 2


def test_a_keyboard_interrupt_is_no_fault_of_a_device():
    def stopped(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured([cell(Told(stopped))])


class Clock(SimpleNamespace):
    """A clock that goes on when a device runs, and only then."""

    now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds

    def runner(self, *seconds):
        def took(run):
            self.now += seconds[run % len(seconds)]
            return seconds[run % len(seconds)]

        return Told(took)


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(rounds, "time", made)
    return made


def test_cells_that_are_not_steady_are_marked_and_time_is_kept(clock):
    """Odd rounds 10 s, even ones 12: never steady. A round takes 20 or 22 s, and no pair fits into the last 30."""
    cells = [cell(clock.runner(10, 12), "odd"), cell(clock.runner(10), "even")]
    gone = []
    found, went = readings(cells, Measure(settle=0, budget_s=500), picture, net, gone.append)
    assert [one.steady for one in found] == [False, True]
    assert found[0].split_half == pytest.approx(0.2)
    assert found[1].split_half == 0
    assert [one.rounds for one in found] == [20, 20], "all cells have equally many"
    assert (went["rounds"], went["ended"], went["seconds"]) == (20, "budget", 462)
    assert sum(gone) == 462
    assert all(isinstance(one, int) and one > 0 for one in gone)


def test_rounds_go_on_until_halves_agree_twice(clock):
    """Two undisturbed runs, in rounds 13 and 16: the halves agree from there on."""
    rare = (1.5, 1.5) + (1.4,) + (1.2, 1.3) * 5 + (1.1,) + (1.0,) + (1.2, 1.2) + (1.0,) + (1.2,) * 50
    found, went = readings([cell(clock.runner(*rare))], Measure(settle=0), picture, net, lambda _: None)
    assert (went["ended"], went["rounds"]) == ("steady", 18)
    assert found[0].ms == 1000


def test_too_few_rounds_are_not_steady_however_near_they_are(clock):
    found, went = readings([cell(clock.runner(10))], Measure(settle=0, budget_s=75), picture, net, lambda _: None)
    assert (found[0].rounds, found[0].split_half, found[0].steady) == (4, 0, False)
    assert went["ended"] == "budget"


def test_two_rounds_are_made_whatever_the_budget_and_no_more_seconds_told_than_that(clock):
    gone = []
    found, _ = readings([cell(clock.runner(10))], Measure(settle=0, budget_s=5), picture, net, gone.append)
    assert found[0].rounds == 2
    assert sum(gone) == 5


def test_real_seconds_are_kept_to():
    began = time.monotonic()
    cells = [cell(Told(lambda run: time.sleep(0.01) or 1 + run % 2), f"{i}") for i in range(4)]
    _, went = measured(cells, budget_s=0.5)
    assert went["ended"] == "budget"
    assert went["rounds"] >= 2
    assert time.monotonic() - began < 2


def test_warm_up_counts_for_nothing():
    found, _ = measured([cell(Told(lambda run: (9.0, 0.001, 0.001)[run] if run < 3 else 0.010))], warmup=3)
    assert found[0].ms == found[0].p95_ms == pytest.approx(10)


def test_quantiles_are_of_the_wall():
    found, _ = measured([cell(Told(lambda _: 0.002, wall=lambda run: (run - 1) / 1000))], warmup=2, rounds=10)
    assert found[0].p50_ms == pytest.approx(5.5 + 0.0)
    assert found[0].p95_ms == pytest.approx(9.55)
    assert (found[0].wall_min_ms, found[0].cpu_min_ms, found[0].ms) == pytest.approx((1, 2, 2))


@pytest.mark.parametrize(
    ("options", "cpu", "elsewhere", "statistic"),
    [
        ({}, 0.002, False, "cpu_min"),
        ({"threads": 2}, 0.002, False, "wall_min"),
        ({"statistic": "wall_min"}, 0.002, False, "wall_min"),
        ({}, 0.002, True, "wall_min"),
        ({"statistic": "cpu_min"}, 0.002, True, "wall_min"),
        ({}, math.nan, False, "wall_min"),
    ],
)
def test_which_clock_tells(options, cpu, elsewhere, statistic):
    found, _ = measured([cell(Told(lambda _: cpu, wall=lambda _: 0.003), elsewhere=elsewhere)], **options)
    assert found[0].statistic == statistic
    assert found[0].ms == pytest.approx(2 if statistic == "cpu_min" else 3)
    assert set(found[0].each_ms) == {found[0].ms}


@pytest.mark.slow
def test_one_that_takes_more_threads_than_it_was_given_is_told():
    two = Told(lambda _: 0.019, wall=lambda _: 0.010)
    assert (
        measured([cell(two)])[0][0].wrong
        == "net on fake used 1.9 CPUs at once where measure.threads=1 allows one thread."
    )
    assert measured([cell(two)], threads=2)[0][0].wrong is None
    assert measured([cell(two, elsewhere=True)])[0][0].wrong is None


def test_before_each_timed_run_it_settles_on_another_picture():
    """What it remembers of that is of no use: the timed picture is new to it."""
    ran = []
    device = Told(
        lambda run: 9.0 if run % 2 else 0.01, answer=lambda of: ran.append(float(of[0, 0, 0, 0])) or net("", of)
    )
    found, _ = measured([cell(device)], settle=1, warmup=1)
    first = [float(picture(number)[0, 0, 0, 0]) for number in range(11)]
    assert ran == [first[0], *(one for pair in itertools.pairwise(first) for one in pair)]
    assert found[0].rounds == 10
    assert found[0].ms == pytest.approx(10)


def test_a_device_that_remembers_all_pictures_gains_nothing_by_settling():
    known: dict[bytes, np.ndarray] = {}
    was_known = []

    def answer(of):
        was_known.append(of.tobytes() in known)
        return known.setdefault(of.tobytes(), net("", of))

    found, _ = measured([cell(Told(lambda _: 0.001 if was_known[-1] else 0.01, answer=answer))], settle=1)
    assert found[0].ms == found[0].p95_ms == pytest.approx(10)


def test_the_network_itself_is_asked_once_a_picture():
    asked, shown = [], []

    def shows(number):
        shown.append(number)
        return picture(number)

    def expected(name, of):
        asked.append((name, float(of[0, 0, 0, 0])))
        return net(name, of)

    cells = [cell(steady(), device, name) for name in ("one", "other") for device in "abc"]
    readings(cells, Measure(warmup=1), shows, expected, lambda _: None)
    assert shown == list(range(11))
    assert len(asked) == len(set(asked)) == 22


def test_what_is_told_can_be_written_down():
    found, went = measured([cell(steady())])
    assert json.loads(json.dumps(went))["rounds"] == 10
    assert {"machine", "before", "after", "others_cpus", "seconds", "ended"} < went.keys()
    assert found[0].each_ms == (10.0,) * 10
