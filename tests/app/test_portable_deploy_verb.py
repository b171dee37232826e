"""``itae portable`` as it is called: one network trained, converted and judged on toy devices, and what is kept."""

from __future__ import annotations

import csv
import html
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import small_unet
import toy_devices
from deploy_words import SMALL, TRAINED, photographs
from PIL import Image, ImageFilter
from toy_devices import result, toys

from itae.portable.clock import alone
from itae.portable.written import write


@pytest.fixture(autouse=True)
def alone_with_photographs(tmp_path, monkeypatch):
    """Measure in a machine of this test's own, where others measure side by side; have a folder of photographs."""
    monkeypatch.setattr(alone, "SHARED", tmp_path)
    photographs(tmp_path / "photographs")


@pytest.mark.slow
@pytest.mark.figures
def test_from_photographs_to_what_each_device_restores(itae_):
    words = [word for word in TRAINED if word != "runtime.report=false"]
    status, out, err = itae_("portable", *words, *toys(one="", odd="swapped"))
    assert (status, err) == (0, ""), out
    found = result()
    page = html.unescape(Path("out/report.html").read_text())
    assert found["devices"]["odd"]["quality"]["why"] in page
    assert page.count('<input type="range"') == len(found["pictures"]) == 1
    assert page.count("<figcaption>") == len(found["figures"]) + 2, "with a picture before and after, and its blur"
    assert (found["status"], found["kind"], found["size"]) == ("ok", "deploy", [32, 32])
    assert [each["step"] for each in found["training"]["curve"]] == [0, 1, 2, 3, 4]
    assert found["devices"]["one"]["quality"]["drop_db"]["mean"] == pytest.approx(0, abs=1e-6)
    assert found["devices"]["odd"]["quality"]["verdict"] == "refused"
    assert found["settings"]["train"]["steps"] == 4
    assert "changes" not in found["settings"], "it reads none"
    assert "itae.deblur.Shake" in json.dumps(found["data"])
    with open("out/devices.csv", encoding="utf-8") as file:
        assert [row["device"] for row in csv.DictReader(file)] == ["one", "odd"]
    floor, ceiling = (next(line for line in out.splitlines() if line.startswith(word)) for word in ("floor", "ceiling"))
    assert f"{found['quality']['blurred']['psnr']['mean']:.2f} dB" in floor
    assert f"{found['quality']['wiener']['psnr']['mean']:.2f} dB" in ceiling
    assert out.index("ceiling") < out.index("restores 3 pictures on one"), "at once, and not at the end"
    assert not any("next to nothing" in note for note in found["notes"])
    assert found["quality"]["torch"]["gain_db"]["mean"] > 0.3
    assert Path("out/figures/devices.png").stat().st_size > 5_000
    assert Path("out/net.safetensors").is_file()
    assert len(found["pictures"]) == 1
    assert "page       " in out
    assert "Wiener" in Path("out/report.html").read_text()


@pytest.mark.figures
def test_a_network_that_learned_next_to_nothing_is_refused_and_that_is_told(itae_):
    words = [word for word in SMALL if word != "runtime.report=false"]
    status, out, err = itae_("portable", *words, *toys(one=""))
    assert (status, err) == (0, ""), out
    assert "has learned next to nothing; " in out
    assert "train the net for longer" in result()["not_run"]["one"]
    assert "train the net for longer" in Path("out/report.html").read_text()


@pytest.mark.slow
def test_a_training_that_is_killed_goes_on(itae_, monkeypatch):
    from itae.portable.train import steps

    words = ["portable", *SMALL, *toys(one=""), "train.every=1"]
    assert itae_(*words, "paths.cache=other")[0] == 0
    whole, made, step = result()["net"]["weights"]["sha256"], [], steps.step

    def killed(state, *more):
        if state.step == 2:
            raise KeyboardInterrupt
        step(state, *more)

    monkeypatch.setattr(steps, "step", killed)
    status, _, _ = itae_(*words)
    assert status == 130
    assert result()["status"] == "failed"
    monkeypatch.setattr(steps, "step", lambda state, *more: made.append(state.step) or step(state, *more))
    assert itae_(*words)[0] == 0
    assert made == [2, 3], "and not from the beginning"
    assert result()["net"]["weights"]["sha256"] == whole
    made.clear()
    assert itae_(*words)[0] == 0
    assert made == [], "what was trained is kept"


def test_steps_are_applied_in_the_order_that_is_asked_for(itae_):
    few = ["steps.swap.tune.steps=1", "steps.prune.tune.steps=1", "steps.prune.macs=0.9", "steps.prune.round_to=1"]
    words = [*few, "optimise=[post_training,swap,prune]", "steps.swap.options={up:null,activation:leaky_relu}"]
    status, out, err = itae_("portable", *TRAINED, *words, *toys(one=""))
    assert (status, err) == (0, ""), out
    lineage = result()["net"]["lineage"]
    assert [each["step"] for each in lineage] == ["post_training", "swap", "prune"]
    assert lineage[1]["options"] == {"activation": "leaky_relu"}
    assert lineage[1]["tune"] == lineage[2]["tune"] == {"steps": 1}


def test_a_teacher_teaches(itae_):
    teacher = [f"teacher.{name}={value}" for name, value in {**small_unet.SPEC, "skip": "concat"}.items()]
    words = ["+net@teacher=unet", *teacher, f"teacher.weights={small_unet.WEIGHTS}", "teacher.name=master"]
    status, out, err = itae_("portable", *SMALL, *words, *toys(one=""))
    assert (status, err) == (0, ""), out
    assert result()["training"]["taught"] is True
    assert result()["teacher"]["name"] == "master"
    taught = result()["net"]["weights"]["sha256"]
    assert itae_("portable", *SMALL, *toys(one=""))[0] == 0
    assert result()["training"]["taught"] is False
    assert result()["net"]["weights"]["sha256"] != taught


def test_a_tracker_gets_what_each_device_restores(itae_):
    toy_devices.Tracker.runs.clear()
    status, _, err = itae_("portable", *TRAINED, *toys(one="", odd="swapped"), "tracker._target_=toy_devices.Tracker")
    assert (status, err) == (0, "")
    (kept,) = toy_devices.Tracker.runs
    assert (kept["job_type"], kept["name"]) == ("deploy", "deploy small one, odd")
    found, one = result(), kept["metrics"]["devices"]["one"]
    assert one.keys() == {"psnr", "ssim", "gain_db", "drop_db", "parity_db", "ms", "steady"}
    assert one["ms"] == found["rows"][0]["cells"]["one"]["ms"]
    assert one["psnr"] == found["devices"]["one"]["quality"]["psnr"]["mean"]
    assert "ms" not in kept["metrics"]["devices"]["odd"]
    psnr = kept["metrics"]["psnr"]
    assert psnr["blurred"] < psnr["torch"]
    assert psnr["wiener"] == found["quality"]["wiener"]["psnr"]["mean"]
    assert kept["metrics"]["training"]["validation_psnr"] == found["training"]["curve"][-1]["validation_psnr"]
    assert [row["device"] for row in kept["devices"]] == ["one", "odd"]
    (first, *_), (shown, *_) = kept["pictures"], found["pictures"]
    assert first["photograph"] == shown["photograph"]
    for what in ("blurred", "restored", "sharp", "psf"):
        np.testing.assert_array_equal(first[what], np.asarray(Image.open(Path("out", shown["files"][what]))))
    assert all(path.is_file() for path in kept["figures"])


@pytest.mark.figures
@pytest.mark.parametrize("choice", ["blur=frames", "blur=objects", "data=two_folders"])
def test_pairs_without_a_psf_have_no_ceiling_and_all_else(itae_, choice):
    for folder in ("blurred", "sharp"):
        shutil.copytree("photographs", f"pairs/{folder}")
    for file in Path("pairs/blurred").iterdir():
        Image.open(file).filter(ImageFilter.GaussianBlur(1)).save(file)
    given = [word for word in SMALL if not word.startswith(("blur.", choice[:5]))]
    status, out, _ = itae_(
        "portable", *given, choice, *(["data.root=pairs"] if choice[0] == "d" else []), *toys(one="")
    )
    assert status == 0, out
    found = result()
    assert found["quality"]["wiener"] is None
    assert "ceiling    none: these pairs weren't made by one PSF each" in out
    assert found["devices"]["one"]["quality"]["psnr"]["mean"] > 10
    assert Path("out/devices.csv").is_file()
    assert found["figures"], "the curve"


def test_noise_alone_can_be_taken_away(itae_):
    given = [word for word in SMALL if not word.startswith("blur.")]
    status, out, _ = itae_("portable", *given, "blur=none", "noise.sigma=0.05", *toys(one=""))
    assert status == 0, out
    assert 15 < result()["quality"]["blurred"]["psnr"]["mean"] < 40


# --- what is somebody's stays


def earlier(study):
    """Have a folder with what an earlier run of a study left."""
    write(Path("out"), {"status": "ok", "kind": study})


def test_what_a_run_would_write_over_is_not_lost(itae_):
    Path("out").mkdir()
    Path("out/net.safetensors").write_bytes(small_unet.WEIGHTS.read_bytes())
    status, out, err = itae_("portable", *TRAINED, *toys(one=""))
    assert (status, out) == (2, "")
    assert err == (
        "itae: out=out holds net.safetensors, which is of no run of itae portable, which would be lost; set out=... to "
        "another folder.\n"
    )
    assert Path("out/net.safetensors").read_bytes() == small_unet.WEIGHTS.read_bytes()
    assert not Path("out/result.json").exists()


def test_the_weights_of_an_earlier_run_are_not_overwritten_by_what_goes_on_from_them(itae_):
    earlier("deploy")
    before = small_unet.WEIGHTS.read_bytes()
    Path("out/net.safetensors").write_bytes(before)
    for word in ("net.weights=out/net.safetensors", "net.weights=photographs/../out/net.safetensors"):
        status, _, err = itae_("portable", *TRAINED, word, *toys(one=""))
        assert (status, err.count("\n")) == (2, 1)
        assert "is in out=out, and this run would write over it" in err
    assert Path("out/net.safetensors").read_bytes() == before


def test_a_run_of_another_study_is_not_overwritten(itae_):
    earlier("operators")
    status, _, err = itae_("portable", *TRAINED, *toys(one=""))
    assert (status, err.count("\n")) == (2, 1)
    assert "out=out holds the result.json of a run of study=operators, which would be lost" in err
    assert result() == {"status": "ok", "kind": "operators"}


@pytest.mark.slow
def test_a_second_run_leaves_none_of_the_first_ones_pictures(itae_):
    earlier("deploy")
    Path("out/pictures").mkdir()
    Path("out/pictures/5_sharp.png").write_text("of a run with more photographs")
    Path("out/pictures/mine.png").write_text("mine")
    assert itae_("portable", *TRAINED, *toys(one=""))[0] == 0
    assert sorted(path.name for path in Path("out/pictures").iterdir()) == [
        "0_blurred.png", "0_psf.png", "0_restored.png", "0_sharp.png", "mine.png",
    ]  # fmt: skip


@pytest.mark.slow
def test_the_demo_runs_as_it_is_shipped_but_for_fewer_steps_and_devices(itae_):
    """Its photographs, pairs, network and clock; what it is worth is measured elsewhere."""
    status, out, err = itae_("portable", "train.steps=20", "device=[torch,ort_int8]", "runtime.report=false", "out=out")
    assert (status, err) == (0, ""), out
    found = result()
    assert (found["kind"], found["size"], found["net"]["name"]) == ("deploy", [128, 128], "small")
    assert sum(len(of) for of in found["data"]["photographs"].values()) == 15
    for name in ("torch", "ort_int8"):
        assert found["devices"][name]["quality"]["parity_db"] > 50
