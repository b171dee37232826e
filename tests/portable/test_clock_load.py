"""What a machine says of itself, and what of that is None elsewhere."""

from __future__ import annotations

import json
import os
import platform

import psutil
import pytest

from itae.portable.clock import load as module
from itae.portable.clock.load import load, machine, others


def test_it_is_plain_and_knows_this_machine():
    said = json.loads(json.dumps({"machine": machine(), "load": load()}))
    assert said["machine"]["cpus"] == os.cpu_count()
    assert 1 <= said["machine"]["cpus_allowed"] <= os.cpu_count()
    assert said["machine"]["cpu"]
    assert len(said["load"]["load_1_5_15"]) == 3
    assert said["load"]["busy_s"] > 0


def test_cpus_of_arm_tell_their_features(monkeypatch, tmp_path):
    (tmp_path / "cpuinfo").write_text(
        "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm\n\nModel\t\t: Raspberry Pi 5\n"
    )
    (tmp_path / "governor").write_text("performance\n")
    monkeypatch.setattr(module, "_CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(module, "_GOVERNOR", tmp_path / "governor")
    said = machine()
    assert said["cpu"] == "Raspberry Pi 5"
    assert said["flags"] == ["asimd", "asimddp", "i8mm"]
    assert said["governor"] == "performance"


@pytest.mark.parametrize("error", [AttributeError, NotImplementedError, OSError])
def test_what_a_system_does_not_tell_is_none(monkeypatch, tmp_path, error):
    def silent():
        raise error

    for name in ("_CPUINFO", "_GOVERNOR"):
        monkeypatch.setattr(module, name, tmp_path / "none")
    for name in ("cpu_freq", "sensors_temperatures"):
        monkeypatch.setattr(psutil, name, silent)
    said = machine() | load()
    assert said["cpu"] == (platform.processor() or platform.machine())
    assert (said["flags"], said["governor"], said["frequency_mhz"], said["temperature_c"]) == ([], None, None, None)


def test_what_others_did_is_what_was_done_without_ones_own():
    before = {"clock_s": 10.0, "busy_s": 100.0, "own_s": 1.0}
    assert others(before, {"clock_s": 20.0, "busy_s": 117.0, "own_s": 9.0}) == 0.9
    assert others(before, {"clock_s": 20.0, "busy_s": 103.0, "own_s": 9.0}) == 0, "clocks of the system are coarse"
    assert others(before, before) is None
