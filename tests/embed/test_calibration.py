"""``itae calibrate``: thresholds as a file, the same as a run fits, refused where they don't belong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from itae.look.view import load_run
from itae.vit.backbone import Backbone

WORDS = ("backbone=digits_vit_artifacts", "detector.rule=bimodal", "detector.side=high", "attenuator=scale",
         "dataset.limit=60", "layers=all", "clusterer.seeds=2", "clusterer.restarts=1", "tracker=none",
         "runtime.report=false")  # fmt: skip


@pytest.fixture
def calibrated(itae_, tmp_path):
    """A file with the thresholds of `WORDS`, and what was printed."""
    status, out, err = itae_("calibrate", str(tmp_path / "paper.json"), *WORDS)
    assert not status, err
    return tmp_path / "paper.json", out


def one_run(itae_, tmp_path, name, *words):
    status, _, err = itae_(*WORDS, f"hydra.run.dir={tmp_path / name}", *words)
    assert not status, err
    return load_run(tmp_path / name), err


@pytest.mark.slow
def test_a_run_with_the_file_is_the_run_that_fits(itae_, tmp_path, calibrated):
    path, out = calibrated
    fitted, _ = one_run(itae_, tmp_path, "fitted", "paths.cache=own")  # where none are kept
    taken, err = one_run(itae_, tmp_path, "taken", f"detector.calibration={path}")
    told = json.loads(path.read_text())
    assert "Gaussians" in out
    assert str(path) in out
    thetas = {layer: fit["theta"] for layer, fit in told["blocks"].items()}
    assert any(thetas.values())
    assert thetas == {layer: fit["theta"] for layer, fit in fitted.result["fits"].items()}
    assert thetas == {layer: fit["theta"] for layer, fit in taken.result["fits"].items()}
    assert np.array_equal(*(run.edited.vectors for run in (fitted, taken)))
    assert fitted.edited.path.name != taken.edited.path.name, "two keys"
    assert "another attenuator" not in err
    moved = tmp_path / "elsewhere.json"
    path.rename(moved)
    again, _ = one_run(itae_, tmp_path, "again", f"detector.calibration={moved}")
    assert again.result["cached"], "its place is not in the key"


@pytest.mark.slow
def test_what_a_run_has_fitted_is_written_as_it_is(itae_, tmp_path, monkeypatch):
    fitted, _ = one_run(itae_, tmp_path, "fitted")
    monkeypatch.setattr(Backbone, "build", lambda *_: pytest.fail("the model was built"))
    status, _, err = itae_("calibrate", "paper.json", *WORDS, "attenuator.strength=1.0")
    assert not status, err
    thetas = {layer: fit["theta"] for layer, fit in json.loads(Path("paper.json").read_text())["blocks"].items()}
    assert thetas == {layer: fit["theta"] for layer, fit in fitted.result["fits"].items()}
    held, _ = one_run(itae_, tmp_path, "held", "detector.calibration=paper.json")
    assert held.result["timing"]["passed"] == 0, "the same numbers, whether fitted or given"


@pytest.mark.slow
def test_a_file_is_used_with_what_it_is_for_alone(itae_, tmp_path, calibrated):
    path, _ = calibrated
    taking = (*WORDS, f"detector.calibration={path}")
    for words, told in [
        (("backbone=digits_vit",), r"for backbone model='digits_vit_artifacts'"),
        (("detector.side=low",), r"for detector side='high', and this run has 'low'"),
        (("detector=key_norm",), r"detector vector='value'"),
        (("detector.layer=0",), r"detector layer=None"),
        (("dataset.resize=crop",), r"for backbone resize='squash', and this run has 'crop'"),
    ]:
        status, _, err = itae_(*taking, *words)
        assert status == 2
        assert told in err


@pytest.mark.slow
def test_thresholds_of_the_untouched_model_are_not_taken_for_the_stream_as_it_is_edited(itae_, tmp_path):
    path = tmp_path / "each.json"
    words = (*WORDS, "layers=last3")
    status, _, err = itae_("calibrate", str(path), *words, "detector.layer=each")
    assert not status, err
    status, _, err = itae_(*words, f"detector.calibration={path}")
    assert status == 2
    assert "is for detector layer='each', and this run has None" in err
    status, _, err = itae_(*words, f"detector.calibration={path}", "detector.layer=each")
    assert not status, err
    status, _, err = itae_(*words, f"detector.calibration={path}", "layers=[4]")
    assert not status, "of one block they are the same"


@pytest.mark.parametrize("field", ["resize", "interpolation", "mean", "std"])
def test_a_file_for_other_pixels_is_refused_whatever_differs(itae_, calibrated, field):
    """One weights file may be used under two names of timm's, whose pixels have another mean."""
    path, _ = calibrated
    told = json.loads(path.read_text())
    ours = told["backbone"][field]
    told["backbone"][field] = other = [0.25] * 3 if isinstance(ours, list) else "other"
    path.write_text(json.dumps(told))
    status, _, err = itae_(*WORDS, f"detector.calibration={path}")
    assert (status, err.count("\n")) == (2, 1)
    assert f"for backbone {field}={other!r}, and this run has {ours!r}" in err


@pytest.mark.slow
def test_a_file_that_lacks_a_block_or_is_damaged_is_told(itae_, tmp_path, calibrated):
    path, _ = calibrated
    told = json.loads(path.read_text())
    del told["blocks"]["5"]
    path.write_text(json.dumps(told))
    status, _, err = itae_(*WORDS, f"detector.calibration={path}")
    assert (status, "no threshold for block 5; it has some for 0, 1, 2, 3, 4" in err) == (2, True)
    del told["backbone"]["resize"]
    path.write_text(json.dumps(told))
    status, _, err = itae_(*WORDS, f"detector.calibration={path}", "dataset.resize=crop")
    assert (status, "no threshold for block 5" in err) == (2, True), "files of earlier versions didn't say"
    told["blocks"]["5"] = {"theta": "high"}
    path.write_text(json.dumps(told))
    status, _, err = itae_(*WORDS, f"detector.calibration={path}")
    assert (status, "block 5 is 'high', no number" in err) == (2, True)


@pytest.mark.slow
def test_another_edit_than_it_was_fitted_under_is_warned_of(itae_, tmp_path, calibrated):
    path, _ = calibrated
    status, _, err = itae_(*WORDS, f"detector.calibration={path}", "attenuator=fade")
    assert not status
    assert "another attenuator or other layers" in err


def test_where_there_is_one_mode_the_file_says_so_and_nothing_is_flagged(itae_, tmp_path):
    clean = ("backbone=digits_vit", "detector.layer=-1")
    status, _, err = itae_("calibrate", str(tmp_path / "clean.json"), *WORDS, *clean)
    assert not status, err
    (fit,) = json.loads((tmp_path / "clean.json").read_text())["blocks"].values()
    assert fit["theta"] is None
    run, _ = one_run(itae_, tmp_path, "clean", *clean, f"detector.calibration={tmp_path / 'clean.json'}")
    assert any("Nothing was flagged" in note for note in run.result["notes"])
    assert any("No two modes in 1 of 1 blocks" in note for note in run.result["notes"])
