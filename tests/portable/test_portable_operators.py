"""The table of a study of operators, and what is said of it: nothing that the table doesn't hold."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_results import GMAC, NAMES, TIMES, cell, result_of
from scipy.stats import spearmanr
from toy_devices import Toy

from itae.portable.cells.asked import Asked
from itae.portable.cells.pictures import picture
from itae.portable.cells.ratio import ratio_of, usable
from itae.portable.cells.ready import CALIBRATION, Ready
from itae.portable.clock.measure import Measure
from itae.portable.clock.statistic import FEWEST_ROUNDS
from itae.portable.devices.device import InProcess
from itae.portable.nets.unet import UNet
from itae.portable.operators import guidelines as said
from itae.portable.operators.correlations import FEWEST, MACS, spearman
from itae.portable.operators.rows import rows_of
from itae.portable.operators.study import operators
from itae.portable.operators.table import as_csv, flat, percent

ON = re.compile(r"([+-]\d+) % on (\w+) \(([+-]\d+) to ([+-]\d+) %\)")


def cells_of(result):
    return {(row["name"], device): one for row in result["rows"] for device, one in row["cells"].items()}


def told(result, kind):
    return [one for one in result["guidelines"] if one["kind"] == kind]


# --- the table


def test_a_ratio_is_of_the_cells_and_its_interval_holds_it():
    found = cells_of(result_of())
    one = found["prelu", "openvino"]
    assert one["ratio"] == pytest.approx(46.2 / 26.9)
    assert one["low"] == pytest.approx(0.98 * one["ratio"])
    assert one["high"] == pytest.approx(1.02 * one["ratio"])
    assert found["base", "openvino"]["ratio"] == 1


def test_an_interval_is_no_narrower_than_the_split_half_errors_allow():
    ratio = ratio_of(cell(12.0, 0.03), cell(10.0, 0.1), (1.2, 1.199, 1.201))
    assert ratio["low"] == pytest.approx(1.2 / 1.1)
    assert ratio["high"] == pytest.approx(1.2 * 1.1)


@pytest.mark.parametrize(
    ("one", "base", "interval"),
    [
        (cell(12.0, steady=False), cell(10.0), (1.1, 1.3)),
        (cell(12.0), cell(10.0, steady=False), (1.1, 1.3)),
        (cell(12.0, wrong="a stale one"), cell(10.0), (1.1, 1.3)),
        (cell(12.0), cell(10.0), (0.0, np.inf)),
    ],
)
def test_without_two_steady_cells_or_enough_rounds_there_is_no_interval(one, base, interval):
    found = ratio_of(one, base, (1.2, *interval))
    assert (found["ratio"], found["low"], found["high"], found["noise"]) == (pytest.approx(1.2), None, None, None)


def test_the_csv_has_each_cell_whole_and_says_why_one_is_missing():
    result = result_of(TIMES | {"ort": (30.2, 28.2, 25.8, 37.7, None, 13.8, 74.4)}, wrong=[("prelu", "ncnn")])
    rows = {(row["change"], row["device"]): row for row in csv.DictReader(io.StringIO(as_csv(result)))}
    assert rows.keys() == cells_of(result).keys()
    assert float(rows["kernel_5", "ncnn"]["ms"]) == 181.6
    assert float(rows["kernel_5", "ncnn"]["ratio"]) == 181.6 / 39.6
    assert rows["gelu", "ort"]["ms"] == ""
    assert "Erf" in rows["gelu", "ort"]["reason"]
    assert rows["prelu", "ncnn"]["reason"] == "it is a stale one"
    assert {row["device"] for row in flat(result)} == {*TIMES, "ort"}


@pytest.mark.parametrize(("ratio", "words"), [(1.72, "+72 %"), (0.45, "-55 %"), (1.0, "+0 %"), (0.999, "+0 %")])
def test_a_ratio_in_percent(ratio, words):
    assert percent(ratio) == words


# --- rank correlations


def test_a_rank_correlation_is_scipys_and_its_interval_holds_it():
    rng = np.random.default_rng(3)
    a = rng.random(15)
    b = a + 0.4 * rng.random(15)
    found = spearman(list(a), list(b))
    assert found["rho"] == pytest.approx(spearmanr(a, b).statistic)
    assert found["low"] < found["rho"] < found["high"]
    assert spearman(list(a), list(-a))["rho"] == pytest.approx(-1)


def test_the_interval_of_a_rank_correlation_is_what_drawing_again_gives():
    """A slow twin: scipy's own correlation of each draw."""
    rng = np.random.default_rng(5)
    a, b = rng.random(12), rng.random(12)
    drawn = np.random.default_rng(0).integers(12, size=(2000, 12))
    each = [spearmanr(a[rows], b[rows]).statistic for rows in drawn[:300]]
    from itae.portable.operators import correlations

    before, correlations.DRAWS = correlations.DRAWS, 300
    try:
        found = spearman(list(a), list(b))
    finally:
        correlations.DRAWS = before
    low, high = np.percentile(each, (2.5, 97.5))
    assert (found["low"], found["high"]) == (pytest.approx(low), pytest.approx(high))


def test_cells_that_are_unsteady_or_wrong_take_no_part_in_a_correlation():
    times = {"a": (1, 2, 3, 4, 5, 6, 7), "b": (1, 2, 3, 4, 5, 6, 0.1)}
    (whole,) = [pair for pair in result_of(times)["correlations"] if MACS not in pair["between"]]
    assert (whole["rho"] < 1, whole["n"]) == (True, 7)
    for how in ("unsteady", "wrong"):
        found = result_of(times, **{how: [("kernel_5", "b")]})["correlations"]
        (pair,) = [pair for pair in found if MACS not in pair["between"]]
        assert (pair["rho"], pair["n"]) == (pytest.approx(1), 6)


def test_few_networks_or_one_value_have_no_correlation():
    assert spearman([1.0] * FEWEST, list(range(FEWEST)))["rho"] is None
    assert spearman(list(range(FEWEST - 1)), list(range(FEWEST - 1)))["rho"] is None


# --- guidelines


def test_what_the_notes_have_is_said():
    """Their table: PReLU costs in OpenVINO and saves in ncnn; a depthwise network is slower in int8."""
    result = result_of()
    (prelu,) = [one["text"] for one in told(result, "disagree") if one["about"] == "prelu"]
    assert prelu == (
        "Devices disagree about prelu: -9 % on ncnn (-11 to -7 %), but +80 % on openvino_int8 (+76 to +83 %), "
        "+72 % on openvino (+68 to +75 %), +3 % on torch (+1 to +5 %)."
    )
    (depthwise,) = [one["text"] for one in told(result, "macs") if one["about"] == "depthwise"]
    assert "MACs (-75 %)" in depthwise
    assert "+15 % on openvino_int8" in depthwise
    assert any("openvino_int8 worst" in one["text"] for one in told(result, "ranks"))
    assert {one["about"] for one in told(result, "cost")} == {*NAMES} - {"base"}


def test_nothing_is_said_of_differences_within_the_noise():
    flat_times = {"a": (10.0, 10.05, 9.97, 10.02, 10.0, 10.01, 9.99), "b": (20.0, 20.1, 19.9, 20.0, 20.1, 20.0, 19.9)}
    result = result_of(flat_times, gmac=(1,) * 7)
    assert {one["kind"] for one in result["guidelines"]} <= {"cost", "ranks"}
    for one in told(result, "cost"):
        assert not ON.search(one["text"]), one
        assert "no difference beyond the noise of 2.0 % on a and b" in one["text"]


def test_a_cell_without_a_say_is_named_and_in_no_other_sentence():
    result = result_of(unsteady=[("prelu", "openvino")], wrong=[("kernel_5", "torch")])
    noise = " ".join(one["text"] for one in told(result, "noise"))
    assert "Unsteady, and without a say here: 1 of 28 cells (prelu on openvino)." in noise
    assert "Wrong output, and without a say here: 1 of 28 cells (kernel: 5 on torch)." in noise
    for one in result["guidelines"]:
        if one["about"] == "prelu":
            assert not re.search(r"on openvino\b", one["text"])
        if one["about"] == "kernel_5":
            assert not re.search(r"on torch\b", one["text"])


def test_too_few_rounds_are_said_to_be():
    result = result_of()
    result["clock"]["rounds"] = FEWEST_ROUNDS - 1
    assert any("7 rounds are too few" in one["text"] for one in said.guidelines(result))
    assert not any("too few" in one["text"] for one in result["guidelines"])


TIME = st.floats(0.5, 500)


@settings(max_examples=60)
@given(data=st.data(), devices=st.integers(1, 4), rows=st.integers(2, 7), width=st.floats(0.001, 0.3))
def test_no_sentence_claims_what_the_table_does_not_hold(data, devices, rows, width):
    """Whatever the times: each number that is said is in the table, and so is each cost, saving and rank."""
    names = ("ort", "torch", "ncnn", "mnn")[:devices]
    draw = st.lists(TIME, min_size=rows, max_size=rows)
    times = {name: data.draw(draw) for name in names}
    gmac = data.draw(st.lists(st.floats(0.05, 20), min_size=rows, max_size=rows))
    every = [(NAMES[i], name) for i in range(rows) for name in names]
    unsteady = data.draw(st.lists(st.sampled_from(every), max_size=3, unique=True))
    result = result_of(times, gmac, width=width, unsteady=unsteady)
    found = cells_of(result)
    for one in result["guidelines"]:
        check_numbers(one, found)
        check_claim(one, found, result)


def check_numbers(one, found):
    """Each ``+72 % on ort (+68 to +75 %)`` is that cell's, which is steady as its base is."""
    for ratio, device, low, high in ON.findall(one["text"]):
        cell_ = found[one["about"], device]
        assert usable(cell_)
        assert usable(found["base", device])
        told_ = [round(100 * (cell_[key] - 1)) for key in ("ratio", "low", "high")]
        assert told_ == [int(ratio), int(low), int(high)]


def check_claim(one, found, result):
    numbers = [(device, found[one["about"], device]) for _, device, *_ in ON.findall(one["text"])]
    if one["kind"] == "disagree":
        saves, costs = one["text"].split(", but ")
        assert all(found[one["about"], device]["high"] < 1 / 1.01 for _, device, *_ in ON.findall(saves))
        assert all(found[one["about"], device]["low"] > 1.01 for _, device, *_ in ON.findall(costs))
        assert ON.search(saves)
        assert ON.search(costs)
    elif one["kind"] == "free and dear":
        free, dear = one["text"].split("; and more than 25 %")
        assert all(found[one["about"], device]["high"] < said.FREE for _, device, *_ in ON.findall(free))
        assert all(found[one["about"], device]["low"] > said.DEAR for _, device, *_ in ON.findall(dear))
    elif one["kind"] == "macs":
        macs = {row["name"]: row["macs"] for row in result["rows"]}
        share = macs[one["about"]] / macs["base"]
        assert f"MACs ({percent(share)})" in one["text"]
        more = "takes more time" in one["text"]
        assert all(c["low"] > said.MISLED * share if more else c["high"] < share / said.MISLED for _, c in numbers)
        assert numbers
    elif one["kind"] == "cost":
        assert all(c["low"] > 1.01 or c["high"] < 1 / 1.01 for _, c in numbers), "within the noise nothing costs"
    elif one["kind"] == "ranks":
        check_ranks(one["text"], result["correlations"])


def check_ranks(text, pairs):
    """Each correlation that is said is one of the table, and the one that is called least or most alike is that."""
    known = [pair for pair in pairs if pair["rho"] is not None]
    devices = [pair["rho"] for pair in known if MACS not in pair["between"]]
    counted = [pair["rho"] for pair in known if MACS in pair["between"]]
    values = [float(value) for value in re.findall(r"rho (-?\d\.\d\d)", text)]
    if "least alike" in text:
        assert values == [pytest.approx(min(devices), abs=0.0051)]
    elif "Most alike" in text:
        assert values == [pytest.approx(max(devices), abs=0.0051)]
    else:
        assert values[0] == pytest.approx(min(counted), abs=0.0051)
        assert values[-1] == pytest.approx(max(counted), abs=0.0051)


def test_the_check_of_claims_can_fail():
    result = result_of()
    found = cells_of(result)
    one = next(one for one in told(result, "disagree") if one["about"] == "prelu")
    with pytest.raises(AssertionError):
        check_numbers(one | {"text": one["text"].replace("+72 %", "+73 %")}, found)
    with pytest.raises(AssertionError):
        check_claim(one | {"text": one["text"].replace(", but ", ", ").replace(": ", ", but ", 1)}, found, result)


# --- pictures


def test_pictures_are_of_their_seed_and_number_and_no_two_are_alike():
    one = picture(0, 1, (48, 64))
    assert (one.shape, one.dtype) == ((1, 3, 48, 64), np.float32)
    assert (one.min(), one.max()) == (0, 1)
    assert np.array_equal(one, picture(0, 1, (48, 64)))
    for other in (picture(0, 2, (48, 64)), picture(1, 1, (48, 64))):
        assert abs(one - other).mean() > 0.05
    assert GMAC[0] == 1.66


def test_the_noise_of_several_devices_is_the_largest():
    quiet, loud = ({"ratio": 1.0, "low": 1 - by, "high": 1 + by, "noise": by} for by in (0.02, 0.07))
    (text,) = said._cost("gelu", {"quiet": quiet, "loud": loud}, 1.0)
    assert text == "gelu: no difference beyond the noise of 7.0 % on quiet and loud; MACs +0 %."


@pytest.mark.parametrize(
    ("facts", "elsewhere"),
    [
        ({"provider": "CPU"}, False),
        ({"provider": "CUDA"}, True),
        ({"provider": "CPU of a phone", "elsewhere": True}, True),
    ],
)
def test_the_clock_is_told_the_budget_and_whether_it_runs_elsewhere(facts, elsewhere):
    device = SimpleNamespace(facts=lambda: facts, budget_db=70.0)
    asked = SimpleNamespace(devices={"mine": device})
    (one,) = Ready(runners={("base", "mine"): SimpleNamespace()}).cells(asked)
    assert (one.net, one.device, one.budget_db, one.elsewhere) == ("base", "mine", 70.0, elsewhere)


@dataclass(frozen=True)
class Recording(Toy):
    """A device that keeps what it is calibrated on, and what it runs on."""

    calibrated: set = field(default_factory=set)
    run: set = field(default_factory=set)

    def convert(self, net, size, folder, calibration):
        self.calibrated.update(one.tobytes() for one in calibration)
        super().convert(net, size, folder, calibration)

    def open(self, folder, threads):
        runner = super().open(folder, threads)
        return InProcess(runner.call, before=lambda picture: self.run.add(picture.tobytes()) or picture)


def test_what_a_device_is_calibrated_on_is_never_what_it_is_held_against(tmp_path):
    toy, rows = Recording(), rows_of(UNet(channels=2, depth=1, blocks=1), ["skip_add"])
    asked = Asked({"toy": toy}, {}, Measure(size=16, rounds=8, budget_s=30, max_split_half=1), tmp_path, 0, rows)
    operators(asked, lambda _: None)
    assert len(toy.calibrated) == CALIBRATION
    assert len(toy.run) >= 8
    assert not toy.calibrated & toy.run


def test_what_is_given_to_calibrate_on_is_what_a_device_gets(tmp_path):
    device, given = Recording(), [np.full((1, 3, 16, 16), value, np.float32) for value in (0.2, 0.7)]
    measure = Measure(size=16, rounds=2, budget_s=1, warmup=1, settle=0)
    rows = rows_of(UNet(channels=2, depth=1, blocks=1), ["skip_add"])
    operators(Asked({"toy": device}, {}, measure, tmp_path, 0, rows, given), lambda _: None)
    assert device.calibrated == {one.tobytes() for one in given}
