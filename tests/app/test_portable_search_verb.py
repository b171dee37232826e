"""``itae portable`` as it searches: each mistake before anything is done, and a whole small search on toy devices."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
import toy_devices
from deploy_words import photographs
from toy_devices import result, toys

from itae.look.page import PAGE
from itae.portable.clock import alone
from itae.portable.search import asked, study
from itae.portable.search.front_file import read_front

SMALL = (
    *("study=search", "space.channels=[2,3,4]", "space.depth=[1]", "space.blocks=[1]", "space.down=[stride]"),
    *("space.activation=[relu]", "space.conv=[dense]", "space.unshuffle=[1]", "supernet.steps=4", "supernet.drawn=0"),
    *("search.judged=6", "search.population=4", "search.measured=12", "search.checked=0", "search.chosen=2"),
    *("train.steps=4", "train.crop=32", "train.batch=2", "train.lr=1e-5", "blur.length=[2,4]"),
    *("pairs.train=6", "pairs.validation=3", "pairs.test=3", "pairs.train_size=32"),
    *("measure.size=32", "measure.budget_s=30", "measure.rounds=4", "measure.max_split_half=1", "measure.settle=0"),
    *("data=folder", "data.root=photographs", "out=out"),
)


@pytest.fixture(autouse=True)
def alone_with_photographs(tmp_path, monkeypatch):
    """Measure in a machine of this test's own, where others measure side by side; have a folder of photographs."""
    monkeypatch.setattr(alone, "SHARED", tmp_path)
    photographs(tmp_path / "photographs")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["space.up=[transposd]"], ["space.up='transposd' is not one of transposed", "Did you mean 'transposed'?"]),
        (["space.channels=[]"], ["space.channels=[] leaves no network"]),
        (["space.channels=[3,3]"], ["space.channels=[3, 3] has a value twice"]),
        (["space.channels=[3]"], ["The space has 6 networks, and times are predicted from 12 at least"]),
        (["space.chanels=[3]"], ["no option 'space.chanels'", "Did you mean 'space.channels'?"]),
        (["supernet.steps=0"], ["supernet.steps=0 must be a whole number of at least 1 and", ", or null"]),
        (["supernet.lr=0"], ["supernet.lr=0 must be"]),
        (["supernet.distil=2"], ["supernet.distil=2 must be a number in [0, 1]"]),
        (["search.judge=both"], ["search.judge='both' is not one of auto, supernet, training"]),
        (["search.measured=3"], ["search.measured=3 must be a whole number of at least 12"]),
        (["search.checked=2"], ["search.checked=2 networks have no rank correlation"]),
        (["search.portable=0"], ["search.portable=0 must be a whole number of at least 1"]),
        (["search=defalt"], ["search=defalt is not one of default"]),
        (["search._target_=itae.deblur.Space"], ["can't be a search"]),
        (["measure.size=36"], ["measure.size=36 must be a multiple of 8, for networks of the search", "take 40"]),
        (["pairs.size=64"], ["pairs.size=64 must be measure.size=32"]),
        (["train.crop=20"], ["train.crop=20 must be a multiple of 8, for a network of the search", "take 24"]),
        (["search.crop=20"], ["search.crop=20 must be a multiple of 8", "at most pairs.train_size=32"]),
        (["search.crop=64"], ["search.crop=64 must be a multiple of 8", "at most pairs.train_size=32"]),
        (["data.root=nowhere"], ["data.root='nowhere' is no folder"]),
        (["net.channels=4"], ["net.channels=4: study=search has no use for net; it reads data, blur"]),
    ],
)
def test_a_mistake_is_told_before_anything_is_done(itae_, monkeypatch, words, told):
    monkeypatch.setattr(study, "searched", lambda *_: pytest.fail("it has begun"))
    status, out, err = itae_("portable", *SMALL, *toys(one=""), *words)
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert [word for word in told if word not in err] == [], err
    assert not Path("out").exists()
    assert not Path("cache").exists(), "nothing is left behind"


@pytest.mark.parametrize("gone", ["optuna", "moocore"])
def test_a_package_that_is_missing_is_told_with_what_installs_it(itae_, monkeypatch, gone):
    from itae.portable.devices import library

    there = library._there
    monkeypatch.setattr(library, "_there", lambda name: name != gone and there(name))
    status, _, err = itae_("portable", *SMALL, *toys(one=""))
    assert (status, err.count("\n")) == (2, 1)
    assert f"study=search needs the package {gone}, which isn't installed; install it: pip install " in err


@pytest.mark.slow
@pytest.mark.figures
def test_a_whole_search_leaves_a_front_its_files_a_page_and_what_a_tracker_gets(itae_, monkeypatch):
    """Of networks that learn next to nothing, on which devices differ only by chance; numbers are tested elsewhere."""
    monkeypatch.setattr(asked, "cpu_count", lambda: 1)
    monkeypatch.setattr("itae.portable.optimise.deployed._Judged._verdict", lambda *_: ("kept", None))
    toy_devices.Tracker.runs.clear()
    words = [*SMALL, *toys(one="", two="", bad="nothing"), "tracker._target_=toy_devices.Tracker"]
    status, out, err = itae_("portable", *words)
    assert (status, err) == (0, ""), out
    found = result()
    assert (found["status"], found["kind"], found["size"]) == ("ok", "search", [32, 32])
    assert set(found["search"]["devices"]) == {"one", "two"}
    assert set(read_front(Path("out/front.json"))["devices"]) == {"one", "two"}
    rows = list(csv.DictReader(io.StringIO(Path("out/search.csv").read_text())))
    assert {row["device"] for row in rows} == {"one", "two"}
    assert len(Path("out/candidates.jsonl").read_text().splitlines()) == 1 + 6
    assert set(found["files"]) == {"search.csv"}
    assert {Path(file).stem for file in found["figures"]} >= {"fronts", "regret", "searched_macs", "predicted"}
    assert Path("out", PAGE).is_file()
    (kept,) = toy_devices.Tracker.runs
    assert (kept["job_type"], kept["name"]) == ("search", "search one, two, bad")
    one = kept["metrics"]["devices"]["one"]
    assert one["front"] == len(found["search"]["devices"]["one"]["front"])
    assert one["area"] == found["search"]["devices"]["one"]["hypervolume"]["searched"]["value"]
    assert kept["metrics"]["candidates"]["judged"] == 6
    assert len(kept["search"]) == len(rows)
    assert [row["photograph"] for row in kept["pictures"]] == [one["photograph"] for one in found["pictures"]]
    assert all(row["restored"].shape == row["sharp"].shape == (32, 32, 3) for row in kept["pictures"])
    assert all(path.is_file() for path in kept["figures"])
    assert itae_("portable", *words)[0] == 0, "over what it wrote itself it may write"
    status, _, err = itae_("portable", "out=out", *toys(one=""))
    assert status == 2
    assert "holds the result.json of a run of study=search, which would be lost" in err
