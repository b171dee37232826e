"""``recipe=label_free`` in a run: found without labels, kept in a file, and held against its controls."""

from __future__ import annotations

import json

import numpy as np
import pytest

from itae.look.view import load_run

SMALL = ("recipe=label_free", "backbone=digits_vit_artifacts", "dataset.limit=60", "clusterer.seeds=2",
         "clusterer.restarts=1", "tracker=none", "runtime.report=false")  # fmt: skip


def one_run(itae_, path, *words):
    status, _, err = itae_(*SMALL, f"hydra.run.dir={path}", *words)
    assert not status, err
    return load_run(path)


@pytest.mark.slow
def test_a_run_flags_what_is_planted_and_takes_its_thresholds_from_a_file(itae_, tmp_path):
    fitted = one_run(itae_, tmp_path / "fitted")
    rates = [row["artifact_rate"] for row in fitted.result["layers"]]
    assert max(rates) == pytest.approx(3 / 64, rel=0.05), "three patches of each image are planted"
    status, _, err = itae_("calibrate", "paper.json", *SMALL)
    assert not status, err
    told = json.loads((tmp_path / "paper.json").read_text())
    assert told["detector"]["signals"] == ["key", "value"]
    taken = one_run(itae_, tmp_path / "taken", "detector.calibration=paper.json", "detector.signals=[value,key]")
    assert np.array_equal(fitted.edited.vectors, taken.edited.vectors)
    assert taken.result["timing"]["passed"] == 0, "the same numbers: rows are taken from the other entry"
    status, _, err = itae_(*SMALL, "detector.calibration=paper.json", "detector.signals=[key,residual]")
    assert status == 2
    assert "for detector signals=['key', 'value'], and this run has ['key', 'residual']" in err


@pytest.mark.slow
def test_it_sweeps_with_its_controls_and_the_clean_model_is_left_alone(itae_, tmp_path):
    words = ("control=none,random,other_side", f"hydra.sweep.dir={tmp_path / 'sweep'}")
    status, _, err = itae_("-m", *SMALL, *words)
    assert not status, err
    itself, drawn, other = (load_run(tmp_path / "sweep" / str(i)) for i in range(3))
    for control in (drawn, other):
        pairs = zip(control.result["layers"], itself.result["layers"], strict=True)
        first = next((a, b) for a, b in pairs if b["artifact_rate"])  # behind it the streams differ
        assert first[0]["artifact_rate"] == first[1]["artifact_rate"]
    assert len({run.edited.path.name for run in (itself, drawn, other)}) == 3
    clean = one_run(itae_, tmp_path / "clean", "backbone=digits_vit")
    assert not any(clean.result["artifact_rate"].values())
