"""Experiments of feedback that need data of their own: benchmarks in miniature, and pictures of two vendors."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from retrieval_sets import cars196, cub200, inshop, sop

ROOT = Path(__file__).parents[1]
HERE, FEEDBACK = ROOT / "experiments" / "category_retrieval", ROOT / "experiments" / "07_feedback"
MANUAL = ("digits", "pairs, one label", "pairs, same left, other right", "emoji", "emoji, other vendor")
"""What the columns of the manual's table are of."""
# A model that needs no download, and pages that leave something of so few images.
SMALL = ["backbone=digits_vit", "backbone.pool=cls", "layers=last2", "detector.rule=quantile", "detector.quantile=.1",
         "task.judged=[2,3]", "tracker=none", "runtime.report=false"]  # fmt: skip


@pytest.fixture
def fill():
    spec = importlib.util.spec_from_file_location("experiments_category_retrieval", HERE / "fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow  # eight jobs
def test_it_runs_on_all_four_and_stands_beside_what_was_published(itae_, fill, tmp_path):
    data = tmp_path / "data"
    cub200(data)
    cars196(data / "cars196", "car_ims")
    sop(data)
    inshop(data)
    words = ["-m", "experiment=category_retrieval", f"paths.data={data}", *SMALL]
    assert itae_(*words, "hydra.sweep.dir=all/three")[0] == 0
    gallery = ["dataset=inshop", "dataset.split=query", "task.gallery={split: gallery}"]
    assert itae_(*words, *gallery, "hydra.sweep.dir=all/inshop")[0] == 0
    assert fill.main(["all", "--out", "told"]) == 0
    table = pd.read_csv("told/results.csv")
    ours = table[table["from"] == "here"]
    assert set(ours["data"]) == {"cub200", "cars196", "sop", "inshop"}
    assert set(ours["control"]) == {"NoControl", "Random"}
    assert {"similarity", "nearest", "none", "svm"} <= set(ours["method"])
    before = ours[(ours["method"] == "similarity") & (ours["side"] == "baseline")]
    assert (before.groupby("data")["r_at_1"].nunique() == 1).all(), "the untouched side is the same in all jobs"
    assert itae_("collect", "all")[0] == 0
    assert any("against_random" in name for name in pd.read_csv("all/results.csv").columns)


def test_what_was_published_is_told_as_such(fill, tmp_path):
    assert fill.main(["--out", str(tmp_path)]) == 0
    table = pd.read_csv(tmp_path / "results.csv")
    pd.testing.assert_frame_equal(table, pd.read_csv(HERE / "results.csv"))
    assert not (table["from"] == "here").any(), "nobody has run it"
    assert table["r_at_1"].between(0, 1).all()
    assert set(table["side"]) == {"trained on it", "frozen"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"status": "failed"}, "it is failed"),
        ({"kind": "knn"}, "it is one of task=knn"),
        ({"settings": {"dataset": {"name": "digits", "split": "all", "limit": None}}}, "digits is not in the table"),
        ({"settings": {"dataset": {"name": "sop", "split": "train", "limit": None}}}, "it is of split train"),
        ({"settings": {"dataset": {"name": "inshop", "split": "query", "limit": 5}}}, "limit 5"),
    ],
)
def test_what_is_no_run_of_it_is_left_out(fill, change, told):
    run = {"status": "ok", "kind": "feedback", "settings": {"dataset": {"name": "sop", "split": "test", "limit": None}}}
    assert fill.why_not(run) is None
    assert told in fill.why_not(run | change)


@pytest.fixture
def script(monkeypatch):
    """Import the experiment on rules with its neighbours on the path, and none of them left there."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("run", "drawing"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    spec = importlib.util.spec_from_file_location("experiments_feedback", FEEDBACK / "feedback.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    for name in ("run", "drawing"):
        sys.modules.pop(name, None)


def pictures_of_two_vendors(top):
    from sklearn.datasets import load_digits

    bunch = load_digits()
    for n in range(4):
        for i, pixels in enumerate(bunch.images[bunch.target == n][:14]):
            path = top / str(n) / f"glyph{i // 2}-{('google', 'twitter')[i % 2]}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((pixels * 15).astype("uint8")).save(path)
    return top


@pytest.mark.slow  # a sweep of two
def test_a_folder_of_pictures_is_searched_for_its_classes_and_for_those_of_another_vendor(script, itae_, tmp_path):
    pictures = pictures_of_two_vendors(tmp_path / "pictures")
    attributes = script._attributes(pictures, tmp_path / "work")
    words = ["-m", "experiment=feedback_emoji", f"dataset.root={pictures}", f"task.attributes={attributes}"]
    status, _, err = itae_(*words, "backbone=digits_vit", "backbone.checkpoint=pkg://itae/weights/digits_vit.safetensors",
                           "tracker=none", "runtime.report=false", "hydra.sweep.dir=sweep")  # fmt: skip
    assert status == 0, err
    users = {
        json.loads(file.read_text())["settings"]["user"]["_target_"] for file in tmp_path.glob("sweep/*/result.json")
    }
    assert users == {"itae.users.Category", "itae.users.Conditioned"}


@pytest.mark.slow  # nine sweeps
def test_the_experiment_on_rules_runs_on_pictures(script, itae_, tmp_path, monkeypatch):
    def start(words):
        small = [word for word in words if not word.startswith(("backbone", "user.noise", "layers"))]
        status, _, err = itae_("-m", *small, "backbone=digits_vit", "layers=none", "user.noise=0,0.2")
        assert status == 0, err

    monkeypatch.setattr(script, "start", start)
    pictures = pictures_of_two_vendors(tmp_path / "pictures")
    words = ["--quick", "--checkpoint", "W", "--images", str(pictures), "--work", str(tmp_path / "work")]
    assert script.main([*words, "--out", str(tmp_path / "out")]) == 0
    rows = pd.read_csv(tmp_path / "out/feedback.csv")
    assert set(rows["data"]) == {*script.SETTINGS, *script.PICTURES}
    assert set(rows["judged"]) == {10, 30}
    assert (tmp_path / "out/feedback.png").stat().st_size > 10_000


def test_the_readme_and_the_manual_print_what_came_out(script):
    rows = pd.read_csv(FEEDBACK / "feedback.csv")
    page = (FEEDBACK / "README.md").read_text(encoding="utf-8")
    tables = [table for table in page.split("\n\n") if table.startswith("| rule | ") and " ± " in table]
    assert len(tables) >= 5
    for table in tables:
        head = [cell.strip() for cell in table.splitlines()[0].strip("|").split("|")][1:]
        datas = list(dict.fromkeys(cell.rpartition(",")[0] for cell in head))
        assert table == script.told(rows, datas)
    manual = (ROOT / "docs/search.md").read_text(encoding="utf-8")
    lines = [line for line in manual.splitlines() if re.match(r"\| `\w+` \| \.\d{3} / \.\d{3} \|", line)]
    assert len(lines) >= 8
    for line in lines:
        name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        told = rows[
            (rows["rule"] == name.strip("`"))
            & (rows["noise"] == 0)
            & (rows["side"] == "baseline")
            & (rows["judged"] == 10)
        ]
        some = told.set_index("data")
        each = [
            f"{some.loc[data, 'r_at_1']:.3f} / {some.loc[data, 'map_at_r']:.3f}".replace("0.", ".") for data in MANUAL
        ]
        assert cells == each
