"""Edits against their controls: from real runs, and from results written by hand."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from itae.collect import main as collect
from itae.collect_controls import against_random
from itae.collect_rows import choose
from itae.collect_table import read_table
from itae.runs import find_results, load_run


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
    table, damaged = read_table(find_results([tmp_path]), tmp_path)
    assert not damaged
    found = against_random(table, tmp_path)
    assert found["against_random.acc.mean"].tolist()[0] == pytest.approx(0.25)
    assert found["against_random.acc.mean"].isna().tolist() == [False, True, True, True, True]
    assert choose(found, "acc") == [0], "the control with 9.0 is no candidate"


def test_without_controls_the_table_is_as_it_was(tmp_path):
    written(tmp_path / "0", k=3.0, acc=[0.3, 0.5])
    table, _ = read_table(find_results([tmp_path]), tmp_path)
    pd.testing.assert_frame_equal(against_random(table, tmp_path), table)
