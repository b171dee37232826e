"""Somebody else's run: reading it imports nothing but our own classes, waits for nothing, and reads no other files."""

from __future__ import annotations

import json
import os
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from PIL import Image

from itae.app.compose import compose, conf_dir
from itae.app.experiment import run
from itae.base.construct import construct
from itae.base.errors import UserError
from itae.images.datasets import Dataset
from itae.look.page import write_page
from itae.look.page.run_part import run_part
from itae.look.run_figures import Seen
from itae.look.view import load_run
from itae.results.find import find_results
from itae.results.foreign import refuse_foreign
from itae.results.table import read_table
from itae.store.store import DamagedEntry, read_entry
from itae.track import sync

OWN = """
from pathlib import Path
Path(__file__).with_name("imported").touch()
from dataclasses import dataclass
from itae.images.datasets import ImageFolder
@dataclass(frozen=True, kw_only=True)
class Pictures(ImageFolder):
    pass
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Return a folder with ``own.py``, and a run on 18 noise pictures in ``run``, of which nothing is relative."""
    home = tmp_path_factory.mktemp("stranger")
    draw = np.random.default_rng(0)
    for i in range(18):
        path = home / "pictures" / "abc"[i % 3] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (8, 8), dtype=np.uint8)).save(path)
    GlobalHydra.instance().clear()
    words = ["dataset=imagefolder", f"dataset.root='{home / 'pictures'}'", "clusterer.seeds=2", "clusterer.restarts=1",
             "tracker=none", "runtime.diagnostics=false", f"paths.cache='{home / 'cache'}'"]  # fmt: skip
    done = run(compose(words), home / "run")
    done.result["embeddings"] = {side: str(getattr(done, side).path) for side in ("baseline", "edited")}
    done.result["started"]["cwd"] = str(home)
    (home / "run" / "result.json").write_text(json.dumps(done.result))
    (home / "own.py").write_text(OWN)
    return home


@pytest.fixture
def told(home, tmp_path, monkeypatch):
    """Return a function that gives the run another result, in a folder of its own, in which ``own`` can be imported."""
    monkeypatch.chdir(home)
    monkeypatch.syspath_prepend(home)

    def told(change, name="0"):
        shutil.copytree(home / "run", tmp_path / name)
        result = load_run(home / "run").result
        change(result)
        (tmp_path / name / "result.json").write_text(json.dumps(result))
        return tmp_path / name

    yield told
    sys.modules.pop("own", None)
    (home / "imported").unlink(missing_ok=True)


def pictures(folder, **options):
    """Return whether the page of a run has pictures of the images, and its text."""
    text = write_page([folder], **options).read_text()
    return "There are no pictures of the images" not in text, text


@pytest.mark.parametrize(
    ("node", "why"),
    [
        ({"_target_": "own.Pictures"}, "not one of itae"),
        ({"_target_": "os.system"}, "not one of itae"),
        ({"_target_": "itae.images.datasets.os.system"}, "not one of itae"),
        ({"_target_": "itae.data.Path"}, "not one of itae"),
        ({"_target_": "itae.images.transform.Path"}, "not one of itae"),
        ({"_target_": "itae.data.ImageSet"}, "not one of itae"),
        ({"_target_": ["own.Pictures"]}, "not one of itae"),
        ({"_target_": None}, "not one of itae"),
        ({"root": {"_target_": "own.Pictures"}}, "not one of itae"),
        ({"limit": {"_target_": "own.Pictures"}}, "not one of itae"),
        ({"more": {"_target_": "own.Pictures"}}, "not one of itae"),
        ({"root": {"_target_": "itae.data.Digits", "name": {"_target_": "own.Pictures"}}}, "not one of itae"),
        ({"module": "own"}, "no option"),
        ({"_target_": "itae.data.Downloaded"}, "opened"),
        ({"root": "/etc"}, "holds no images"),
        ({"root": "pipe"}, "not a folder"),
        ({"root": "a" * 5000}, "File name too long"),
        ({"root": 5}, "not a folder"),
        ({"limit": "many"}, "must be a whole number"),
        ({"limit": 17}, "not the ones that the run saw"),
    ],
)
def test_a_data_set_that_is_not_ours_costs_the_pictures_and_nothing_else(home, told, node, why):
    if not (home / "pipe").exists():
        os.mkfifo(home / "pipe")
    folder = told(lambda result: result["settings"]["dataset"].update(node))
    there, text = pictures(folder)
    assert not there
    assert why in text
    assert 'table class="scores"' in text, "the page is there"
    assert "own" not in sys.modules
    assert not (home / "imported").exists()


def test_whoever_trusts_a_run_says_so(home, told, itae_):
    folder = told(lambda result: result["settings"]["dataset"].update(_target_="own.Pictures"))
    os.chdir(home)
    for _ in range(2):
        with pytest.raises(UserError, match=r"'own\.Pictures'.*--trust"):
            load_run(folder).open_images()
    assert not (home / "imported").exists()
    assert not pictures(folder)[0]
    status, _, err = itae_("report", "--trust", str(folder))
    assert not status, err
    assert "There are no pictures" not in (folder / "report.html").read_text()
    assert (home / "imported").exists()
    assert len(load_run(folder).open_images(trust=True)) == 18
    assert pictures(folder, trust=True)[0]


def test_a_page_at_the_end_of_a_run_has_the_pictures_of_any_data_set(home, told):
    folder = told(lambda result: result["settings"]["dataset"].update(_target_="own.Pictures"))
    assert not run_part(load_run(folder), 10, load_run(home / "run").open_images())["missing"]
    assert not (home / "imported").exists(), "they are at hand"


@pytest.mark.parametrize("file", sorted((conf_dir() / "dataset").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_data_set_of_ours_is_one(file, tmp_path):
    node = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    if "root" in node:
        node["root"] = str(tmp_path)
    refuse_foreign(node)
    assert isinstance(construct("dataset", node), Dataset)


def test_no_pipe_is_waited_for(home, told):
    folder = told(lambda result: None)
    (folder / "assignments.csv").unlink()
    os.mkfifo(folder / "assignments.csv")
    assert "There is no gallery" in pictures(folder)[1]
    entry = folder.parent / load_run(folder).edited.path.name
    for name in ("meta.json", "vectors.npy"):
        shutil.copytree(load_run(folder).edited.path, entry)
        (entry / name).unlink()
        os.mkfifo(entry / name)
        with pytest.raises(DamagedEntry, match=f"{name} is no file"):
            read_entry(entry)
        shutil.rmtree(entry)
    (folder / "result.json").unlink()
    os.mkfifo(folder / "result.json")
    with pytest.raises(UserError, match="is no run"):
        load_run(folder)
    with pytest.raises(UserError, match="No result"):
        find_results([folder])


def test_no_file_of_the_reader_gets_into_a_page(told, tmp_path):
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "clusters.png").write_bytes(b"a private picture")
    folder = told(lambda result: result.update(figures=["../private/clusters.png", str(tmp_path / "private" / "x")]))
    (folder / "assignments.csv").unlink()  # or they would be drawn anew
    assert "YSBwcml2YXRl" not in pictures(folder)[1], "base64 of its first bytes"


def test_no_link_in_its_figures_leads_to_a_file_of_the_reader(told, tmp_path):
    private = tmp_path / "private.png"
    private.write_bytes(b"a private picture")
    folder = told(lambda result: result.update(figures=["figures/clusters.png"]))
    (folder / "assignments.csv").unlink()  # or they would be drawn anew
    picture = folder / "figures" / "clusters.png"
    picture.parent.mkdir(exist_ok=True)
    picture.write_bytes(b"a private picture")
    assert "YSBwcml2YXRl" in pictures(folder)[1], "a picture of the run's own"
    picture.unlink()
    picture.symlink_to(private)
    assert "YSBwcml2YXRl" not in pictures(folder)[1]


@pytest.mark.parametrize(
    "change",
    [
        lambda result: result.update(settings={"dataset": [1]}),
        lambda result: result["settings"].update(clusterer=5),
        lambda result: result["delta"].update(acc=5),
        lambda result: result.update(figures=5),
        lambda result: result.update(embeddings={"baseline": "\0", "edited": "\0"}, layers=[1]),
        lambda result: result.update(started={"cwd": 5, "overrides": [1]}),
        lambda result: result["baseline"].update(k=10**400),
    ],
)
def test_one_result_that_is_none_costs_not_the_page_of_all(told, change):
    def best(result):
        result["edited"]["silhouette"]["mean"] = 0.99
        change(result)

    other, folder = told(lambda result: None, "1"), told(best)
    assert "<h1>2 runs" in pictures(folder.parent)[1] or "<h1>1 runs" in pictures(folder.parent)[1]
    table, damaged, _ = read_table(find_results([folder.parent]), other)
    assert len(table) + len(damaged) == 2


def test_a_label_that_no_class_can_have_is_not_counted_up_to(tmp_path):
    labels = np.array([0, 2**60])
    clusters = SimpleNamespace(labels=["a", "b"])
    (tmp_path / "assignments.csv").touch()
    edited = SimpleNamespace(labels=labels)
    stranger = SimpleNamespace(read_assignments=lambda: clusters, edited=edited, folder=tmp_path)
    with pytest.raises(UserError, match=r"labels of .* are damaged"):
        Seen.of(stranger, None, clustered=True)


def test_a_module_beside_the_runs_is_not_taken_for_wandb(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wandb.py").write_text("open('imported', 'w')")
    with pytest.raises(UserError, match="could not be sent"):
        sync._send([tmp_path / "offline-run-0"], ["--help"], 60)
    assert not (tmp_path / "imported").exists()
