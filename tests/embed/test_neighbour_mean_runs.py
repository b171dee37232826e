"""``edit=neighbour_mean`` and ``detector=lof`` from the command line: one pass, one table, and what a run says."""

from __future__ import annotations

import json

import numpy as np
import pytest

from itae import load_run
from itae.edits.local_outlier import LocalOutlierFactor
from itae.results import rows as collect_rows
from itae.results.find import find_results
from itae.results.table import read_table

SMALL = ("backbone=digits_vit_artifacts", "tracker=none", "dataset.limit=100", "clusterer.seeds=2")


def result_of(tmp_path):
    newest = max(tmp_path.glob("outputs/runs/*/result.json"), key=lambda path: path.stat().st_mtime)
    return json.loads(newest.read_text()), load_run(newest.parent)


def test_a_run_says_what_was_flagged_as_one_of_attention_does(itae_, tmp_path):
    status, out, err = itae_(*SMALL, "detector=lof", "edit=neighbour_mean", "layers=last2", "runtime.report=false")
    assert status == 0, err
    text = " ".join(out.split())
    assert "LocalOutlierFactor(rule=absolute, threshold=2.0" in text
    assert "> NeighbourMean(strength=1.0) in blocks 4,5" in text
    assert "share of patches flagged, by block: 4: " in text
    assert "of the CLS token on them: " in text
    result, run = result_of(tmp_path)
    assert result["artifact_rate"] == {"4": 3 / 64, "5": 0}, "three are planted in each image, and gone in block 5"
    paid = result["layers"][0]
    assert paid["cls_attention_before"] > 0.5 > 0.1 > paid["cls_attention_after"] > 0
    assert not np.array_equal(run.baseline.vectors, run.edited.vectors)
    assert run.edited.diagnostics["flagged_at"].shape == (2, 64)
    assert run.edited.diagnostics["example_mask"].any()
    status, out, err = itae_(
        *SMALL, "detector=lof", "edit=neighbour_mean", "layers=last2", "runtime.report=false", "attenuator=fade"
    )
    assert status == 0, err
    assert "all cached" in out, "the attenuator is not read"


@pytest.mark.slow
def test_where_all_around_are_flagged_it_is_said_and_rows_are_taken_with_it(itae_, tmp_path, images_seen):
    every = ("detector=residual_norm", "detector.rule=absolute", "detector.threshold=0", "edit=neighbour_mean")
    status, out, err = itae_(*SMALL, *every)
    assert status == 0, err
    assert "In 100 (image, block) pairs some flagged patch had flagged neighbours alone and stayed." in " ".join(
        out.split()
    )
    _, run = result_of(tmp_path)
    assert np.array_equal(run.baseline.vectors, run.edited.vectors) or np.allclose(
        run.baseline.vectors, run.edited.vectors, atol=1e-5
    )
    some = ("detector=residual_norm", "detector.rule=quantile", "detector.quantile=.4", "edit=neighbour_mean")
    counts = []
    for limit in (60, 100):
        status, _, err = itae_(*SMALL, *some, f"dataset.limit={limit}")
        assert status == 0, err
        counts.append(result_of(tmp_path)[0]["layers"][0]["left_alone"])
    assert images_seen[-1][0] <= 40, "the first sixty are there"
    assert 0 < counts[0] <= counts[1] < 100, counts
    status, _, err = itae_(*SMALL, *some, "paths.cache=other")
    assert status == 0, err
    assert result_of(tmp_path)[0]["layers"][0]["left_alone"] == counts[1], "exact, whatever entries rows are from"


@pytest.mark.slow
def test_a_sweep_over_edits_is_one_pass_and_a_table_tells_them_apart(itae_, tmp_path, images_seen):
    words = ("edit=attention,neighbour_mean", "detector=lof,value_norm", "control=none,random", "runtime.report=false")
    status, _, err = itae_("-m", *words, *SMALL)
    assert status == 0, err
    assert sum(count for count, _ in images_seen) == 100, "each image once"
    assert {edits for _, edits in images_seen} == {9}, "the untouched model and eight edits"
    table, damaged, _ = read_table(find_results([tmp_path / "outputs" / "sweeps"]), tmp_path)
    assert not damaged
    rows = collect_rows.science(table[table["status"] == "ok"])
    ours = rows[rows["edit"] == "neighbour_mean"]
    assert ours[["attenuator", "attenuator.strength", "attenuator.queries"]].isna().all(axis=None)
    assert sorted(ours["detector"]) == ["local_outlier_factor"] * 2 + ["value_norm"] * 2
    assert set(ours["layers"]) == {"last"}
    assert rows[rows["edit"] == "attention"]["attenuator"].notna().all()
    rates = {
        (row["edit._target_"], row["detector._target_"]): row["artifact_rate"]
        for _, row in table.iterrows()
        if row["control._target_"].endswith("NoControl")
    }
    assert len(set(rates.values())) == 2, "in the first edited block both edits flag the same"


@pytest.mark.slow
def test_thresholds_are_fitted_and_kept_for_both_edits_of_one_block(itae_, tmp_path):
    words = (*SMALL, "detector=lof", "detector.rule=bimodal", "detector.calibration_images=60", "runtime.report=false")
    fits = []
    for edit in ("attention", "neighbour_mean"):
        status, _, err = itae_(*words, f"edit={edit}")
        assert status == 0, err
        result, _ = result_of(tmp_path)
        fits.append(result["fits"])
        assert result["artifact_rate"]["5"] == pytest.approx(3 / 64, rel=0.05)
    assert fits[0] == fits[1]
    status, _, err = itae_("calibrate", "paper.json", *words, "edit=neighbour_mean", "layers=last2")
    assert status == 0, err
    file = ("detector.calibration=paper.json", "layers=last2")
    status, _, err = itae_(*words, *file, "edit=neighbour_mean")
    assert status == 0, err
    assert "were fitted under another" not in err
    status, _, err = itae_(*words, *file, "edit=attention")
    assert status == 0, err
    assert "were fitted under another attenuator or other layers, or another edit" in " ".join(err.split())


def test_it_is_said_where_all_other_patches_are_neighbours(itae_):
    words = ("dataset.limit=20", "clusterer.seeds=1", "runtime.report=false", "runtime.diagnostics=false")
    status, out, err = itae_(*SMALL, *words, "detector=lof", "detector.neighbours=63")
    assert status == 0, err
    assert "detector.neighbours=63: an image has 64 patches, so all others are neighbours" in " ".join(out.split())
    assert LocalOutlierFactor(neighbours=62).caveat(64) is None


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("edit=neighbour_mean", "edit.strength=2"), "edit.strength=2"),
        (("edit=neighbour_mean", "detector.scope=head"), "detector.scope=head: edit=neighbour_mean replaces tokens"),
        (("edit=neighbour_mean", "control=mean_value"), "control=mean_value changes what is done to the attention"),
        (("detector=lof", "detector.neighbours=0"), "detector.neighbours=0"),
        (("detector=lof", "detector.scope=head"), "detector.scope='head'"),
    ],
)
def test_mistakes_are_told_before_any_work(itae_, words, told):
    status, _, err = itae_(*SMALL, *words)
    assert status == 2
    assert told in " ".join(err.split())
