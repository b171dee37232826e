"""Settings of the clock: what they may be, and that the files say the same."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
import yaml

from itae.base.errors import UserError
from itae.portable.clock.measure import Measure

CONF = Path(__file__).parents[2] / "conf" / "portable" / "measure"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": 8}, "measure.size=8 must be a whole number of at least 16 and at most 8,192."),
        ({"size": 192.0}, "measure.size=192.0 must be"),
        ({"threads": 0}, "measure.threads=0 must be a whole number of at least 1."),
        ({"rounds": 1}, "measure.rounds=1 must be a whole number of at least 2."),
        ({"rounds": True}, "measure.rounds=True must be"),
        ({"budget_s": 0}, "measure.budget_s=0 must be a number of seconds above 0."),
        ({"budget_s": "4m"}, "measure.budget_s='4m' must be"),
        ({"max_split_half": 0}, "measure.max_split_half=0 must be a number above 0 and at most 1."),
        ({"max_split_half": 5}, "measure.max_split_half=5 must be"),
        ({"statistic": "median"}, "measure.statistic='median' is not one of auto, cpu_min, wall_min."),
        ({"statistic": "cpu"}, "Did you mean"),
        ({"statistic": "cpu_min", "threads": 2}, "measure.statistic=cpu_min adds up what measure.threads=2 threads do"),
        ({"warmup": 0}, "measure.warmup=0 must be a whole number of at least 1."),
        ({"settle": -1}, "measure.settle=-1 must be a whole number of at least 0."),
        ({"wait": 1}, "measure.wait=1 must be true or false."),
    ],
)
def test_what_cannot_be_meant_is_told_in_a_sentence(options, said):
    with pytest.raises(UserError) as error:
        Measure(**options)
    assert said in str(error.value)


def test_more_threads_than_cpus_are_told_once_it_is_to_run():
    with pytest.raises(
        UserError, match=r"measure.threads=9999 are more than the CPUs for this process; .* at most \d+"
    ):
        Measure(threads=9999).check()
    Measure().check()


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_files_name_every_option(path):
    options = yaml.safe_load(path.read_text())
    assert options.pop("_target_") == "itae.clock.Measure"
    assert options.keys() == {field.name for field in dataclasses.fields(Measure)}
    made = Measure(**options)
    assert path.stem != "default" or made == Measure()


def test_there_are_three_of_them():
    assert sorted(os.listdir(CONF)) == ["default.yaml", "demo.yaml", "quick.yaml"]
