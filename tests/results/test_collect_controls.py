"""Edits against their controls: from real runs, and from results written by hand."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp

from itae.app.collect import main as collect
from itae.base.errors import UserError
from itae.look.view import load_run
from itae.measure.cluster.clustered import Clustered
from itae.measure.intervals import by_group, image_values, mean_interval
from itae.measure.scores import scores
from itae.results.clusterings import CLUSTERINGS, read_clusterings, write_clusterings
from itae.results.controls import against_random, print_controls
from itae.results.find import find_results
from itae.results.rows import choose
from itae.results.shown import shown_of
from itae.results.table import read_table


@pytest.fixture
def swept(itae_, tmp_path):
    status, _, err = itae_(
        "-m", "experiment=controls", "backbone=digits_vit_artifacts", "dataset.limit=300", "detector.side=high",
        "attenuator=scale", "layers=all", "detector.calibration_images=64", "clusterer.seeds=3", "clusterer.restarts=1",
        "tracker=none", "runtime.report=false", f"hydra.sweep.dir={tmp_path / 'sweep'}",
    )  # fmt: skip
    assert not status, err
    return tmp_path / "sweep"


@pytest.mark.slow
def test_the_controls_of_a_planted_model(swept, capsys):
    runs = [load_run(swept / str(i)).result for i in range(4)]
    edit, random, other, mean = (run["delta"]["nmi"]["mean"] for run in runs)
    assert edit > 0.2
    assert abs(random) < 0.02
    assert abs(other) < 0.02
    assert mean > 0.1
    rates = [run["artifact_rate"] for run in runs]
    assert rates[1]["3"] == pytest.approx(rates[0]["3"], abs=1e-3), "as many in the first block with artifacts"
    assert any(rates[0].values())
    collect([str(swept)])
    out = capsys.readouterr().out
    assert "against as many random patches" in out
    assert "of 1 settings tried" in out, "controls are no settings to choose from"
    table = pd.read_parquet(swept / "results.parquet")
    want = np.subtract(*(runs[i]["delta"]["nmi"]["per_seed"] for i in (0, 1)))
    assert table.loc[0, "against_random.nmi.mean"] == pytest.approx(want.mean())
    assert table.loc[0, "against_random.nmi.low"] <= want.mean() <= table.loc[0, "against_random.nmi.high"]
    assert table.loc[1:, "against_random.nmi.mean"].isna().all()
    assert table.loc[0, "against_random.over"] == "images and seeds"
    whole = image_values(*([getattr(read_clusterings(load_run(swept / "0")), name)
                            for name in ("labels", "assignments", "knn_correct")]))  # fmt: skip
    for name in ("acc", "nmi", "ari", "purity", "knn"):
        assert whole[name].mean() == pytest.approx(runs[0]["edited"][name]["mean"]), name
        assert table.loc[0, f"against_random.{name}.low"] <= table.loc[0, f"against_random.{name}.mean"]
    assert np.isnan(table.loc[0, "against_random.ami.low"])
    assert "over what the last column names" in " ".join(out.split())


def written(folder, **changes):
    """Write the result of a run of two seeds, as far as `collect` reads it."""
    control, seed, k, acc = (changes.get(name) for name in ("control", "seed", "k", "acc"))
    side = {"acc": {"mean": 0.5, "std": 0.0, "per_seed": [0.5, 0.5]}, "seeds": [0, 1]}
    settings = {"backbone": {"model_name": "m"}, "dataset": {"name": "d"},
                "detector": {"_target_": "itae.detect.VectorNorm", "vector": "key", "rule": "mad", "k": k}}  # fmt: skip
    if control:
        settings["control"] = {"_target_": f"itae.controls.{control}"} | ({} if seed is None else {"seed": seed})
    result = {
        "status": "ok", "error": None, "selection": "fixed", "settings": settings, "baseline": side, "edited": side,
        "delta": {"acc": {"mean": float(np.mean(acc)), "std": 0.0, "per_seed": acc}}, "artifact_rate": {"0": 0.1},
        "bimodality": None, "images": {"n": 5, "classes": 2}, "timing": {"total_s": 1.0},
    }  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(result))


def test_draws_are_averaged_and_a_control_is_of_its_own_settings_alone(tmp_path):
    written(tmp_path / "0", control="NoControl", k=3.0, acc=[0.3, 0.5])
    written(tmp_path / "1", control="Random", seed=0, k=3.0, acc=[0.1, 0.1])
    written(tmp_path / "2", control="Random", seed=1, k=3.0, acc=[0.3, 0.1])
    written(tmp_path / "3", control="Random", seed=0, k=5.0, acc=[9.0, 9.0])
    written(tmp_path / "4", k=7.0, acc=[0.1, 0.2])  # from before there were controls
    table, damaged, shown = read_table(find_results([tmp_path]), tmp_path)
    assert not damaged
    found = against_random(table, tmp_path)
    assert found["against_random.acc.mean"].tolist()[0] == pytest.approx(0.25)
    assert found["against_random.acc.mean"].isna().tolist() == [False, True, True, True, True]
    assert choose(found, "acc", shown) == [0], "the control with 9.0 is no candidate"


IMAGES, CLASSES = 120, 3


@pytest.fixture
def kept(tmp_path):
    """Return a function that writes a run of labelled images, two of them the same, with what it said of each."""
    draw = np.random.default_rng(0)
    labels = draw.integers(0, CLASSES, IMAGES)
    digests = draw.integers(0, 256, (IMAGES, 32)).astype(np.uint8)
    digests[1] = digests[0]

    def write(name, share, digests=digests, **changes):
        per_seed = np.where(draw.random((4, IMAGES)) < share, draw.integers(0, CLASSES, (4, IMAGES)), labels)
        right = draw.random(IMAGES) > share
        written(tmp_path / name, k=3.0, acc=[0.0] * 4, **changes)
        file = tmp_path / name / "result.json"
        result = json.loads(file.read_text())
        each = [scores(labels, one) for one in per_seed]
        result["edited"] = {m: {"mean": np.mean(v), "std": 0.0, "per_seed": v} for m in each[0]
                            if (v := [one[m] for one in each])} | {"seeds": [0, 1, 2, 3]}  # fmt: skip
        result["edited"]["knn"] = {"mean": right.mean(), "std": None, "per_seed": [right.mean()]}
        result["delta"] = {m: v for m, v in result["edited"].items() if m != "seeds"}  # of a baseline with 0
        file.write_text(json.dumps(result))
        edited = SimpleNamespace(ids=list(map(str, range(IMAGES))), labels=labels, digests=digests)
        write_clusterings(tmp_path / name / CLUSTERINGS, edited, Clustered({}, per_seed[0], per_seed, right))
        return image_values(labels, per_seed, right), labels, per_seed, right

    return write


def shown(table):
    with redirect_stdout(io.StringIO()) as out:
        print_controls(table, "acc", shown_of({}), Path("nowhere"))
    return " ".join(out.getvalue().split())


def told(tmp_path):
    return against_random(read_table(find_results([tmp_path]), tmp_path)[0], tmp_path)


def test_the_interval_is_over_the_same_images_seeds_and_draws(tmp_path, kept):
    edit, labels, per_seed, right = kept("0", 0.2, control="NoControl")
    draws = [kept(str(seed + 1), 0.4, control="Random", seed=seed)[0] for seed in range(3)]
    found = told(tmp_path)
    assert found["against_random.over"].tolist()[0] == "images, seeds and draws"
    groups = np.array([0, 0, *range(1, IMAGES - 1)])
    for name in ("acc", "nmi", "ari", "purity", "knn"):
        low, high = mean_interval(by_group(edit[name] - np.stack([draw[name] for draw in draws]), groups))
        assert found[f"against_random.{name}.low"][0] == pytest.approx(low)
        assert found[f"against_random.{name}.high"][0] == pytest.approx(high)
        assert found[f"against_random.{name}.mean"][0] == pytest.approx((low + high) / 2)
    assert np.isnan(found["against_random.ami.low"][0])
    assert "images, seeds and draws" in shown(found)
    kept_as = read_clusterings(load_run(tmp_path / "0"))
    np.testing.assert_array_equal(kept_as.labels, labels)
    np.testing.assert_array_equal(kept_as.assignments, per_seed)
    np.testing.assert_array_equal(kept_as.knn_correct, right)
    np.testing.assert_array_equal(kept_as.groups[:2], kept_as.groups[0])


@pytest.mark.parametrize("lacking", ["gone", "torn", "of another run", "a pickle", "of other seeds"])
def test_what_is_not_kept_is_told_and_the_interval_is_students_over_seeds(tmp_path, kept, lacking):
    kept("0", 0.2, control="NoControl")
    kept("1", 0.4, control="Random", seed=0)
    whole, path = told(tmp_path), tmp_path / "1" / CLUSTERINGS
    if lacking == "gone":
        path.unlink()
    elif lacking == "torn":
        path.write_bytes(path.read_bytes()[:-40])
    elif lacking == "of another run":
        path.write_bytes((tmp_path / "0" / CLUSTERINGS).read_bytes())
    else:
        parts = dict(np.load(path))
        parts |= {"labels": np.array([print])} if lacking == "a pickle" else {"assignments": parts["assignments"][1:]}
        np.savez(path, **parts)
    with pytest.raises(UserError, match="run it again"):
        read_clusterings(load_run(tmp_path / "1"))
    found = told(tmp_path)
    each = np.subtract(*(load_run(tmp_path / name).result["delta"]["acc"]["per_seed"] for name in "01"))
    want = ttest_1samp(each, 0).confidence_interval()
    assert found["against_random.acc.low"][0] == pytest.approx(want.low)
    assert found["against_random.acc.high"][0] == pytest.approx(want.high)
    assert found["against_random.acc.mean"][0] == pytest.approx(whole["against_random.acc.mean"][0])
    assert found["against_random.over"][0] == "seeds"
    assert np.isnan(found["against_random.knn.low"][0])
    assert "says nothing of other images" in shown(found)
    assert "says nothing of other images" not in shown(whole)


def test_of_other_images_than_the_edits_there_is_no_interval(tmp_path, kept):
    kept("0", 0.2, control="NoControl")
    kept("1", 0.4, control="Random", seed=0, digests=np.zeros((IMAGES, 32), np.uint8))
    found = told(tmp_path)
    assert np.isnan(found["against_random.acc.low"][0])
    assert "the images have changed between the two runs" in shown(found)


def test_without_controls_the_table_is_as_it_was(tmp_path):
    written(tmp_path / "0", k=3.0, acc=[0.3, 0.5])
    table, _, _ = read_table(find_results([tmp_path]), tmp_path)
    pd.testing.assert_frame_equal(against_random(table, tmp_path), table)
