"""``itae protocol``: what is chosen, what is frozen, and that the held-out data is looked at once and last."""

from __future__ import annotations

import json

import pytest
from PIL import Image
from sklearn.datasets import load_digits

from itae import protocol
from itae.errors import UserError
from itae.protocol import choose_setting, frozen_words
from itae.runs import load_run


def written(folder, words, silhouettes, dataset="a", status="ok", control="NoControl", **settings):
    """Write a result with that silhouette before and after, as far as it is read."""
    side = [{"silhouette": {"mean": value, "std": 0.0, "per_seed": [value]},
             "acc": {"mean": 0.5, "std": 0.0, "per_seed": [0.5]}} for value in silhouettes]  # fmt: skip
    result = {
        "status": status, "error": None, "selection": "fixed", "baseline": side[0], "edited": side[1],
        "delta": {"acc": {"mean": 0.0, "std": 0.0, "per_seed": [0.0]}}, "artifact_rate": {}, "bimodality": None,
        "images": {"n": 5, "classes": 2}, "timing": {"total_s": 1.0}, "started": {"overrides": words},
        "settings": {"backbone": {"model_name": settings.pop("backbone", "m")}, "dataset": {"name": dataset},
                     "control": {"_target_": f"itae.controls.{control}"}, "detector": settings},
    }  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(result))


def test_the_best_mean_over_all_development_sets_is_chosen(tmp_path):
    for i, (k, name, after) in enumerate([(3, "a", 0.9), (3, "b", 0.1), (5, "a", 0.6), (5, "b", 0.6), (7, "a", 0.99)]):
        written(tmp_path / str(i), [f"dataset={name}", f"detector.k={k}"], (0.3, after), name, k=float(k))
    chosen = choose_setting(tmp_path, "silhouette")
    assert chosen["words"][1] == "detector.k=5"
    assert (chosen["score"], chosen["untouched"]) == pytest.approx((0.6, 0.3))
    assert (chosen["edit"], chosen["tried"], chosen["sets"]) == (True, 2, 2), "7 has not seen b"


def test_where_nothing_beats_the_untouched_backbone_no_edit_is_chosen(tmp_path):
    written(tmp_path / "0", ["detector.k=3"], (0.5, 0.4), k=3.0)
    assert not choose_setting(tmp_path, "silhouette")["edit"]


def test_a_control_and_a_failed_run_are_no_candidates(tmp_path):
    written(tmp_path / "0", ["k=3"], (0.3, 0.4), k=3.0)
    written(tmp_path / "1", ["k=3", "control=random"], (0.3, 0.9), control="Random", k=3.0)
    written(tmp_path / "2", ["k=5"], (0.3, 0.9), status="failed", k=5.0)
    assert choose_setting(tmp_path, "silhouette")["words"] == ["k=3"]


def test_what_does_not_compare_is_refused(tmp_path):
    written(tmp_path / "0", [], (0.3, 0.4), backbone="m", k=3.0)
    written(tmp_path / "1", [], (0.3, 0.9), backbone="n", k=3.0)
    with pytest.raises(UserError, match=r"backbone.model_name has several values"):
        choose_setting(tmp_path, "silhouette")
    with pytest.raises(UserError, match="--by=nosuch"):
        choose_setting(tmp_path, "nosuch")


def test_a_seed_is_no_setting_that_was_chosen(tmp_path):
    written(tmp_path / "0", ["seed=3", "selection=fixed", "detector.k=3"], (0.3, 0.4), k=3.0)
    assert choose_setting(tmp_path, "silhouette")["words"] == ["detector.k=3"]


def test_held_out_words_take_the_place_of_those_of_the_development_data():
    words = ["dataset=cifar10", "dataset.limit=100", "layers=last", "++detector.k=3"]
    assert frozen_words(words, ["dataset.split=test"]) == [*words, "dataset.split=test"]
    assert frozen_words(words, ["dataset=cifar100"]) == ["layers=last", "++detector.k=3", "dataset=cifar100"]
    assert frozen_words(words, ["dataset.limit=5", "detector.k=4"]) == [
        *words[:1],
        words[2],
        "dataset.limit=5",
        "detector.k=4",
    ]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("dataset=cifar10", "--held-out"),
        ("--held-out dataset.limit=5 dataset=cifar10", "another dataset"),
        ("--held-out dataset=cifar10 dataset=cifar10", "the development data itself"),
        ("--held-out seed=5 dataset=cifar10", "another dataset"),
        ("--held-out dataset layers=last", "key=value"),
    ],
)
def test_a_mistake_is_told_before_anything_runs(itae_, line, told, monkeypatch):
    monkeypatch.setattr(protocol, "_itae", lambda *words: pytest.fail("it ran"))
    status, _, err = itae_("protocol", *line.split())
    assert status == 2
    assert told in err
    assert err.count("\n") == 1


@pytest.mark.slow
def test_from_the_sweep_to_the_one_report(itae_, tmp_path):
    digits = load_digits()
    for i in range(240):
        path = tmp_path / ("dev", "other")[i % 2] / str(digits.target[i]) / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[i] * 15.9).astype("uint8")).save(path)
    out = tmp_path / "out"
    words = ["backbone=digits_vit_artifacts", "dataset=imagefolder", f"dataset.root={tmp_path / 'dev'}",
             "detector.rule=mad", "detector.k=5,200", "detector.side=high", "attenuator=scale", "layers=all",
             "clusterer.seeds=2", "clusterer.restarts=1", "tracker=none", "runtime.report=false",
             "runtime.diagnostics=false"]  # fmt: skip
    call = ("protocol", "--held-out", f"dataset.root={tmp_path / 'other'}", "--out", str(out), *words)
    status, told, err = itae_(*call)
    assert not status, err
    assert "of 2 settings tried" in told
    held_out = load_run(out / "held_out").result
    assert held_out["selection"] == "proxy"
    assert held_out["settings"]["dataset"]["root"] == str(tmp_path / "other")
    assert held_out["settings"]["detector"]["k"] == 5
    assert held_out["delta"]["nmi"]["mean"] > 0.1
    record = json.loads((out / "protocol.json").read_text())
    assert record["edit"]
    assert f"dataset.root={tmp_path / 'other'}" in record["held_out"]
    status, _, err = itae_(*call)
    assert (status, "has been reported" in err) == (2, True), "once"
