"""``experiment=knn_imagenet`` on a miniature in each of the official layouts, and by the labels of ImageNet ReaL."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from imagenets import LAYOUTS, imagenet

from itae.images.datasets import ImageNet

pytest.importorskip("faiss")

RUN = ("experiment=knn_imagenet", "dataset.root=mini", "tracker=none", "runtime.report=false", "runtime.batch_size=8",
       "runtime.diagnostics=false", "layers=none", "hydra.run.dir=run")  # fmt: skip


@pytest.fixture
def ran(itae_):
    """Return a function that runs the experiment and gives back its result, its predictions, and what it printed."""

    def run(*words):
        status, out, err = itae_(*RUN, *words)
        assert status == 0, out + err
        with open("run/predictions.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        return json.loads(Path("run/result.json").read_text()), rows, " ".join(out.split())

    return run


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_is_named_by_its_train(ran, layout):
    imagenet(Path("mini"), layout)
    found, rows, out = ran("voter.k=25")
    assert "k 25 is over the 24 rows that have a label: all of them vote." in out
    assert found["gallery"]["baseline"] == {"rows": 24, "classes": 4}
    assert found["queries"] == {"asked": 16, "scored": 16, "unknown": 0, "known": 0}
    assert found["voter"]["told"] == "softmax, k 25, temperature 0.07"
    assert found["baseline"]["top_1"]["mean"] == sum(row["baseline"] == row["label"] for row in rows) / 16
    assert found["baseline"]["top_1"]["mean"] > 0.9, "classes have colours of their own"
    crane = "n02012849" if layout == "folders" else "crane (n02012849)"  # there nothing tells the words
    assert [row["label"] for row in rows].count(crane) == 4
    assert "as there are 24 labelled rows: k 30, 50, 70, 100, 200" in out
    sweep = Path("run/sweep.csv").read_text().splitlines()
    assert len(sweep) == 1 + 3 * 8 + 1, "k up to 20 of three voters, and the run's own"


@pytest.mark.slow
def test_by_real_any_of_its_labels_is_right_and_images_of_none_are_left_out(ran):
    imagenet(Path("mini"), "devkit")
    found, rows, _ = ran()
    names = ImageNet(root="mini", split="val").open().class_names  # in the order of their WordNet ids
    assert names != sorted(names)
    codes = [names.index(row["baseline"]) for row in sorted(rows, key=lambda row: row["id"])]
    real = [[code, (code + 1) % 4] if i % 2 else [(code + 1) % 4] for i, code in enumerate(codes)]
    real[3] = real[4] = []
    Path("real.json").write_text(json.dumps(real))
    again, told, out = ran("task.truth=real.json")
    assert again["queries"] == {"asked": 16, "scored": 14, "unknown": 0, "known": 0}
    order = {row["id"]: i for i, row in enumerate(sorted(rows, key=lambda row: row["id"]))}
    assert [row["baseline"] for row in told] == [row["baseline"] for row in rows], "labels reach the scores alone"
    assert all((row["of"] == "") == (order[row["id"]] in (3, 4)) for row in told)
    assert again["baseline"]["top_1"]["mean"] == pytest.approx(7 / 14)
    assert "2 of 16 images have no label to be scored by" in out
    assert not Path("run/confusion_baseline.csv").exists()
    assert found["queries"]["scored"] == 16
