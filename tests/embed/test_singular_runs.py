"""Edits that go by weights, in whole passes: shared, fitted, from a file, with controls, and of a base's rows."""

from __future__ import annotations

import dataclasses
import json
import logging

import numpy as np
import pytest
import tiny_models

from itae.app.compose import compose
from itae.app.experiment import run
from itae.base.runtime import Runtime
from itae.edits.attenuate import Scale
from itae.edits.detect import OtherEnd, Random, VectorNorm
from itae.edits.edit import make_edit
from itae.edits.singular_defect import SingularDefect
from itae.embed.extract import extract
from itae.embed.source import Source
from itae.images.datasets import Digits
from itae.store.store import Store
from itae.vit.backbone import Backbone

CPU = Runtime(device="cpu", batch_size=16, num_workers=1)
MAD = SingularDefect(rule="mad", k=1.0)
DETECTORS = {
    "std": SingularDefect(stds=1.5),
    "mad": MAD,
    "found in one block": dataclasses.replace(MAD, layer=1),
    "fitted": SingularDefect(rule="bimodal", calibration_images=20),
    "as many at random": Random(match=MAD),
    "as many of the other end": OtherEnd(match=MAD),
    "another": VectorNorm(rule="quantile", quantile=0.2),
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tiny_models.save(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture
def source(tmp_path, weights):
    backbone = Backbone("tiny_vit", checkpoint=str(weights), image_size=32, module="tiny_models")
    return Source.open(Digits(limit=40), backbone, Store(tmp_path / "cache"))


def test_in_a_pass_with_others_it_is_as_alone_and_read_from_the_weights_once(source, tmp_path, caplog):
    edits = {name: make_edit(detector, Scale(), "all", 2) for name, detector in DETECTORS.items()}
    caplog.set_level(logging.INFO, "itae.vit.linear")
    together = dict(zip(edits, extract(source, list(edits.values()), CPU), strict=True))
    told = [record for record in caplog.records if "singular directions" in record.message]
    assert len(told) == 1
    for i, (name, edit) in enumerate(edits.items()):
        alone_in = dataclasses.replace(source, store=Store(tmp_path / f"alone{i}"))
        (alone,) = extract(alone_in, [edit], Runtime(device="cpu", batch_size=7, num_workers=0))
        np.testing.assert_allclose(alone.vectors, together[name].vectors, atol=1e-5)
        assert alone.meta["digest"] == together[name].meta["digest"]
        np.testing.assert_array_equal(alone.diagnostics["rate"], together[name].diagnostics["rate"])
    rates = {name: entry.diagnostics["rate"] for name, entry in together.items()}
    assert rates["mad"][0] == 0, "no direction before the first block"
    assert rates["mad"][1] > 0
    assert rates["found in one block"][0] > 0, "found in block 1, in the untouched model"
    np.testing.assert_array_equal(rates["as many at random"], rates["mad"])
    np.testing.assert_array_equal(rates["as many of the other end"], rates["mad"])


WORDS = ("backbone=digits_vit", "dataset.limit=60", "layers=last2", "clusterer.seeds=1", "tracker=none",
         "detector=singular_defect", "runtime.num_workers=0")  # fmt: skip


@pytest.mark.parametrize("rule", ["std", "absolute", "quantile", "mad", "ratio", "bimodal"])
def test_a_run_of_each_rule(rule, tmp_path, monkeypatch):
    monkeypatch.setenv("ITAE_CACHE", str(tmp_path / "cache"))
    words = [*WORDS, f"detector.rule={rule}", "detector.threshold=.4", "detector.quantile=.1", "detector.ratio=1.2"]
    result = run(compose(words), tmp_path / "run").result
    told = result["edit"]["detector"]
    assert (told["class"], told["rule"], told["direction"]) == ("itae.detect.SingularDefect", rule, 1)
    assert list(result["artifact_rate"]) == ["4", "5"]
    if rule in ("absolute", "quantile", "ratio"):
        assert all(result["artifact_rate"].values())


def test_a_calibration_is_of_these_directions(itae_, tmp_path):
    file = tmp_path / "fits.json"
    words = (*WORDS, "detector.rule=bimodal", "detector.calibration_images=40")
    assert itae_("calibrate", str(file), *words)[0] == 0
    assert json.loads(file.read_text())["detector"]["direction"] == 1
    code, out = itae_(*words, f"detector.calibration={file}")[:2]
    assert code == 0, out
    text = file.read_text()
    file.write_text(text.replace('"direction": 1', '"direction": 0'))
    code, *told = itae_(*words, f"detector.calibration={file}")
    assert code == 2
    assert "direction=0" in "".join(told)


def test_a_knowledge_base_has_its_space(itae_, tmp_path):
    base = str(tmp_path / "base")
    words = ("detector=singular_defect", "detector.rule=mad", "detector.k=2", "layers=last2")
    assert itae_("knowledge", "init", base, *words)[0] == 0
    assert itae_("knowledge", "add", base, "dataset=digits", "dataset.limit=30")[0] == 0
    told = json.loads(itae_("knowledge", "status", base, "--json")[1])
    assert told["rows"] == 30
    detector = told["space"]["edit"]["detector"]
    assert (detector["class"], detector["direction"]) == ("itae.detect.SingularDefect", 1)
