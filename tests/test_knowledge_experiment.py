"""The experiment on what a memory is worth: it runs, and what its README and the manual print is what came out."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
HERE = ROOT / "experiments" / "06_knowledge"
TEXTS = [path.read_text(encoding="utf-8") for path in (HERE / "README.md", ROOT / "docs" / "worth.md")]
INTERVAL = re.compile(r"([+-]?\.\d{3}), ([+-]?\.\d{3}) to ([+-]?\.\d{3})")


@pytest.fixture
def script(monkeypatch):
    """Import the experiment with its neighbours on the path, and none of them left there."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "run", raising=False)
    spec = importlib.util.spec_from_file_location("experiments_knowledge", HERE / "knowledge.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    for name in ("run", "drawing"):
        sys.modules.pop(name, None)


def folder_of_pictures(top, digits=4, each=4):
    from PIL import Image
    from sklearn.datasets import load_digits

    bunch = load_digits()
    for n in range(digits):
        for i, pixels in enumerate(bunch.images[bunch.target == n][: 2 * each]):
            path = top / str(n) / f"glyph{i // 2}-{('google', 'twitter')[i % 2]}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((pixels * 15).astype("uint8")).save(path)
    return top


@pytest.mark.slow  # eleven sweeps
def test_it_runs_on_pictures_of_two_vendors(script, itae_, tmp_path, monkeypatch):
    ran = []

    def start(words):
        small = [word for word in words if not word.startswith(("backbone", "layers"))]
        status, _, err = itae_("-m", *small, "backbone=digits_vit_artifacts", "layers=all", "task.draws=2"
                               if "task=editing" in words else "seed=0")  # fmt: skip
        assert status == 0, err
        ran.append(words)

    monkeypatch.setattr(script, "start", start)
    pictures = folder_of_pictures(tmp_path / "PICTURES")
    words = ["--quick", "--checkpoint", "W", "--images", str(pictures), "--work", str(tmp_path / "work")]
    assert script.main([*words, "--out", str(tmp_path / "out")]) == 0
    assert len(ran) == 6 + 3 + 2 * 3 * 2
    for name in ("accuracy", "repairs", "edits"):
        made, there = (pd.read_csv(folder / f"{name}.csv") for folder in (tmp_path / "out", HERE))
        assert set(made["metric"]) == set(there["metric"])
        assert set(made["data"]) == set(there["data"])
    assert (tmp_path / "out" / "figure.png").stat().st_size > 10_000
    vendors = tmp_path / "work" / "vendors"
    assert len(list(vendors.glob("google/*/*"))) == len(list(vendors.glob("twitter/*/*"))) == 16


def test_intervals_that_are_printed_are_those_of_the_results():
    rows = pd.read_csv(HERE / "edits.csv")
    there = {tuple(row) for row in rows[["against_mean", "against_low", "against_high"]].dropna().to_numpy().tolist()}
    for text in TEXTS:
        printed = [tuple(map(float, one)) for one in INTERVAL.findall(text)]
        assert len(printed) >= 18
        for one in printed:
            assert any(all(abs(a - b) < 0.00051 for a, b in zip(one, row, strict=True)) for row in there), one


def test_shares_of_wrong_rows_that_are_printed_are_those_of_the_results():
    rows = pd.read_csv(HERE / "repairs.csv")
    rows = rows[rows["metric"] == "precision_at_wrong"]
    there = {
        tuple(f"{value:.2f}"[1:] for value in some.sort_values("rate")[side])
        for _, some in rows.groupby(["data", "corruption", "repair"])
        for side in ("baseline", "edited")
    }
    for text in TEXTS:
        printed = re.findall(r"\| \**(\.\d\d) (\.\d\d) (\.\d\d)\**(?= \|)", text)
        assert len(printed) >= 6
        assert [one for one in printed if one not in there] == []


def test_accuracies_that_are_printed_are_those_of_the_results():
    rows = pd.read_csv(HERE / "accuracy.csv")
    there = {tuple(f"{value:.3f}"[1:] for value in row)
             for row in rows[rows["metric"] == "top_1"][["baseline", "edited"]].to_numpy().tolist()}  # fmt: skip
    printed = re.findall(r"\| (\.\d{3}) \| (\.\d{3}) \| (?:[+-]\.\d{3} to|nothing)", TEXTS[0])
    assert len(printed) == 6
    assert [one for one in printed if one not in there] == []
