"""The task of a memory that grows, through runs, sweeps, collect and page."""

from __future__ import annotations

import csv
import json
import pickle
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import itae.tasks.incremental.task
from itae.base.errors import UserError
from itae.tasks.incremental import Incremental

SMALL = ("task=incremental", "dataset.limit=120", "tracker=none", "voter.k=3", "task.orders=2")
EDIT = ("backbone=digits_vit_artifacts", "attenuator=scale", "layers=all", "detector.side=high", "detector.k=20")


def ran(itae_, *words, folder="run"):
    status, out, err = itae_(*SMALL, *words, f"hydra.run.dir={folder}")
    assert status == 0, err
    return json.loads(Path(folder, "result.json").read_text()), out


def rows(path):
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def accuracy(predictions, side):
    return np.mean([row[side] == row["label"] for row in predictions])


@pytest.mark.slow
def test_a_run_tells_all_methods_on_both_sides(itae_):
    result, out = ran(itae_, *EDIT, "task.tasks=5")
    assert (result["kind"], result["status"]) == ("incremental", "ok")
    about = result["incremental"]
    assert (about["protocol"], about["steps"], about["queries"], about["rows"]) == ("class", 5, 120, 120)
    assert about["orders"][0] == [["0", "1"], ["2", "3"], ["4", "5"], ["6", "7"], ["8", "9"]]
    scores = ("final", "final_by_task", "average", "backward_transfer", "forgetting")
    for side in ("baseline", "edited"):
        for method in ("", "class_mean_", "linear_probe_", "fine_tuned_"):
            assert all(len(result[side][method + name]["per_seed"]) == 2 for name in scores)
        assert result[side]["final"]["std"] == 0, "all orders end in one memory"
        assert result[side]["fine_tuned_final"]["mean"] < result[side]["linear_probe_final"]["mean"]
        assert accuracy(rows("run/predictions.csv"), side) == pytest.approx(result[side]["final"]["mean"])
    change = result["delta"]["average"]
    assert change["interval"][0] <= change["mean"] <= change["interval"][1]
    assert len(result["parts"]) == 2
    for words in ("average incremental accuracy", "fine tuned: forgetting", "2 orders", "class-incremental, 5 steps"):
        assert words in out
    assert any("new confusions" in note for note in result["notes"])
    assert any("5 parts" in note for note in result["notes"])


def test_the_matrix_has_each_order_method_and_side(itae_):
    result, _ = ran(itae_, *EDIT, "task.tasks=4", "task.rivals=[class_mean]")
    table = rows("run/matrix.csv")
    assert Counter(row["method"] for row in table) == {"memory": 2 * 2 * 10, "class_mean": 2 * 2 * 10}
    cells = defaultdict(list)
    for row in table:
        if row["method"] == "memory":
            cells[row["side"], int(row["i"]), int(row["j"])].append(float(row["accuracy"]))
    for side, matrix in result["incremental"]["matrix"].items():
        for i, j in np.ndindex(4, 4):
            if i < j:
                assert matrix[i][j] is None
            else:
                assert matrix[i][j] == pytest.approx(np.mean(cells[side, i, j]), abs=1e-6)
    assert "3, 3, 2, 2 at a step" in " ".join(result["notes"])


@pytest.mark.slow
def test_a_gallery_is_asked_and_its_protocols_agree(itae_):
    """The last step is the same memory, by class and by sample, and plain neighbours, by one task."""
    ends = {}
    for name, words in {"class": ["task.tasks=10"], "sample": ["task.tasks=6"], "one": ["task.tasks=1"]}.items():
        protocol = "class" if name == "one" else name
        more = ("dataset.split=test", "task.gallery={split: train}", f"task.protocol={protocol}", "task.rivals=[]")
        result, out = ran(itae_, *more, *words, folder=name)
        assert list(result["embeddings"]) == ["baseline", "edited", "baseline.gallery", "edited.gallery"]
        ends[name] = rows(f"{name}/predictions.csv")
        assert ("forgetting" in result["baseline"]) == (name == "class")
        assert ("forgetting" in out) == (name == "class")
    assert ends["class"] == ends["sample"] == ends["one"]
    assert len(ends["one"]) == 120


def test_given_the_task_a_memory_forgets_nothing(itae_):
    result, _ = ran(itae_, "task.protocol=task")
    assert result["incremental"]["steps"] == 5, "two classes each"
    for name in ("forgetting", "backward_transfer"):
        assert result["baseline"][name] == {"mean": 0, "std": 0, "per_seed": [0, 0]}
    assert "0 by construction" in " ".join(result["notes"])
    predictions = rows("run/predictions.csv")
    for order in (0, 1):
        task = {name: i for i, some in enumerate(result["incremental"]["orders"][order]) for name in some}
        mine = [row for row in predictions if row["order"] == str(order)]
        assert len(mine) == 120
        assert all(task[row["label"]] == task[row["baseline"]] for row in mine)


@pytest.mark.slow
def test_the_voter_is_chosen_once_in_the_untouched_memory(itae_, monkeypatch):
    chosen, choose = [], itae.tasks.incremental.task.choose
    monkeypatch.setattr(
        "itae.tasks.incremental.task.choose", lambda one, *more: chosen.append(one) or choose(one, *more)
    )
    words = ("dataset.split=test", "task.gallery={split: train}", "task.rivals=[]", "voter.k=null", "task.orders=1")
    result, out = ran(itae_, *EDIT, *words)
    (memory,) = chosen
    assert memory.root == Path(result["embeddings"]["baseline.gallery"]).name
    assert "of the untouched side, for both" in out


def test_one_class_a_task_is_told_of(itae_):
    result, _ = ran(itae_, "task.protocol=task", "task.tasks=10", "task.rivals=[]", "task.orders=1")
    assert result["baseline"]["final"] == {"mean": 1, "std": None, "per_seed": [1]}
    assert "10 of 10 tasks have one class" in " ".join(result["notes"])


@pytest.mark.slow
def test_a_sweep_grows_the_baseline_once_and_is_collected(itae_, monkeypatch):
    grown, grow = [], Incremental._grow
    monkeypatch.setattr(Incremental, "_grow", lambda self, *more: grown.append(self.protocol) or grow(self, *more))
    words = ("-m", *SMALL, *EDIT, "task.tasks=5", "task.protocol=class,task", "attenuator.strength=0.5,1")
    status, _, err = itae_(*words, "hydra.sweep.dir=sweep")
    assert status == 0, err
    assert len(grown) == 3, "the baseline, and two edits, for both protocols"
    assert itae_("collect", "sweep")[0] == 0
    table = pd.read_csv("sweep/results.csv")
    assert len(table) == 4
    assert {"edited.final.mean", "delta.forgetting.mean", "edited.linear_probe_final.mean"} <= set(table)
    own = table[table["task.protocol"] == "task"]
    assert (own["edited.forgetting.mean"] == 0).all()


@pytest.mark.figures
@pytest.mark.slow
def test_the_page_has_figures_and_tables(itae_):
    result, _ = ran(itae_, *EDIT, "task.tasks=5")
    page = Path("run/report.html").read_text()
    for words in (
        "What is known in the end",
        "linear probe",
        "The memory&#39;s accuracy",
        "accuracy on what has arrived",
    ):
        assert words in page, words
    names = {Path(name).stem for name in result["figures"]}
    assert names >= {"accuracy_by_step", "accuracy_matrix"}


def test_of_one_task_there_is_no_forgetting_to_show(itae_):
    result, _ = ran(itae_, "task.rivals=[]", "task.protocol=sample", "task.tasks=3")
    shown = result["shown"]
    assert (shown["headline"], shown["criterion"], shown["table"]) == ("final", None, ["final", "average"])
    assert not [name for name in result["figures"] if "accuracy_matrix" in name], "there is one task"


# --- images of people


@pytest.fixture
def folder(tmp_path):
    """Return a folder of three classes: of `lone` one image, of the others four, two and two of one film."""
    from PIL import Image

    for name in ("a/x1", "a/x2", "a/y1", "a/y2", "b/x1", "b/x2", "b/y1", "b/y2", "lone/x1"):
        path = tmp_path / "images" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        shade = (60 if name[0] == "a" else 200) + len(name) + int(name[-1]) + 5 * ("y" in name)
        Image.new("RGB", (16, 16), (shade, shade // 2, 40)).save(path)
    groups = "\n".join(f"{name},{name}" for name in ("a/x1.png", "b/x1.png"))
    (tmp_path / "films.csv").write_text(f"id,group\na/x2.png,one\nb/x2.png,one\n{groups}\n")
    return tmp_path


def own(folder, *words):
    return ("dataset=imagefolder", f"dataset.root={folder / 'images'}", "dataset.limit=null", *words)


def test_a_class_of_one_image_cant_be_told_and_a_group_doesnt_vote(itae_, folder):
    result, _ = ran(itae_, *own(folder, f"task.group={folder / 'films.csv'}", "task.rivals=[]", "voter.k=1"))
    notes = " ".join(result["notes"])
    assert "All images of lone are of one group" in notes
    told = {row["id"]: row["baseline"] for row in rows("run/predictions.csv")}
    assert told["lone/x1.png"] != "lone"
    assert result["incremental"]["steps"] == 3, "there are three classes"


def test_labels_of_a_file_and_images_without_one(itae_, folder):
    labels = folder / "labels.csv"
    labels.write_text("id,label\n" + "".join(f"a/{n}.png,red\nb/{n}.png,blue\n" for n in ("x1", "x2", "y1")))
    result, _ = ran(itae_, *own(folder, f"task.labels={labels}", "task.rivals=[]", "voter.k=20"))
    assert "3 images have no label" in " ".join(result["notes"])
    assert "k 20 is over the 6 rows" in " ".join(result["notes"])
    assert {row["label"] for row in rows("run/predictions.csv")} == {"red", "blue"}
    labels.write_text("id,label\na/x1.png,red\na/x1.png,blue\nb/x1.png,blue\n")
    status, _, err = itae_(*SMALL, *own(folder, f"task.labels={labels}"))
    assert status == 2
    assert "several labels" in err
    labels.write_text("id,label\na/x1.png,red\nb/x1.png,red\n")
    status, _, err = itae_(*SMALL, *own(folder, f"task.labels={labels}"))
    assert status == 2
    assert "two classes or more" in err


def test_a_file_of_labels_may_have_lines_of_images_that_are_broken(itae_, folder):
    names = [f"{name}/{n}.png" for name in "ab" for n in ("x1", "x2", "y1", "y2")]
    (folder / "labels.csv").write_text("id,label\n" + "".join(f"{name},{name[0]}\n" for name in names))
    (folder / "images/a/y2.png").write_bytes(b"no image")
    words = own(folder, f"task.labels={folder / 'labels.csv'}", "dataset.bad_image=skip", "task.rivals=[]")
    assert ran(itae_, *words)[0]["incremental"]["rows"] == 7


def test_a_gallery_of_other_classes_is_refused(itae_, folder):
    words = (*own(folder), "task.gallery={_target_: itae.data.Digits, name: digits, split: all, limit: null}")
    status, _, err = itae_(*SMALL, *words)
    assert status == 2
    assert err.startswith("itae: ")


@pytest.mark.parametrize(
    "setting", [{"rivals": "class_mean"}, {"gallery": ["train"]}, {"gallery": {}}, {"orders": 1.5}]
)
def test_a_setting_out_of_its_range_is_refused(setting):
    with pytest.raises(UserError, match=f"task.{next(iter(setting))}="):
        Incremental(**setting)


# --- the experiments


@pytest.mark.slow
def test_the_experiment_on_digits_runs_all_three_protocols(itae_):
    words = ("experiment=incremental_digits", "tracker=none", "dataset.limit=80", "task.orders=2")
    status, _, err = itae_(*words, "hydra.sweep.dir=sweep")
    assert status == 0, err
    results = [json.loads(Path(f"sweep/{i}/result.json").read_text()) for i in range(3)]
    assert [one["incremental"]["protocol"] for one in results] == ["class", "task", "sample"]
    assert results[0]["baseline"]["final"]["mean"] == results[2]["baseline"]["final"]["mean"]


def write_cifar100(root):
    """Write 100 classes of two training images and one test image each as they are downloaded."""
    (root / "cifar-100-python").mkdir(parents=True)
    draw = np.random.default_rng(0)
    looks = draw.integers(40, 216, (100, 3072))
    for name, each in (("train", 2), ("test", 1)):
        fine = draw.permutation(np.tile(np.arange(100), each))
        data = (looks[fine] + draw.integers(-40, 40, (len(fine), 3072))).astype(np.uint8)
        batch = {b"fine_labels": fine.tolist(), b"coarse_labels": (fine // 5).tolist(), b"data": data}
        (root / "cifar-100-python" / name).write_bytes(pickle.dumps(batch, protocol=3))
    names = {b"fine_label_names": [f"fine{i:02d}".encode() for i in range(100)], b"coarse_label_names": [b"c"] * 20}
    (root / "cifar-100-python" / "meta").write_bytes(pickle.dumps(names, protocol=3))


@pytest.mark.slow
def test_split_cifar100_is_two_jobs_that_are_never_mixed(itae_, tmp_path):
    write_cifar100(tmp_path / "data")
    words = ("experiment=split_cifar100", "tracker=none", "backbone=digits_vit", f"dataset.root={tmp_path / 'data'}")
    status, _, err = itae_(*words, "voter.k=3", "task.orders=2", "hydra.sweep.dir=sweep")
    assert status == 0, err
    for i, protocol in enumerate(("task", "class")):
        result = json.loads(Path(f"sweep/{i}/result.json").read_text())
        about = result["incremental"]
        assert (about["protocol"], about["steps"], about["queries"], about["rows"]) == (protocol, 20, 100, 200)
        assert about["orders"][0][1] == [f"fine{i:02d}" for i in range(5, 10)]
        assert "don't compare" in " ".join(result["notes"])
        assert result["shown"]["about"] == f"{protocol}-incremental, 20 steps"
