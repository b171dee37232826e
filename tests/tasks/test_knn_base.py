"""The task of neighbours against knowledge bases: one of each side's space, a version, and what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

pytest.importorskip("faiss")
pytest.importorskip("lance")

RUN = ("task=knn", "tracker=none", "runtime.report=false", "dataset.split=test", "dataset.limit=60", "voter=rank",
       "voter.k=5", "task.ks=[1,5]", "hydra.run.dir=run")  # fmt: skip
EDIT = ("detector=key_norm", "detector.side=high", "detector.rule=quantile", "attenuator=scale", "layers=all")


@pytest.fixture
def did(itae_):
    """Return a function that runs ``itae`` and gives back what it printed."""

    def run(*words):
        status, out, err = itae_(*words)
        assert status == 0, out + err
        return out

    return run


def result():
    return json.loads(Path("run/result.json").read_text())


def predictions():
    with open("run/predictions.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def bases(did):
    """Make a base of some digits, one of the same in the space of an edit, and a version more of the first."""
    did("knowledge", "init", "kb", "--images", "embed")
    did("knowledge", "add", "kb", "dataset=digits", "dataset.split=train", "dataset.limit=90")
    did("knowledge", "tag", "kb", "then")
    did("knowledge", "rebuild", "kb", "kb2", *EDIT)
    did("knowledge", "delete", "kb", "--label", "7")


@pytest.mark.slow
def test_bases_answer_as_the_images_in_them_do_each_on_its_side(did, bases):
    did(*RUN, *EDIT, "task.gallery={split: train, limit: 90}")
    images, found = predictions(), result()
    out = did(*RUN, *EDIT, "task.gallery={baseline: kb, edited: kb2}", "task.at=then")
    assert predictions() == images
    again = result()
    assert (again["baseline"], again["edited"], again["delta"]) == (found["baseline"], found["edited"], found["delta"])
    assert set(again["embeddings"]) == {"baseline", "edited"}
    for side, name in (("baseline", "kb"), ("edited", "kb2")):
        about = again["gallery"][side]
        assert (about["base"], about["version"], about["rows"]) == (name, 1, 90)
        assert len(about["root"]) == 64
        assert about["root"][:16] in out


@pytest.mark.slow
def test_one_base_serves_both_sides_where_nothing_is_edited_and_its_newest_version_is_told(did, bases):
    out = did(*RUN, "layers=none", "task.gallery=kb")
    found = result()
    assert found["gallery"]["baseline"] == found["gallery"]["edited"]
    assert found["gallery"]["edited"]["version"] == 2
    assert found["gallery"]["edited"]["classes"] == 9
    assert "No row is of 1 of the classes (7)" in " ".join(out.split())
    assert found["queries"]["unknown"] == sum(row["label"] == "7" for row in predictions()) > 0
    assert "unknown_auroc" in found["edited"]


@pytest.mark.slow  # each worker is a process that imports all of it
@pytest.mark.usefixtures("ray")
def test_workers_of_ray_find_what_one_process_finds(did, bases, monkeypatch):
    from itae.knowledge.near.on_ray import RayWorkers

    asked, search = [], RayWorkers.nearest
    monkeypatch.setattr(RayWorkers, "nearest", lambda *args: asked.append(len(args[2])) or search(*args))
    words = (*RUN, *EDIT, "task.gallery={baseline: kb, edited: kb2}", "task.at=then", "task.unknown=2", "voter=auto")
    did(*words)
    alone, files = result(), predictions()
    did(*words, "runtime.engine=ray")
    assert predictions() == files
    again = result()
    for name in ("baseline", "edited", "delta", "voter", "gallery"):
        assert again[name] == alone[name]
    assert asked.count(60) == 2, "all queries of each side"


REFUSED = [
    (
        [*EDIT, "task.gallery=kb"],
        [
            "kb is of another space than the edited side",
            "edit is none in it, and set",
            "itae knowledge rebuild kb NEW",
            "{baseline: KB, edited: NEW}",
        ],
    ),
    (
        [*EDIT, "detector.quantile=0.1", "task.gallery={baseline: kb, edited: kb2}"],
        ["kb2 is of another space than the edited side", "edit.detector.quantile is 0.02 in it, and 0.1 here"],
    ),
    (["layers=none", "backbone.pool=mean", "task.gallery=kb"], ["pool is", "itae knowledge rebuild kb NEW"]),
    (["layers=none", "task.gallery=kb", "task.at=9"], ["9"]),
    (["layers=none", "task.gallery=kb", "task.at=0"], ["none of its 0 rows has a label"]),
]


@pytest.mark.slow
def test_what_does_not_fit_is_refused_before_any_work(itae_, bases, monkeypatch):
    monkeypatch.setattr("itae.embed.worker.Worker.__init__", lambda *_, **__: pytest.fail("it embeds"))
    for words, told in REFUSED:
        status, out, err = itae_(*RUN, *words)
        assert (status, out) == (2, ""), err
        assert err.count("\n") == 1
        for text in told:
            assert text in err, words
