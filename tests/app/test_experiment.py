from __future__ import annotations

import csv
import json
import logging
from pathlib import Path

import hydra
import numpy as np
import pytest
import tiny_models
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from wandb_files import items, records

import itae
from itae.app.compose import conf_dir, plain_config
from itae.app.experiment import run
from itae.base.errors import UserError
from itae.measure.scores import scores
from itae.results.clusterings import read_clusterings
from itae.results.report import print_report

# An edit that changes the scores of every seed, or a mix-up of the two sides would not be seen.
QUICK = [
    "dataset.limit=120",
    "clusterer.seeds=3",
    "clusterer.restarts=1",
    "tracker=none",
    "backbone=digits_vit_artifacts",
]
QUICK += ["detector=key_norm", "attenuator=scale", "layers=all"]


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
        assert min(result["delta"][metric]["per_seed"]) > 0.1, "the edit undoes planted artifacts"
        assert len(result[side]["silhouette"]["per_seed"]) == 3
    assert list(result["artifact_rate"]) == ["0", "1", "2", "3", "4", "5"]
    for layer in "345":
        assert result["artifact_rate"][layer] == pytest.approx(3 / 64, abs=0.002), "three of 64 are planted"
    assert {"extract_s", "images_per_s", "cluster_s", "total_s", "peak_rss_mb"} <= set(result["timing"])
    assert result["selection"] == "fixed"
    assert {"torch", "timm", "itae"} <= set(result["versions"])
    assert result["timing"]["images_per_s"] == pytest.approx(120 / result["timing"]["extract_s"])
    for side in ("baseline", "edited"):
        folder = done.folder / result["embeddings"][side]
        vectors = np.load(folder / "vectors.npy")
        assert vectors.shape == (120, 96)
        assert vectors.dtype == np.float32
        assert len((folder / "ids.txt").read_text().splitlines()) == len(np.load(folder / "labels.npy")) == 120
        assert json.loads((folder / "meta.json").read_text())["n"] == 120


def test_label_free_criteria_stand_beside_the_scores(done):
    from sklearn.metrics import silhouette_score

    result, blocks = done.result, [row["bimodality"] for row in done.result["layers"]]
    with (done.folder / "assignments.csv").open() as file:
        rows = list(csv.DictReader(file))
    for side in ("baseline", "edited"):
        clusters = [row[side] for row in rows]
        own = silhouette_score(getattr(done, side).vectors, clusters)
        assert result[side]["lowest_inertia"]["silhouette"] == pytest.approx(own, abs=1e-5)
        common = silhouette_score(done.baseline.vectors, clusters)
        assert result[side]["silhouette_common"] == pytest.approx(common, abs=1e-5), "both in the baseline's space"
    assert result["bimodality"] == pytest.approx(np.mean(blocks))
    assert min(blocks[3:]) > 5 / 9 > blocks[0], "planted artifacts are a mode of their own"


def test_load_run_gives_it_all_back(done, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for path in (done.folder, done.folder / "result.json", str(done.folder), Path("run")):
        back = itae.load_run(path)
        assert back.ok
        assert back.result == json.loads((done.folder / "result.json").read_text())
        assert back.settings["layers"] == "all"
        assert back.baseline.vectors.shape == back.edited.vectors.shape == (120, 96)
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
    assert list(rows[0]) == ["id", "label", "baseline", "edited", "moved", "baseline_distance", "edited_distance"]
    assert [row["label"] for row in rows] == [str(label) for label in done.baseline.labels]
    assert np.mean([float(row["moved"]) for row in rows]) == pytest.approx(done.result["moved"]["mean"], abs=1e-6)
    for side in ("baseline", "edited"):
        clusters = np.array([int(row[side]) for row in rows])
        assert scores(done.baseline.labels, clusters)["acc"] == done.result[side]["lowest_inertia"]["acc"], side


def test_a_second_run_uses_the_store_and_changes_nothing(compose, tmp_path, done, monkeypatch):
    from itae.vit.backbone import Backbone

    monkeypatch.setattr(Backbone, "build", lambda *args: pytest.fail("the model was built"))
    again = run(compose(*QUICK), tmp_path / "again")
    assert again.result["cached"]
    assert again.result["timing"]["images_per_s"] is None
    assert not done.result["cached"]
    for name in ("baseline", "edited", "delta", "artifact_rate", "layers"):
        assert again.result[name] == done.result[name], name


def test_an_unlabelled_folder_has_assignments_and_no_scores(compose, tmp_path, capsys):
    from PIL import Image

    for i in range(12):
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.new("RGB", (20, 20), (20 * i, 100, 255 - 20 * i)).save(tmp_path / "photos" / f"{i:02d}.png")
    folder = ["dataset=imagefolder", f"dataset.root={tmp_path / 'photos'}", *QUICK[1:]]
    found = run(compose(*folder, "clusterer.k=3"), tmp_path / "run")
    assert found.result["delta"] is None
    assert "acc" not in found.result["baseline"]
    assert (tmp_path / "run" / "assignments.csv").read_text().splitlines()[
        0
    ] == "id,baseline,edited,moved,baseline_distance,edited_distance"
    assert "inertia" in capsys.readouterr().out
    assert found.baseline.labels is None


def test_a_damaged_entry_is_made_again_and_not_called_cached(compose, tmp_path, done, caplog):
    path = done.edited.path / "vectors.npy"
    path.write_bytes(path.read_bytes()[:-4] + b"\x00\x00\x00\x01")
    again = run(compose(*QUICK), tmp_path / "again")
    assert not again.result["cached"]
    assert "damaged" in caplog.text
    assert again.result["edited"] == done.result["edited"]


def test_the_table_shows_each_side_in_its_column(done, capsys):
    print_report(done.result, done.folder)
    line = next(line for line in capsys.readouterr().out.splitlines() if "ACC" in line)
    shown = [float(cell.split()[0]) for cell in line.split("\u2502")[2:5]]
    result = done.result
    wanted = [result["baseline"]["acc"]["mean"], result["edited"]["acc"]["mean"], result["delta"]["acc"]["mean"]]
    assert shown == pytest.approx(wanted, abs=1e-4)


def test_a_run_folder_behind_a_link_finds_its_embeddings(compose, tmp_path):
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "away")
    run(compose(*QUICK), tmp_path / "link" / "run")
    assert len(itae.load_run(tmp_path / "link" / "run").baseline.ids) == 120


def test_a_run_that_is_killed_has_a_result_that_says_so(compose, tmp_path, monkeypatch):
    seen = []
    opened = itae.app.experiment.open_job

    def looking(settings):
        seen.append(itae.load_run(tmp_path / "run"))
        return opened(settings)

    monkeypatch.setattr("itae.app.experiment.open_job", looking)
    assert run(compose(*QUICK), tmp_path / "run").ok
    assert seen[0].result["status"] == "running"
    assert "did not end" in seen[0].result["error"]
    assert not seen[0].ok


def test_a_full_disk_in_the_run_folder_is_a_sentence(compose, tmp_path, monkeypatch, caplog):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("itae.tasks.clustering.task.write_assignments", full)
    assert run(compose(*QUICK), tmp_path / "run").ok, "what lies beside the numbers costs none"
    assert "assignments.csv could not be written" in caplog.text
    monkeypatch.setattr("itae.results.run.Path.write_text", full)
    with pytest.raises(UserError, match=r"result\.json can't be written \(No space left.*hydra\.run\.dir"):
        run(compose(*QUICK), tmp_path / "again")


@pytest.mark.slow
@pytest.mark.figures
def test_a_figure_that_fails_costs_no_result(compose, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("itae.look.run_figures.signal_figure", lambda *args: 1 / 0)
    found = run(compose(*QUICK), tmp_path / "run")
    assert found.ok
    assert found.result["figures"] == [
        f"figures/{name}.png" for name in ("norms", "layers", "artifacts", "embeddings", "clusters")
    ]
    assert "figure" in caplog.text


def test_images_that_are_left_out_are_said(compose, tmp_path, capsys):
    from PIL import Image

    for name in "ab":
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(6):
            Image.new("RGB", (20, 20), (40 * i, 100, 9)).save(tmp_path / "photos" / name / f"{i}.png")
    (tmp_path / "photos" / "a" / "3.png").write_bytes(b"")
    folder = ["dataset=imagefolder", f"dataset.root={tmp_path / 'photos'}", "dataset.bad_image=skip", *QUICK[1:]]
    result = run(compose(*folder), tmp_path / "run").result
    assert result["images"]["n"] == 11
    assert list(result["images"]["skipped"]) == ["a/3.png"]
    assert "1 images could not be decoded" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"clusterer\.k=12.*11"):
        run(compose(*folder, "clusterer.k=12", "layers=last"), tmp_path / "too_many")


def test_images_of_a_gallery_that_are_left_out_are_said(compose, tmp_path):
    from PIL import Image

    for split, shade in (("train", 9), ("test", 50)):
        for name in "ab":
            (tmp_path / "photos" / split / name).mkdir(parents=True)
            for i in range(4):
                picture = Image.new("RGB", (20, 20), (40 * i, 100 * (name == "a"), shade))
                picture.save(tmp_path / "photos" / split / name / f"{i}.png")
    (tmp_path / "photos" / "train" / "a" / "3.png").write_bytes(b"")
    folder = ("dataset=imagefolder", f"dataset.root={tmp_path / 'photos'}", "dataset.split=test")
    words = ("task=knn", "task.gallery={split: train}", "dataset.bad_image=skip", "tracker=none", "voter.k=1")
    result = run(compose(*folder, *words, "runtime.report=false"), tmp_path / "run").result
    assert result["images"]["skipped"] == {}
    told = [note for note in result["notes"] if "could not be decoded" in note]
    assert told == ["1 images of the gallery could not be decoded and are left out, such as 'train/a/3.png'."]


def test_images_of_the_same_bytes_are_told_and_do_not_vote_for_each_other(compose, tmp_path):
    """Noise, of which each picture is there twice: by its twin alone every image would be named rightly."""
    from PIL import Image

    draw = np.random.default_rng(0)
    for i, picture in enumerate(draw.integers(0, 255, (12, 20, 20, 3), np.uint8)):
        place = tmp_path / "photos" / "ab"[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        for name in ("one", "two"):
            Image.fromarray(picture).save(place / f"{i}{name}.png")
    folder = ["dataset=imagefolder", f"dataset.root={tmp_path / 'photos'}", *QUICK[1:]]
    found = run(compose(*folder, "task.knn=1"), tmp_path / "run")
    told = " ".join(found.result["notes"])
    assert "24 of 24 images have a twin" in told
    assert "other images vote" not in told, "one neighbour, and classes of twelve"
    assert found.result["baseline"]["knn"]["mean"] < 1
    assert np.bincount(read_clusterings(found).groups).tolist() == [2] * 12
    told = " ".join(run(compose(*folder), tmp_path / "many").result["notes"])
    assert "KNN lets 20 other images vote, and 2 of 2 classes have fewer of their own ('a' 11, 'b' 11)" in told, (
        "twins count as one"
    )


def write_digits(root, **counts):
    """Write small digits, so many of each class; ACC is 1 where classes are counted rightly."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for target, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True)
        for i, pixels in enumerate(digits.images[digits.target == target][:count]):
            Image.fromarray((pixels * 15.9).astype("uint8")).resize((32, 32)).save(root / name / f"{i:02d}.png")
    return ["dataset=imagefolder", f"dataset.root={root}", "backbone=digits_vit", "detector.k=20", *QUICK[1:4]]


def test_classes_that_lost_all_their_images_are_none(compose, tmp_path, caplog, capsys):
    """Three classes were clustered for two: ACC .9167."""
    words = write_digits(tmp_path / "gone", a=6, b=6, c=6)
    for file in (tmp_path / "gone" / "c").iterdir():
        file.write_bytes(b"")
    for name in ("first", "cached"):
        found = run(compose(*words, "dataset.bad_image=skip"), tmp_path / name)
        assert found.result["images"]["classes"] == found.result["baseline"]["k"] == 2
        assert found.result["baseline"]["acc"]["mean"] == 1
        assert "1 of 3 classes have no image here (c)" in capsys.readouterr().out
    assert "1 classes lost all their images with these (c)" in caplog.text
    page = found.write_page(tmp_path / "page.html").read_text()
    assert "1 of 3 classes have no image here (c)" in page


def test_classes_that_a_limit_takes_no_image_of_are_none(compose, tmp_path, caplog, capsys):
    words = write_digits(tmp_path / "few", a=20, b=20, c=1)
    found = run(compose(*words, "dataset.limit=10"), tmp_path / "run")
    assert found.result["images"] == {"n": 10, "classes": 2, "skipped": {}}
    assert found.result["baseline"]["acc"]["mean"] == 1
    assert "1 of the 3 classes of imagefolder have none of the 10 images of dataset.limit=10 (c)" in caplog.text
    assert "1 of 3 classes have no image here (c)" in capsys.readouterr().out
    assert (
        len(run(compose(*words, "dataset.limit=41"), tmp_path / "all").result["notes"])
        == len(found.result["notes"]) - 1
    )


@pytest.mark.parametrize(
    ("counts", "k", "why"),
    [
        ({"a": 6}, 1, "all 6 images are of one class"),
        ({"a": 6}, 2, "all 6 images are of one class"),
        ({"a": 1, "b": 1, "c": 1, "d": 1}, 4, "each of the 4 images is a class of its own"),
        ({"a": 1, "b": 1, "c": 1, "d": 1}, 2, "each of the 4 images is a class of its own"),
        ({"a": 1}, 1, "all 1 images are of one class"),
    ],
)
def test_labels_that_tell_nothing_score_nothing(compose, tmp_path, capsys, counts, k, why):
    """All clusterings of one class are right, and so is one cluster an image where each is a class."""
    words = write_digits(tmp_path / "photos", **counts)
    words += [] if k == len(counts) else [f"clusterer.k={k}"]
    found = run(compose(*words), tmp_path / "run")
    assert found.result["delta"] is None
    for side in ("baseline", "edited"):
        assert found.result[side]["k"] == k
        assert not {"acc", "nmi", "ami", "ari", "purity", "knn"} & found.result[side].keys()
        assert "acc" not in found.result[side]["lowest_inertia"]
    assert found.result["images"]["classes"] == len(counts)
    out = capsys.readouterr().out
    assert f"No ACC, NMI, ARI, AMI, purity or KNN: {why}" in out
    assert "inertia" in out
    with (tmp_path / "run" / "assignments.csv").open() as file:
        assert {row["label"] for row in csv.DictReader(file)} == counts.keys()
    assert why in found.write_page(tmp_path / "page.html").read_text()
    assert itae.load_runs(tmp_path / "run")["images"].tolist() == [sum(counts.values())]


@pytest.mark.parametrize("how", ["link", "copy"])
def test_an_image_of_two_classes_is_told(compose, tmp_path, how):
    words = write_digits(tmp_path / "photos", a=4, b=4)
    one, other = (tmp_path / "photos" / name for name in ("a/00.png", "b/99.png"))
    other.symlink_to(one) if how == "link" else other.write_bytes(one.read_bytes())
    (tmp_path / "photos" / "a" / "50.png").write_bytes((tmp_path / "photos" / "a" / "03.png").read_bytes())  # no matter
    notes = run(compose(*words), tmp_path / "run").result["notes"]
    told = "2 images have the bytes of one of another class ('a/00.png' and 'b/99.png')"
    assert [told in note for note in notes].count(True) == 1


@pytest.mark.slow
def test_a_fit_that_found_no_modes_is_said_each_time(compose, tmp_path):
    for name in ("first", "cached"):
        result = run(compose(*QUICK, "detector.rule=bimodal", "detector.calibration_images=64"), tmp_path / name).result
        assert result["fits"]["3"]["reason"] == "bimodal"
        assert any("No two modes in 3 of 6 blocks" in note for note in result["notes"])


@pytest.mark.parametrize(
    ("overrides", "note"),
    [
        (["backbone.pool=mean", "layers=last", "attenuator.queries=cls"], "changed no embedding"),
        (["detector=none"], "No edit"),
        (["layers=none"], "No edit"),
        (["attenuator.strength=0"], "No edit"),
        (["detector.rule=absolute", "detector.threshold=1e9"], "Nothing was flagged"),
        (["detector.rule=absolute", "detector.threshold=0"], "flagged in 720"),
    ],
)
def test_a_run_that_did_nothing_says_so(compose, tmp_path, capsys, overrides, note):
    result = run(compose(*QUICK, *overrides), tmp_path / "run").result
    assert note in " ".join(result["notes"])
    assert note in capsys.readouterr().out
    if "flagged in 720" not in note:
        assert result["delta"]["acc"]["mean"] == 0


def test_what_ties_keep_from_being_flagged_is_counted_and_said(compose, tmp_path):
    """Without positions, all patches of a blank picture are one; noise has thresholds all the same."""
    from PIL import Image

    rng = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for i in range(12):
        noise = rng.integers(0, 255, (32, 32, 3), np.uint8)
        picture = Image.fromarray(noise) if i % 3 else Image.new("RGB", (32, 32), (20 * i, 255, 255))
        picture.save(tmp_path / "pictures" / f"{i}.png")
    weights = tiny_models.save(tmp_path / "tiny.safetensors", "tiny_nowhere")
    words = ["dataset=imagefolder", f"dataset.root={tmp_path / 'pictures'}", "clusterer.k=2", "tracker=none"]
    words += ["backbone=timm", "backbone.model_name=tiny_nowhere", "backbone.module=tiny_models"]
    words += ["backbone.image_size=32", f"backbone.checkpoint={weights}", "layers=all"]
    words += ["detector=key_norm", "detector.rule=mad", "attenuator=scale"]
    result = run(compose(*words), tmp_path / "run").result
    assert [row["tied"] for row in result["layers"]] == [4, 4]
    assert all(row["threshold"] > 0 for row in result["layers"])
    assert "In 8 (image, block) pairs too many patches have one and the same signal" in str(result["notes"])
    idle = run(compose(*words, "detector.rule=ratio", "detector.ratio=1"), tmp_path / "idle").result
    assert [row["tied"] for row in idle["layers"]] == [0, 0], "a ratio of 1 flags nothing in any picture"


def test_a_failed_run_leaves_its_reason(compose, tmp_path, monkeypatch):
    with pytest.raises(UserError):
        run(compose(*QUICK, "layers=[77]"), tmp_path / "mistake")
    left = itae.load_run(tmp_path / "mistake")
    assert not left.ok
    assert "77" in left.result["error"]
    assert left.settings["layers"] == [77]
    with pytest.raises(UserError, match="no baseline embeddings"):
        _ = left.baseline
    monkeypatch.setattr("itae.app.job.extract", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(compose(*QUICK), tmp_path / "bug")
    assert itae.load_run(tmp_path / "bug").result["error"].startswith("ZeroDivisionError")


def test_an_interrupted_run_leaves_its_reason(compose, tmp_path, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("itae.app.job.extract", interrupted)
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


@pytest.mark.slow
def test_a_run_is_logged_to_wandb_offline(compose, tmp_path):
    overrides = [word for word in QUICK if word != "tracker=none"]
    run(compose(*overrides), tmp_path / "run")
    (log,) = (tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb")
    config, history = {}, {}
    for record in records(log):
        config |= items(record.run.config.update) if record.HasField("run") else {}
        history |= items(record.history.item) if record.HasField("history") else {}
    result = itae.load_run(tmp_path / "run").result
    assert config["backbone"]["model_name"] == "digits_vit_artifacts"
    assert config["detector"]["vector"] == "key"
    logged = history.get("baseline.acc.mean", history.get("baseline/acc/mean"))
    assert logged == result["baseline"]["acc"]["mean"], sorted(history)
    assert history["layer/artifact_rate"] == result["artifact_rate"]["5"], "the last of six rows"
    assert history["layer/signal_p50"] == result["layers"][5]["signal"]["p50"]


def test_labels_reach_the_metrics_and_nothing_else(compose, tmp_path, monkeypatch):
    """With every label replaced, vectors, assignments and inertia stay what they were; only the scores change."""
    from itae.images.datasets import Digits

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
    with pytest.raises(UserError, match=r"attenuator\.strength=nan"):
        plain_config({**plain, "attenuator": {**plain["attenuator"], "strength": float("nan")}})
    json.dumps(plain, allow_nan=False)
    assert "experiment" not in plain
    with pytest.raises(UserError, match=r"dataset\.root"):
        plain_config(compose("dataset=imagefolder"))


EMBEDDED = ["backbone=digits_vit", "dataset=digits", "dataset.limit=60", "clusterer.seeds=2", "clusterer.restarts=1"]
EMBEDDED += ["tracker=none"]


ELSEWHERE = ("category_retrieval", "feedback_emoji", "leaderboard", "model_size")
"""Which need data or models of their own: tests/test_feedback_experiments.py, tests/test_leaderboard.py."""
EXPERIMENTS = sorted({path.stem for path in (conf_dir() / "experiment").glob("*.yaml")} - {*ELSEWHERE})


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_runs_on_the_embedded_model(compose, tmp_path, name):
    needed = {"reproduce": ["detector.threshold=3"], "demo": ["backbone=digits_vit_artifacts"],
              "knn_imagenet": ["dataset.split=test"], "split_cifar100": ["task.tasks=5", "task.orders=2"],
              "incremental_digits": ["task.orders=2", "task.rivals=[]"],
              "feedback_pairs": ["dataset=digit_pairs"],
              "feedback_conditions": ["dataset=digits_conditions"]}  # fmt: skip
    given = [word.partition("=")[0] for word in needed.get(name, [])]
    embedded = [word for word in EMBEDDED if word.partition("=")[0] not in given]
    overrides = [f"experiment={name}", *embedded, *needed.get(name, [])]
    text = (conf_dir() / "experiment" / f"{name}.yaml").read_text()
    assert run(compose(*overrides), tmp_path / "run").ok
    if "MULTIRUN" in text:
        import yaml

        for key, values in yaml.safe_load(text)["hydra"]["sweeper"]["params"].items():
            swept = list(OverridesParser.create().parse_override(f"{key}={values}").sweep_string_iterator())
            for value in (swept[0], swept[-1]):
                assert run(compose(*overrides, f"{key}={value}"), tmp_path / f"{key}{value}").ok


@pytest.mark.slow
def test_a_terminal_that_can_not_take_the_table_costs_the_table_alone(compose, tmp_path, monkeypatch):
    for error in (BrokenPipeError, UnicodeEncodeError("ascii", "\u00b1", 0, 1, "no"), SystemExit(1)):

        def refuse(*args, error=error):
            raise error

        monkeypatch.setattr("itae.app.experiment.print_report", refuse)
        assert run(compose(*QUICK), tmp_path / type(error).__name__).ok
