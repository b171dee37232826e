"""What was written when every module lay in one folder is found, read and reported by what came after.

``tests/data/before_rooms`` is of that time: a cache, run folders, a calibration, the table that ``itae collect`` made
of the runs, the pictures of one of them, and what settings gave for their part of the key (``edits.json``). Class paths
and module names in it are in users' files and in keys, so they are a contract. Nothing of it is to be written anew.
"""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hydra.utils import get_class
from omegaconf import OmegaConf

import itae
from itae.app.settings import Settings
from itae.base.construct import construct

BEFORE = Path(__file__).parent / "data" / "before_rooms"
RUNS = ("sweep/0", "sweep/1", "registers", "calibrated", "pictures")
SAME = ("edit", "artifact_rate", "layers", "norms", "fits", "registers", "moved", "grid", "images", "selection")
"""Of a result: what it takes from the cache, or says of its settings."""
EDITS = json.loads((BEFORE / "edits.json").read_text())
DEPTH = 24  # of the model that they are of: presets of test-time registers name blocks of a large one
WEIGHTS = "pkg://itae/weights/digits_vit.safetensors"

# Every class that a config named, with the options that it can't do without.
CLASSES = {
    "itae.attenuate.Blend": ("attenuator", {}),
    "itae.attenuate.Cap": ("attenuator", {}),
    "itae.attenuate.Fade": ("attenuator", {}),
    "itae.attenuate.Floor": ("attenuator", {}),
    "itae.attenuate.MeanValue": ("attenuator", {}),
    "itae.attenuate.Scale": ("attenuator", {}),
    "itae.backbone.Backbone": ("backbone", {"model_name": "x", "checkpoint": WEIGHTS, "module": "itae.digits_vit"}),
    "itae.cluster.KMeans": ("clusterer", {}),
    "itae.controls.MeanValue": ("control", {}),
    "itae.controls.NoControl": ("control", {}),
    "itae.controls.OtherSide": ("control", {}),
    "itae.controls.Random": ("control", {}),
    "itae.data.Cifar": ("dataset", {"name": "cifar10", "variant": 10, "root": "data", "split": "test"}),
    "itae.data.Digits": ("dataset", {"name": "digits"}),
    "itae.data.ImageFolder": ("dataset", {"name": "imagefolder", "root": "."}),
    "itae.data.Stl10": ("dataset", {"name": "stl10", "root": "data", "split": "test"}),
    "itae.data.TinyImageNet": ("dataset", {"name": "tiny_imagenet", "root": "data", "split": "val"}),
    "itae.detect.ClsAttention": ("detector", {}),
    "itae.detect.Nothing": ("detector", {}),
    "itae.detect.Random": ("detector", {}),
    "itae.detect.ResidualNorm": ("detector", {}),
    "itae.detect.VectorNorm": ("detector", {"vector": "key"}),
    "itae.edit.Attention": ("edit", {}),
    "itae.registers.TestTimeRegisters": ("edit", {}),
    "itae.tasks.clustering.Clustering": ("task", {}),
    "itae.tracking.NoTracker": ("tracker", {}),
    "itae.tracking.Wandb": ("tracker", {}),
}
SWEEPS = ("GridSweeper", "JoblibLauncher", "OptunaSweeper", "RayLauncher", "SharedPassLauncher", "SlurmLauncher")


@pytest.fixture
def before(tmp_path, monkeypatch) -> Path:
    """Return a copy of the folder, and be in it."""
    shutil.copytree(BEFORE, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ITAE_CACHE", "cache")
    return tmp_path


def result_of(run: str) -> dict:
    found: dict = json.loads((BEFORE / "runs" / run / "result.json").read_text())
    return found


def entries(folder: Path) -> dict[str, bytes]:
    """Return what each entry and each search that is kept says of itself."""
    files = [*folder.glob("cache/*/*/[0-9a-f]*/meta.json"), *folder.glob("cache/.registers/*")]
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def rounded(value: Any) -> Any:
    return json.loads(json.dumps(value), parse_float=lambda number: round(float(number), 9))


def told(config: dict, pool: str) -> dict | None:
    """Return an edit's part of the key, as JSON has it."""
    settings = Settings.of(config)
    edit = settings.edit.make(settings.detector, settings.attenuator, settings.layers, SimpleNamespace(depth=DEPTH))
    found: dict | None = json.loads(json.dumps(edit and edit.spec(DEPTH, pool)))
    return found


def composed(*words: str) -> dict:
    config = OmegaConf.to_container(itae.compose(list(words)), resolve=True)
    assert isinstance(config, dict)
    return {str(name): value for name, value in config.items() if name != "experiment"}


# --- the cache


@pytest.mark.parametrize("run", RUNS)
def test_the_words_of_a_run_find_the_embeddings_that_it_wrote(before, run):
    old, there = result_of(run), entries(before)
    new = itae.run(itae.compose(old["started"]["overrides"]), before / "runs" / run.replace("/", "_")).result
    assert new["cached"] is True
    assert entries(before) == there, "neither made again nor under another name"
    for side, folder in old["embeddings"].items():
        assert Path(new["embeddings"][side]).name == Path(folder).name
    for name in SAME:
        assert rounded(new[name]) == rounded(old[name]), name
    assert new["delta"].keys() >= old["delta"].keys()


@pytest.mark.parametrize("run", RUNS)
def test_the_settings_in_a_result_do_too(before, run):
    """Class paths of then, whatever a yaml has by now."""
    old, there = result_of(run), entries(before)
    new = itae.run(old["settings"], before / "again").result
    assert (new["cached"], new["edit"]) == (True, old["edit"])
    assert entries(before) == there


def test_a_search_of_before_is_not_made_again(before):
    words = [*result_of("registers")["started"]["overrides"], "edit.top_k=3"]
    (kept,) = before.glob("cache/.registers/*")
    written = kept.stat().st_mtime_ns
    new = itae.run(itae.compose(words), before / "three").result
    assert new["cached"] is False
    assert list(before.glob("cache/.registers/*")) == [kept]
    assert kept.stat().st_mtime_ns == written
    assert new["registers"]["neurons"] == result_of("registers")["registers"]["neurons"][:3]


# --- class paths


@pytest.mark.parametrize("path", CLASSES)
def test_a_class_has_the_path_that_users_wrote(path):
    group, options = CLASSES[path]
    made = construct(group, {"_target_": path, **options})
    assert type(made).__name__ == path.rpartition(".")[2]


@pytest.mark.parametrize("name", SWEEPS)
def test_a_launcher_or_sweeper_has_the_path_that_users_wrote(name):
    assert get_class(f"hydra_plugins.itae_sweeps.{name}").__name__ == name


@pytest.mark.parametrize("words", EDITS)
def test_settings_of_before_give_the_key_of_before(words):
    case = EDITS[words]
    assert told(composed() | case["config"], case["pool"]) == case["spec"]


@pytest.mark.parametrize("words", EDITS)
def test_words_of_before_give_the_key_of_before(words):
    config = composed(*words.split())
    assert told(config, config["backbone"]["pool"]) == EDITS[words]["spec"]


# --- results


@pytest.mark.parametrize("run", RUNS)
def test_a_run_of_before_is_read_with_its_images(before, run):
    file = before / "runs" / run / "result.json"
    file.write_text(file.read_text().replace("/home/someone", str(before)))  # where it was started
    found = itae.load_run(file.parent)
    assert found.ok
    assert found.edited.vectors.shape == (found.result["images"]["n"], 96)
    assert not np.array_equal(found.edited.vectors, found.baseline.vectors)
    assert found.open_images().ids == found.edited.ids, "without trust"
    assert list(found.scores.loc["acc", ["baseline", "edited"]]) == [
        found.result[side]["acc"]["mean"] for side in ("baseline", "edited")
    ]
    clusters = found.read_assignments()
    assert len(clusters.labels or ()) == len(clusters.edited) == len(found.edited.ids)


def test_collect_makes_the_same_table(before, itae_):
    status, out, err = itae_("collect", "runs")
    assert (status, err) == (0, "")
    assert "6 rows (5 ok, 1 failed)" in out
    with (BEFORE / "table.csv").open(newline="") as file, (before / "runs/results.csv").open(newline="") as now:
        rows, found = ({row["folder"]: row for row in csv.DictReader(lines)} for lines in (file, now))
    assert found.keys() == rows.keys()
    for folder, row in rows.items():
        for column, value in row.items():
            assert same(found[folder][column], value), (folder, column)


def same(found: str, value: str) -> bool:
    try:
        return float(found) == pytest.approx(float(value), abs=1e-9)
    except ValueError:
        return found == value


@pytest.mark.parametrize("run", ["pictures", "registers", "failed"])
def test_a_run_of_before_can_be_reported(before, itae_, run):
    file = before / "runs" / run / "result.json"
    file.write_text(file.read_text().replace("/home/someone", str(before)))
    status, _, err = itae_("report", f"runs/{run}", "--out", "page.html")
    assert status == 0, err
    page, result = Path("page.html").read_text(), result_of(run)
    if run == "failed":
        assert result["error"] in page
        return
    assert f"{result['edited']['acc']['mean']:.4f}" in page
    assert "There are no pictures" not in page
    assert "There is no gallery" not in page


def test_a_sweep_of_before_can_be_reported(before, itae_):
    status, _, err = itae_("report", "runs/sweep", "--out", "page.html")
    assert status == 0, err
    page = Path("page.html").read_text()
    assert "<h1>2 runs</h1>" in page
    for side in ("baseline", "edited"):
        assert f"{result_of('sweep/0')[side]['acc']['mean']:.4f}" in page
