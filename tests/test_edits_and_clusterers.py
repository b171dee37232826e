"""The experiment of edits and clusterers: its one command runs, and what is told of it is in its tables."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
HERE = ROOT / "experiments" / "08_edits_and_clusterers"
TEXTS = (HERE / "README.md", ROOT / "docs" / "edits.md", ROOT / "docs" / "clusterers.md")


@pytest.mark.slow  # six runs in processes of their own
def test_the_one_command_runs(tmp_path):
    words = [sys.executable, str(HERE / "run.py"), "--quick", "--work", str(tmp_path)]
    subprocess.run(words, check=True, cwd=tmp_path, capture_output=True)
    table = pd.read_csv(tmp_path / "results.csv")
    assert list(table) == list(pd.read_csv(HERE / "results.csv"))
    assert set(table["edit"]) == {"untouched", "value_norm", "augment"}
    assert table.groupby("edit")["clusterer"].nunique().eq(2).all()
    plain = table[table["edit"] == "untouched"]
    assert (plain["delta_acc"] == 0).all(), "nothing was edited"
    against = pd.read_csv(tmp_path / "clusterers.csv")
    assert set(against["data"]) == {"digits", "planted digits"}
    assert (against.loc[against["clusterer"] == "kmeans", "acc_over_kmeans_low"] <= 0).all()
    costs = pd.read_csv(tmp_path / "cost.csv")  # of so few images they are noise
    assert costs[["data", "edit"]].to_numpy().tolist() == [["planted digits", "value_norm"]]
    assert (tmp_path / "figure.png").stat().st_size > 5_000


def test_one_setting_of_each_was_tried_and_nothing_chosen_by_labels():
    table = pd.read_csv(HERE / "results.csv")
    assert set(table["settings_tried"]) == {1}
    assert set(table["selection"]) == {"fixed"}
    assert not table.duplicated(["data", "edit", "clusterer"]).any()
    assert table.groupby("data")["images"].unique().map(len).eq(1).all()


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_what_is_told_is_in_the_tables(path):
    """Deltas are written as `+.123` beside their clusterer's column; scores as `.123`."""
    rows = pd.read_csv(HERE / "results.csv"), pd.read_csv(HERE / "clusterers.csv")
    there = {f"{value:.3f}".replace("0.", ".", 1) for table in rows for name in table
             if re.search(r"acc|nmi|share", name) for value in table[name].dropna().abs()}  # fmt: skip
    told = path.read_text(encoding="utf-8").partition("## Measured")[2]
    said = re.findall(r"[+-]?(\.\d{3})\b", told)
    assert len(said) >= 10
    assert [value for value in said if not any(abs(float(value) - float(one)) < 0.0011 for one in there)] == []


@pytest.mark.parametrize("path", TEXTS[:2], ids=lambda path: path.stem)
def test_what_is_told_of_a_pass_is_in_its_table(path):
    """Ratios are written as `0.12`."""
    costs = pd.read_csv(HERE / "cost.csv")
    assert set(costs["data"]) == {"planted digits", "emoji, DINOv2-S"}
    assert (costs["least"] <= costs["passes"]).all()
    assert (costs["passes"] <= costs["most"]).all()
    there = {f"{value:.2f}" for value in costs[["passes", "with_diagnostics"]].to_numpy().flat}
    said = re.findall(r"(?<![.\d])(\d\.\d\d)\b", path.read_text(encoding="utf-8").partition("## Measured")[2])
    assert len(said) >= 8
    assert [value for value in said if value not in there] == []
