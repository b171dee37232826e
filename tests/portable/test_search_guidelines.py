"""What a search says in sentences: nothing that its fronts and regrets don't hold."""

from __future__ import annotations

import copy
import re

import pytest
from scipy.stats import binom
from search_results import DEVICES, result

from itae.portable.search.guidelines import COMMON, guidelines
from itae.portable.search.result import CSV, flat, texts
from itae.portable.search.space import Space

CHOICES = Space().choices()
PART = re.compile(r"(\d+) of (\d+) have (\w+): (\w+) \((\d+)% of the space\)")


@pytest.fixture(scope="module")
def found():
    return result()


def told(found, kind):
    return [one for one in guidelines(found, CHOICES) if one["kind"] == kind]


def test_what_a_front_has_in_common_is_counted(found):
    said = {one["about"]: one["text"] for one in told(found, "front")}
    assert said
    for device in DEVICES:
        specs = [found["nets"][name]["spec"] for name in found["devices"][device]["front"]]
        parts = {part[2]: part for part in PART.findall(said.get(device, ""))}
        for option, values in CHOICES.items():
            most = max(sum(spec[option] == value for spec in specs) for value in values)
            chance = binom.sf(most - 1, len(specs), 1 / len(values))
            expected = len(specs) >= 3 and most >= COMMON * len(specs) and chance <= 0.05
            assert (option in parts) == expected, (device, option)
            if expected:
                count, n, _, value, share = parts[option]
                assert int(count) == sum(str(spec[option]) == value for spec in specs) == most
                assert int(n) == len(specs)
                assert int(share) == round(100 / len(values))


def test_a_front_of_few_networks_has_nothing_in_common(found):
    few = copy.deepcopy(found)
    for of in few["devices"].values():
        of["front"] = of["front"][:2]
    assert not told(few, "front")
    assert not told(few, "disagree")


def test_where_fronts_differ_is_said(found):
    other = copy.deepcopy(found)
    for device, up in (("ort", "nearest"), ("ncnn", "transposed")):
        for i, name in enumerate(other["devices"][device]["front"]):
            new = f"{device}{i}"
            other["nets"][new] = {**other["nets"][name], "spec": {**other["nets"][name]["spec"], "up": up}}
            other["devices"][device]["front"][i] = new
    (text,) = (one["text"] for one in told(other, "disagree") if " up:" in one["text"])
    assert re.search(r"nearest on [^;.]*ort", text)
    assert re.search(r"transposed on [^;.]*ncnn", text)


def test_the_most_and_the_least_regret_are_named(found):
    most, least = (one["text"] for one in told(found, "regret"))
    pairs = [one for one in found["regret"] if one["best_of"] != one["on"]]
    for text, pick in ((most, max), (least, min)):
        one = pick(pairs, key=lambda each: each["share"])
        assert f"on {one['on']} what is best on {one['best_of']}" in text
        assert f"{one['share']:.0%}".replace("-0%", "0%") in text


def test_where_nothing_is_lost_that_is_said_once(found):
    other = copy.deepcopy(found)
    for one in other["regret"]:
        one["share"] = 0.004 if one["best_of"] != one["on"] else 0.0
    assert [one["text"] for one in told(other, "regret")] == [
        "What is best on one device loses next to nothing on any other."
    ]


def test_the_portable_set_is_told_where_it_loses_most(found):
    (text,) = (one["text"] for one in told(found, "portable"))
    worst = max(found["portable"]["regret"], key=lambda each: each["share"])
    assert f"for all {len(DEVICES)} devices" in text
    assert text.endswith(f"{worst['share']:.0%} of a device's own area, on {worst['on']}.")


def test_a_gain_that_may_be_nothing_says_so(found):
    other = copy.deepcopy(found)
    gains = [of["hypervolume"]["gain"] for of in other["devices"].values()]
    gains[0] |= {"value": 0.03, "low": -0.02, "high": 0.08}
    gains[1] |= {"value": 0.2, "low": 0.1, "high": 0.3}
    gains[2] |= {"value": None, "low": None, "high": None}
    first, second, third, _ = (one["text"] for one in told(other, "gain"))
    assert "+3% area" in first
    assert "(-2% to +8% over photographs, which may be nothing)" in first
    assert "(+10% to +30% over photographs)" in second
    assert "no area at all" in third


def test_a_gain_that_rounds_to_nothing_is_none_of_minus_nothing(found):
    none = copy.deepcopy(found)
    none["devices"]["ort"]["hypervolume"]["gain"] = {"value": -0.001, "low": -0.002, "high": 0.001}
    (text,) = (one["text"] for one in told(none, "gain") if one["about"] == "ort")
    assert "+0%" in text
    assert "-0%" not in text


def test_one_device_has_no_regret():
    one = result(("ort",))
    assert not told(one, "regret")
    assert not told(one, "portable")


def test_the_table_has_a_line_for_each_network_on_each_device(found):
    rows = flat({"search": found})
    assert len(rows) == sum(len(of["nets"]) for of in found["devices"].values())
    lines = texts({"search": found})[CSV].splitlines()
    assert len(lines) == len(rows) + 1
    on = [row["net"] for row in rows if row["device"] == "ort" and row["on_front"]]
    assert set(on) == set(found["devices"]["ort"]["front"])
