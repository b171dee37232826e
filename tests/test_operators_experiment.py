"""The experiment of operators: its one command runs, and what is told of it is in its table."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from operator_results import result_of

from itae.portable.operators.table import flat

ROOT = Path(__file__).parents[1]
HERE = ROOT / "experiments" / "09_operators"
TEXTS = (HERE / "README.md", ROOT / "docs" / "operators.md")
ON = re.compile(r"([+-]\d+) % on `?(\w+)`?")


def not_in(table: pd.DataFrame, text: str) -> list[str]:
    """Return what a text tells that a table hasn't: differences as ``+72 % on ort``, times as ``30.2 ms``."""
    steady = table[table["steady"].astype("boolean").fillna(False)]
    there = {(round(100 * (ratio - 1)), device) for ratio, device in zip(steady["ratio"], steady["device"], strict=True)
             if ratio == ratio}  # fmt: skip
    times = {f"{ms:.1f}" for ms in table["ms"].dropna()}
    told = [f"{percent} % on {device}" for percent, device in ON.findall(text) if (int(percent), device) not in there]
    return told + [f"{ms} ms" for ms in re.findall(r"(\d+\.\d) ms\b", text) if ms not in times]


def test_what_a_table_has_not_is_found():
    table = pd.DataFrame(flat(result_of(unsteady=[("gelu", "ncnn")])))
    assert not_in(table, "PReLU: +72 % on openvino, -9 % on `ncnn`; the base takes 35.1 ms.") == []
    wrong = "PReLU: +73 % on openvino, +72 % on ncnn, -3 % on ncnn; the base takes 35.2 ms."
    assert not_in(table, wrong) == ["+73 % on openvino", "+72 % on ncnn", "-3 % on ncnn", "35.2 ms"]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.parent.name)
def test_what_is_told_is_in_the_table(path):
    told = path.read_text(encoding="utf-8").partition("## Measured")[2]
    if not (HERE / "operators.csv").exists():
        assert not told.strip(), "numbers are told of a table that isn't there"
        return
    assert len(ON.findall(told)) >= 5
    assert not_in(pd.read_csv(HERE / "operators.csv"), told) == []


@pytest.mark.slow  # a process of its own that exports and times for half a minute
def test_the_one_command_runs(tmp_path):
    pytest.importorskip("onnxruntime", reason="could not import onnxruntime, one of the two devices")
    words = [sys.executable, str(HERE / "run.py"), "--quick", "--work", str(tmp_path / "kept")]
    words += ["measure.wait=true", "measure.budget_s=5", f"paths.cache={tmp_path / 'cache'}"]
    subprocess.run(words, check=True, cwd=tmp_path, capture_output=True)
    table = pd.read_csv(tmp_path / "kept" / "operators.csv")
    assert set(table["device"]) == {"torch", "ort"}
    assert set(table["change"]) == {"base", "up_pixel_shuffle", "skip_add", "depthwise"}
    assert (table["ms"] > 0).all()
    assert (table["parity_db"] >= 90).all()
    assert (tmp_path / "kept" / "ratios.png").stat().st_size > 5_000
    assert "guideline" not in (tmp_path / "kept" / "guidelines.md").read_text()
    assert (tmp_path / "kept" / "machine.json").exists()
