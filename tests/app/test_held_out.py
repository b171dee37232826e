"""What a protocol refuses before anything runs: held-out data that are development data, and another method."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra
from PIL import Image

from itae.app.held_out import Job, compare, frozen_words, refuse_another_method
from itae.base.errors import UserError

FOLDER = ("dataset=imagefolder", "tracker=none")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    GlobalHydra.instance().clear()


def photos(folder, numbers, name="{}.png"):
    """Write a folder of two classes, with a picture for each of the numbers, of which no two are alike."""
    for number in numbers:
        path = Path(folder) / "ab"[number % 2] / name.format(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.array([[number, 3], [5, 7]], np.uint8)).save(path)


@pytest.fixture
def dev():
    """Make a folder ``dev`` of twelve pictures."""
    photos("dev", range(12))
    return [*FOLDER, "dataset.root=dev"]


@pytest.mark.parametrize(
    "root",
    ["dev", "dev/", "./dev", "../{here}/dev", "{absolute}", "link", "copy", "renamed", "'odd, [1] (2) = x'"],
)
def test_the_development_data_is_refused_under_any_name(dev, root, tmp_path):
    Path("link").symlink_to("dev")
    shutil.copytree("dev", "copy")
    photos("renamed", reversed(range(12)), "a{}b.png")
    Path("renamed/a").rename("renamed/x")
    shutil.copytree("dev", "odd, [1] (2) = x")
    root = root.format(here=tmp_path.name, absolute=tmp_path / "dev")
    with pytest.raises(UserError, match="is the development data itself") as refused:
        compare(dev, [f"dataset.root={root}"])
    assert str(refused.value).count(". ") == 0, "one sentence"


@pytest.mark.parametrize(
    "word", ["++dataset.root=dev", "dataset=imagefolder", "dataset.limit=13", "dataset.name=other"]
)
def test_the_development_data_is_refused_by_any_word(dev, word):
    with pytest.raises(UserError, match="is the development data itself"):
        compare(dev, [word, "dataset.root=dev"])


@pytest.mark.parametrize(
    ("words", "held_out", "told"),
    [
        (["dataset.root=dev"], ["dataset.root=part"], "all 5 held-out images are among the development"),
        (["dataset.root=part"], ["dataset.root=dev"], "all 5 development images are among the 12 held-out"),
        (["dataset.root=dev"], ["dataset.root=dev", "dataset.limit=7"], "all 7 held-out images are among"),
        (["dataset.root=dev", "dataset.limit=7"], ["dataset.root=dev", "dataset.limit=null"], "all 7 development"),
        (["dataset.root=sets", "dataset.split=train"], ["dataset.split=all"], "all 5 development images are among"),
        (["dataset.root=other,dev"], ["dataset.root=part"], "all 5 held-out images are among"),
        (["dataset.root=other,dev"], ["dataset.root=copy"], "is the development data itself"),
        (["dataset.root=other,part"], ["dataset.root=dev"], "all 5 development images are among"),
    ],
)
def test_a_part_and_a_whole_are_refused(dev, words, held_out, told):
    photos("part", range(5))
    photos("other", range(20, 30))
    photos("sets/train", range(5))
    photos("sets/more", range(5, 9))
    shutil.copytree("dev", "copy")
    with pytest.raises(UserError, match=told):
        compare([*FOLDER, *words], held_out)


def test_an_overlap_is_counted_and_no_more(dev):
    photos("other", range(9, 30))
    photos("third", range(40, 44))
    found = compare(dev, ["dataset.root=other"])
    assert (found.images, found.overlap) == (21, 3)
    found = compare([*FOLDER, "dataset.root=dev,third", "detector.k=3,5"], ["dataset.root=other"])
    assert (found.images, found.overlap) == (21, 3), "of all development sets"
    assert compare(dev, ["dataset.root=third"]).overlap == 0


def test_a_slow_reference_counts_the_same(dev):
    draw = np.random.default_rng(0)
    for i in range(4):
        photos(f"other{i}", draw.choice(30, 14, replace=False))
        bytes_of = [[path.read_bytes() for path in Path(name).rglob("*.png")] for name in ("dev", f"other{i}")]
        want = sum(hashlib.sha256(one).hexdigest() in [hashlib.sha256(two).hexdigest() for two in bytes_of[0]]
                   for one in bytes_of[1])  # fmt: skip
        assert 0 < want < 12
        assert compare(dev, [f"dataset.root=other{i}"]).overlap == want


def test_data_sets_that_an_overlay_names_are_compared(dev):
    with pytest.raises(UserError, match="is the development data itself"):
        compare(["experiment=demo"], ["dataset=digits"])
    with pytest.raises(UserError, match="all 64 held-out images are among"):
        compare(["experiment=smoke", "dataset.limit=null"], ["dataset=digits", "dataset.limit=64"])
    assert compare(["experiment=demo", "tracker=none"], ["dataset=imagefolder", "dataset.root=dev"]).images == 12


@pytest.mark.parametrize("folder", ["nowhere", "dev/a/0.png"])
def test_what_cannot_be_opened_is_told(dev, folder):
    with pytest.raises(UserError, match=f"dataset.root='{folder}'"):
        compare(dev, [f"dataset.root={folder}"])
    with pytest.raises(UserError, match=f"dataset.root='{folder}'"):
        compare([*FOLDER, f"dataset.root={folder}"], ["dataset.root=dev"])


@pytest.mark.parametrize(
    "word",
    ["dataset.resize=crop", "++dataset.resize=crop", "backbone=dinov2_s14", "backbone.pool=mean", "detector=key_norm",
     "detector.k=4", "++detector.k=4", "layers=last4", "attenuator.strength=.5", "control=random", "clusterer.k=3",
     "edit=test_time_registers", "task.knn=5", "experiment=smoke", "seed=5", "selection=fixed", "hydra.mode=RUN"],
)  # fmt: skip
def test_a_word_that_changes_the_method_is_refused_by_name(dev, word):
    with pytest.raises(UserError, match=r"changes the method and not the data: it may name another dataset") as refused:
        compare(dev, ["dataset.root=other", word])
    assert word in str(refused.value)


def test_a_method_that_changes_without_a_word_of_it_is_refused(dev):
    photos("other", range(20, 30))
    words = [*dev, "dataset.limit=7", "detector.k=${dataset.limit}"]
    with pytest.raises(UserError, match=r"detector.k would be 5 on the held-out data and is 7"):
        compare(words, ["dataset.root=other", "dataset.limit=5"])
    assert compare(words, ["dataset.root=other"]).images == 7


@pytest.mark.parametrize("word", ["dataset=digits,imagefolder", "dataset.root=dev,other", "dataset.limit=range(3,5)"])
def test_one_held_out_set_is_reported_on(dev, word):
    with pytest.raises(UserError, match="is several values, and a protocol reports once"):
        compare(dev, ["dataset.split=a", word])


def test_execution_is_no_part_of_the_method(dev):
    photos("other", range(20, 30))
    held_out = ["dataset.root=other", "runtime.batch_size=4", "paths.data=elsewhere", "tracker=wandb"]
    assert compare(dev, [*held_out, "dataset.bad_image=skip"]).images == 10


@pytest.mark.parametrize("word", ["hydra.sweep.dir=mine", "hydra.run.dir=mine", "hydra.mode=RUN"])
def test_where_it_writes_is_said_by_out_alone(dev, word):
    with pytest.raises(UserError, match="--out"):
        compare([*dev, word], ["dataset.root=other"])


@pytest.mark.parametrize(
    "word", ["backbone=digits_vit,digits_vit_artifacts", "clusterer.k=2,3", "backbone.pool=cls,mean"]
)
def test_what_no_criterion_compares_is_told_before_the_sweep(dev, word):
    with pytest.raises(UserError, match="run one protocol for each"):
        compare([*dev, word], ["dataset.root=other"])


@pytest.mark.slow
def test_what_differs_between_development_sets_has_to_be_said(dev):
    photos("other", range(20, 30))
    photos("third", range(40, 44))
    words = [*FOLDER, "dataset.root=dev,third", "dataset.limit=3,4"]
    with pytest.raises(UserError, match=r"dataset.limit is 3 or 4 on the development data: say with --held-out"):
        compare(words, ["dataset.root=other"])
    assert compare(words, ["dataset.root=other", "dataset.limit=5"]).images == 5
    with pytest.raises(UserError, match=r"_target_ is itae.* say with --held-out dataset= "):
        compare(["dataset=digits,imagefolder", "++dataset.root=dev"], ["dataset.split=a"])
    with pytest.raises(UserError, match=r"dataset.root is dev or third"):
        compare(words[:-1], ["dataset.split=a"])
    assert compare([*words[:-1], "dataset.resize=squash,crop"], ["dataset.root=other"]).images == 10


def test_other_words_of_hydra_do_not_disturb(dev):
    photos("other", range(20, 30))
    words = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2",
             "detector.k=interval(2,8)", "experiment=threshold_sweep", "layers=choice(last,all)"]  # fmt: skip
    assert compare([*dev, *words], ["dataset.root=other"]).overlap == 0


def test_held_out_words_take_the_place_of_what_names_the_data_and_of_nothing_else():
    names = [
        "dataset=a",
        "dataset.root=r",
        "++dataset.split=s",
        "dataset.variant=10",
        "dataset.count=10",
        "dataset.condition=colour",
        "+dataset.name=n",
        "dataset._target_=t",
    ]
    kept = ["dataset.resize=crop", "dataset.limit=5", "dataset.bad_image=skip", "layers=last", "++dataset={limit:5}"]
    assert frozen_words([*names, *kept], ["dataset=b"]) == [*kept, "dataset=b"]
    assert frozen_words([*kept, *names], ["dataset.limit=9", "++dataset=c"]) == [
        kept[0], *kept[2:], "dataset.limit=9", "++dataset=c"]  # fmt: skip
    assert frozen_words([*names, *kept], ["++dataset.root=q"]) == [names[0], *names[2:], *kept, "++dataset.root=q"]


def test_the_frozen_words_compose_to_the_same_method(dev):
    photos("other", range(20, 30))
    words = [*dev, "dataset.resize=crop", "dataset.limit=7", "dataset.bad_image=skip", "detector.k=5", "layers=[1,-1]"]
    there = Job.of(frozen_words(words, ["dataset=imagefolder", "dataset.root=other"]))
    assert there.plain["dataset"] == Job.of(words).plain["dataset"] | {"root": "other"}
    refuse_another_method(Job.of(words).plain, there)
    with pytest.raises(UserError, match=r"detector.k would be 5 on the held-out data and is 6"):
        refuse_another_method(Job.of([*words, "detector.k=6"]).plain, there)
