"""The experiments for who has data and a GPU: on miniatures, and what their tables make of runs."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pandas as pd
import pytest
from official import write_cifar10, write_cifar100, write_stl10, write_tiny

from itae.app.compose import compose, plain_config

HERE = Path(__file__).parents[1] / "experiments"
SMALL = ["backbone=digits_vit", "clusterer.seeds=2", "clusterer.restarts=1", "tracker=none", "runtime.report=false"]
RECIPES = ("paper", "label_free")


def script(name):
    spec = importlib.util.spec_from_file_location(f"experiments_{name}", HERE / name / "fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def fill():
    return script("leaderboard")


@pytest.mark.slow  # eight jobs
def test_the_leaderboard_runs_on_miniatures_of_its_data_sets(itae_, fill, tmp_path, capsys):
    data = tmp_path / "data"
    write_cifar10(data, 24)
    write_cifar100(data, 24)
    write_stl10(data, 24)
    write_tiny(data)
    words = ["experiment=leaderboard", f"paths.data={data}", "clusterer.k=2", *SMALL]
    words += ["detector.calibration_images=4"]
    status, _, err = itae_(*words, "hydra.sweep.dir=all")
    assert status == 0, err
    results = [json.loads(file.read_text()) for file in sorted(Path("all").glob("*/result.json"))]
    assert [result["settings"]["dataset"]["name"] for result in results] == [
        name for name in ("cifar10", "cifar100", "stl10", "tiny_imagenet") for _ in RECIPES
    ]
    assert {result["status"] for result in results} == {"ok"}
    assert fill.main(["all", "--out", "told"]) == 0
    assert capsys.readouterr().out.count("under digits_vit is not in the table") == 8


@pytest.mark.slow  # four jobs
def test_models_of_several_sizes_are_told_beside_their_controls(itae_, tmp_path):
    words = ["experiment=model_size", "backbone=digits_vit,digits_vit_artifacts", *SMALL[1:], "dataset.limit=60"]
    status, _, err = itae_(*words, "detector.calibration_images=40", "hydra.sweep.dir=all")
    assert status == 0, err
    assert script("model_size").main(["all", "--out", "told"]) == 0
    table = pd.read_csv("told/results.csv").set_index("backbone")
    assert table.loc["digits_vit_artifacts", "flagged"] > 0.01
    assert table.loc["digits_vit", "flagged"] < 0.001
    tails = table["v_most_over_p50"]
    assert tails["digits_vit_artifacts"] > 1.5 * tails["digits_vit"], "the planted tokens are the tail"
    assert table[["delta_acc", "random_acc", "resid_post_p99_over_p50"]].notna().all(axis=None)


def result_of(recipe, data="cifar100", acc=0.8, **more):
    words = [f"recipe={recipe}", f"dataset={data}", "backbone=dinov2_b14", "backbone.pool=cls"]
    plain = plain_config(compose([*words, *(f"{key}={value}" for key, value in more.items())]))
    sides = {
        side: {metric: {"mean": value, "std": 0.01} for metric in ("acc", "nmi", "ari")}
        for side, value in (("baseline", 0.7), ("edited", acc), ("delta", acc - 0.7))
    }
    sides["delta"]["acc"]["interval"] = [0.05, 0.15]
    return {
        "status": "ok",
        "error": None,
        "selection": "fixed",
        "settings": plain,
        "artifact_rate": {"11": 0.02},
        "images": {"n": 10},
        "norms": {},
        **sides,
    }


def write(folder, *results):
    for i, result in enumerate(results):
        (folder / str(i)).mkdir(parents=True)
        (folder / str(i) / "result.json").write_text(json.dumps(result))
    return str(folder)


def test_published_scores_stand_in_columns_of_their_own(fill, tmp_path):
    assert fill.main(["--out", str(tmp_path)]) == 0
    table = pd.read_csv(tmp_path / "results.csv")
    pd.testing.assert_frame_equal(table, pd.read_csv(HERE / "leaderboard" / "results.csv"))
    assert len(table) == 4 * 4 * 2
    assert table["published_acc"].notna().sum() == 4
    assert table.filter(regex="ours|untouched|delta").isna().all(axis=None), "nobody has run it"


def test_a_run_fills_its_row_and_others_are_left_out(fill, tmp_path, capsys):
    runs = write(
        tmp_path / "runs", result_of("paper"), result_of("label_free", acc=0.9), result_of("paper", "digits"),
        result_of("paper", **{"dataset.limit": 100}), result_of("paper", layers="last2"),
        result_of("paper", clusterer="spherical_kmeans"), result_of("paper", **{"clusterer.k": 20}),
        result_of("paper", **{"backbone.image_size": 112}), result_of("paper", task="knn"),
        result_of("paper", "stl10", **{"clusterer.k": 10}),
    )  # fmt: skip
    assert fill.main([runs, "--out", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    for why in ("digits under", "it is not all of cifar100", "its edit is none of", "it is not k-means on the CLS"):
        assert told.count(why) == 1
    assert told.count("it is not 100 clusters of images of 224 pixels") == 2
    assert told.count("it is no clustering") == 1
    table = pd.read_csv(tmp_path / "results.csv").set_index(["data", "backbone", "recipe"])
    assert table["ours_acc"].notna().sum() == 3, "ten clusters are the classes of STL-10"
    row = table.loc[("cifar100", "dinov2_b14", "paper")]
    assert (row["ours_acc"], row["untouched_acc"], row["published_acc"], row["delta_acc_low"]) == (
        0.8,
        0.7,
        0.6502,
        0.05,
    )
    assert pd.isna(table.loc[("cifar100", "dinov2_b14", "label_free"), "published_acc"])


def test_two_runs_for_one_row_are_refused(fill, tmp_path):
    with pytest.raises(SystemExit, match="are both cifar100, dinov2_b14, paper; give one of them"):
        fill.main([write(tmp_path / "runs", result_of("paper"), result_of("paper", acc=0.9)), "--out", str(tmp_path)])


def test_sizes_are_told_of_one_edit_and_each_run_once(tmp_path, capsys):
    fill, none, random = script("model_size"), result_of("label_free"), result_of("label_free", control="random")
    others = [result_of("label_free", control="mean_value"), result_of("label_free", task="knn")]
    assert fill.main([write(tmp_path / "a", none, random, *others), "--out", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert told.count("its control is none of NoControl, Random") == told.count("it is no clustering") == 1
    assert len(pd.read_csv(tmp_path / "results.csv")) == 1
    with pytest.raises(SystemExit, match=r"are both cifar100, .*, NoControl; give one of them"):
        fill.main([write(tmp_path / "b", none, none), "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="are of different edits; give the runs of one of them"):
        fill.main([write(tmp_path / "c", none, result_of("paper", control="random")), "--out", str(tmp_path)])
