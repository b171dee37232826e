from __future__ import annotations

import csv
import json
import logging
from pathlib import Path

import hydra
import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra
from wandb_files import items, records

import itae
from itae.cli import conf_dir
from itae.errors import UserError
from itae.experiment import plain_config, run

QUICK = ["dataset.limit=60", "clusterer.seeds=3", "clusterer.restarts=1", "tracker=none", "detector.rule=quantile"]


@pytest.fixture
def compose(tmp_path):
    def composed(*overrides):
        GlobalHydra.instance().clear()
        with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
            return hydra.compose("config", [f"paths.cache={tmp_path / 'cache'}", *overrides])

    return composed


@pytest.fixture
def done(compose, tmp_path):
    return run(compose(*QUICK), tmp_path / "run")


def test_result_has_what_the_contract_says(done):
    result = json.loads((done.folder / "result.json").read_text())
    assert result["status"] == "ok"
    assert result["error"] is None
    for side in ("baseline", "edited"):
        for metric in ("acc", "nmi", "ari", "ami"):
            assert set(result[side][metric]) == {"mean", "std", "per_seed"}
            assert len(result[side][metric]["per_seed"]) == 3
    assert result["baseline"]["seeds"] == result["edited"]["seeds"]
    for metric in ("acc", "nmi", "ari", "ami"):
        pairs = zip(result["baseline"][metric]["per_seed"], result["edited"][metric]["per_seed"], strict=True)
        assert result["delta"][metric]["per_seed"] == pytest.approx([e - b for b, e in pairs])
    assert set(result["artifact_rate"]) == {"5"}
    assert 0 < result["artifact_rate"]["5"] < 0.1
    assert {"extract_s", "images_per_s", "cluster_s", "total_s", "peak_rss_mb"} <= set(result["timing"])
    assert result["selection"] == "fixed"
    assert {"torch", "timm", "faiss-cpu", "itae"} & set(result["versions"])
    for side in ("baseline", "edited"):
        folder = done.folder / result["embeddings"][side]
        vectors = np.load(folder / "vectors.npy")
        assert vectors.shape == (60, 96)
        assert vectors.dtype == np.float32
        assert len((folder / "ids.txt").read_text().splitlines()) == len(np.load(folder / "labels.npy")) == 60
        assert json.loads((folder / "meta.json").read_text())["n"] == 60


def test_load_run_gives_it_all_back(done, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for path in (done.folder, done.folder / "result.json", str(done.folder), Path("run")):
        back = itae.load_run(path)
        assert back.ok
        assert back.result == json.loads((done.folder / "result.json").read_text())
        assert back.settings["layers"] == "last"
        assert back.baseline.vectors.shape == back.edited.vectors.shape == (60, 96)
        assert back.baseline.labels.max() == 9
        assert not np.array_equal(back.baseline.vectors, back.edited.vectors)


def test_load_run_tells_what_is_wrong(done, tmp_path):
    with pytest.raises(UserError, match="is no run"):
        itae.load_run(tmp_path / "nowhere")
    vectors = done.baseline.path / "vectors.npy"
    vectors.write_bytes(vectors.read_bytes()[:-1] + b"\x00\x01")
    with pytest.raises(UserError, match="damaged"):
        _ = itae.load_run(done.folder).baseline


def test_assignments_are_listed(done):
    with (done.folder / "assignments.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == done.baseline.ids
    assert list(rows[0]) == ["id", "label", "baseline", "edited"]
    assert {row["label"] for row in rows} == {str(digit) for digit in range(10)}


def test_a_second_run_uses_the_store_and_changes_nothing(compose, tmp_path, done, monkeypatch):
    from itae.backbone import Backbone

    monkeypatch.setattr(Backbone, "build", lambda *args: pytest.fail("the model was built"))
    again = run(compose(*QUICK), tmp_path / "again")
    assert again.result["cached"]
    assert not done.result["cached"]
    for name in ("baseline", "edited", "delta", "artifact_rate", "layers"):
        assert again.result[name] == done.result[name], name


def test_an_unlabelled_folder_has_assignments_and_no_scores(compose, tmp_path, capsys):
    from PIL import Image

    for i in range(12):
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.new("RGB", (20, 20), (20 * i, 100, 255 - 20 * i)).save(tmp_path / "photos" / f"{i:02d}.png")
    folder = ["dataset=imagefolder", f"dataset.root={tmp_path / 'photos'}", *QUICK[1:]]
    with pytest.raises(UserError, match=r"clusterer\.k"):
        run(compose(*folder), tmp_path / "none")
    found = run(compose(*folder, "clusterer.k=3"), tmp_path / "run")
    assert found.result["delta"] is None
    assert "acc" not in found.result["baseline"]
    assert (tmp_path / "run" / "assignments.csv").read_text().splitlines()[0] == "id,baseline,edited"
    assert "inertia" in capsys.readouterr().out
    assert found.baseline.labels is None


@pytest.mark.parametrize(
    ("overrides", "note"),
    [
        (["detector=none"], "No edit"),
        (["layers=none"], "No edit"),
        (["attenuator.strength=0"], "No edit"),
        (["detector.rule=absolute", "detector.threshold=0"], "Nothing was flagged"),
        (["detector.rule=absolute", "detector.threshold=1e9"], "Every patch was flagged in 60"),
    ],
)
def test_a_run_that_did_nothing_says_so(compose, tmp_path, capsys, overrides, note):
    drop = [word for word in QUICK if not (overrides[0] == "detector=none" and word.startswith("detector."))]
    result = run(compose(*drop, *overrides), tmp_path / "run").result
    assert note in " ".join(result["notes"])
    assert note in capsys.readouterr().out
    if "Every" not in note:
        assert result["delta"]["acc"]["mean"] == 0


def test_a_failed_run_leaves_its_reason(compose, tmp_path, monkeypatch):
    with pytest.raises(UserError):
        run(compose(*QUICK, "layers=[77]"), tmp_path / "mistake")
    left = itae.load_run(tmp_path / "mistake")
    assert not left.ok
    assert "77" in left.result["error"]
    assert left.settings["layers"] == [77]
    with pytest.raises(UserError, match="no baseline embeddings"):
        _ = left.baseline
    monkeypatch.setattr("itae.experiment.extract", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(compose(*QUICK), tmp_path / "bug")
    assert itae.load_run(tmp_path / "bug").result["error"].startswith("ZeroDivisionError")


def test_an_interrupted_run_leaves_its_reason(compose, tmp_path, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("itae.experiment.extract", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(compose(*QUICK), tmp_path / "run")
    assert itae.load_run(tmp_path / "run").result["error"].startswith("KeyboardInterrupt")


def test_a_tracker_that_fails_costs_no_result(compose, tmp_path, monkeypatch, caplog):
    import wandb

    def refused(*args, **kwargs):
        raise RuntimeError("no service")

    monkeypatch.setattr(wandb, "init", refused)
    overrides = [word for word in QUICK if word != "tracker=none"]
    assert run(compose(*overrides), tmp_path / "run").ok
    assert any(record.levelno == logging.WARNING and "no service" in record.message for record in caplog.records)


def test_a_run_is_logged_to_wandb_offline(compose, tmp_path):
    overrides = [word for word in QUICK if word != "tracker=none"]
    run(compose(*overrides), tmp_path / "run")
    (log,) = (tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb")
    config, history = {}, {}
    for record in records(log):
        config |= items(record.run.config.update) if record.HasField("run") else {}
        history |= items(record.history.item) if record.HasField("history") else {}
    result = itae.load_run(tmp_path / "run").result
    assert config["backbone"]["model_name"] == "digits_vit"
    assert config["detector"]["quantile"] == 0.02
    logged = history.get("baseline.acc.mean", history.get("baseline/acc/mean"))
    assert logged == result["baseline"]["acc"]["mean"], sorted(history)
    assert history["layer/artifact_rate"] == result["artifact_rate"]["5"]
    assert history["layer/signal_p50"] == result["layers"][0]["signal"]["p50"]


def test_labels_reach_the_metrics_and_nothing_else(compose, tmp_path, monkeypatch):
    """With every label replaced, vectors, assignments and inertia stay what they were; only the scores change."""
    from itae.data import Digits

    first = run(compose(*QUICK), tmp_path / "first")
    find = Digits._find

    def mislabelled(self):
        found = find(self)
        return found._replace(labels=np.roll(np.asarray(found.labels), 5)[::-1] // 2)

    monkeypatch.setattr(Digits, "_find", mislabelled)
    second = run(compose(*QUICK, "clusterer.k=10"), tmp_path / "second")
    assert np.array_equal(first.edited.vectors, second.edited.vectors)
    assert first.result["edited"]["inertia"] == second.result["edited"]["inertia"]
    rows = [list(csv.DictReader((r.folder / "assignments.csv").open())) for r in (first, second)]
    assert [row["edited"] for row in rows[0]] == [row["edited"] for row in rows[1]]
    assert first.result["edited"]["acc"] != second.result["edited"]["acc"]


def test_plain_config_is_plain(compose):
    plain = plain_config(compose())
    json.dumps(plain, allow_nan=False)
    assert "experiment" not in plain
    with pytest.raises(UserError, match=r"dataset\.root"):
        plain_config(compose("dataset=imagefolder"))


EMBEDDED = ["backbone=digits_vit", "dataset=digits", "dataset.limit=60", "clusterer.seeds=2", "clusterer.restarts=1"]
EMBEDDED += ["tracker=none"]


@pytest.mark.parametrize("name", sorted(path.stem for path in (conf_dir() / "experiment").glob("*.yaml")))
def test_every_experiment_runs_on_the_embedded_model(compose, tmp_path, name):
    needed = {"reproduce": ["detector.threshold=3"], "demo": ["backbone=digits_vit_artifacts"]}
    overrides = [f"experiment={name}", *EMBEDDED, *needed.get(name, [])]
    text = (conf_dir() / "experiment" / f"{name}.yaml").read_text()
    assert run(compose(*overrides), tmp_path / "run").ok
    if "MULTIRUN" in text:
        import yaml

        for key, values in yaml.safe_load(text)["hydra"]["sweeper"]["params"].items():
            for value in str(values).split(","):
                assert run(compose(*overrides, f"{key}={value}"), tmp_path / f"{key}{value}").ok
