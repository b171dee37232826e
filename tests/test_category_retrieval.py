"""The experiment on the benchmarks of metric learning, on miniatures in their official layouts."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pandas as pd
import pytest
from retrieval_sets import cars196, cub200, inshop, sop

HERE = Path(__file__).parents[1] / "experiments" / "category_retrieval"
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
