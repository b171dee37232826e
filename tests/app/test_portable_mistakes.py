"""``itae portable`` and what a user or a device of the user's own gets wrong: told in a sentence, before long work."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from toy_devices import result, toys

from itae.portable.clock import alone
from itae.portable.operators import study

SMALL = (
    *("experiment=operators", "net.channels=2", "net.depth=1", "net.blocks=1", "changes=[skip_add]", "measure=quick"),
    *("measure.size=32", "measure.budget_s=1", "measure.max_split_half=1", "runtime.report=false", "out=out"),
)


@pytest.fixture(autouse=True)
def own_lock(tmp_path, monkeypatch):
    """Measure in a machine of this test's own: others measure side by side."""
    monkeypatch.setattr(alone, "SHARED", tmp_path)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["paths.cache=file"], ["paths.cache=", "file is a file; the cache needs a folder"]),
        (["paths.cache=file/below"], ["file is a file; the cache needs a folder"]),
        (["paths.cache=/proc/nowhere/x"], ["The cache can't be written at", "set paths.cache to a folder"]),
        (["out=file"], ["out=file: ", "is a file; a run needs a folder"]),
        (["out=file/below"], ["out=file/below: ", "is a file; a run needs a folder"]),
        (["out=other"], ["out=other holds the result.json of something else", "set out=... to another folder"]),
        (["devices={}"], ["devices={} is not a group of options; choose all"]),
        (["devices=null"], ["devices=null is not a group of options; choose all"]),
        (["net.name=null"], ["net.name=None must be a text"]),
        (["net.name='  '"], ["net.name='  ' must be a text"]),
        (["device=command"], ["has no command line; set devices.command.command=[PROGRAM,...]\n"]),
        (["device=command", "devices.command.command=3"], ["devices.command.command=3 must be a list of words"]),
        (["device=command", "devices.command.command={a:b}"], ["{'a': 'b'} must be a list of words"]),
        (
            ["device=command", "devices.command.command=[nosuch,'{net}','{input}','{output}']"],
            ["device=command can't be run on here: command needs the program nosuch, which isn't here"],
        ),
        (["device=command", "devices.command.budget_db=word"], ["devices.command.budget_db='word' must be a number"]),
        (["device=command", "devices.command.budget_db=-3"], ["devices.command.budget_db=-3 must be a number in [0, "]),
        (["device=command", "devices.command.budget_db=nan"], ["devices.command.budget_db=nan is not a finite number"]),
        (["device=litert", "devices.litert.python=3"], ["devices.litert.python=3 must be the path of a Python"]),
        (["device=litert", "devices.litert.python=/bin/echo"], ["which is no answer: it is no Python"]),
        (toys(one="no facts"), ["devices.one: Toy.facts() returned [1]"]),
        (toys(one="odd facts"), ["devices.one: Toy.facts() returned {'version': {"]),
        (["+devices.x={_target_:toy_devices.NoBudget}", "device=x"], ["can't be a device: it has no 'budget_db'"]),
    ],
)
def test_a_mistake_is_told_before_anything_is_exported(itae_, monkeypatch, words, told):
    Path("file").write_text("mine")
    Path("other").mkdir()
    Path("other/result.json").write_text('{"status": "ok"}')
    monkeypatch.setattr(study, "operators", lambda *_: pytest.fail("it has begun"))
    small = [word for word in SMALL if not words[0].startswith("out") or word != "out=out"]
    if words[0].startswith("devices="):
        small.append("device=torch")
    status, out, err = itae_("portable", *small, *words)
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert [word for word in told if word not in err] == [], err
    assert Path("file").read_text() == "mine"
    assert Path("other/result.json").read_text() == '{"status": "ok"}'
    assert not Path("out").exists()


def test_a_devices_yaml_without_a_device(itae_):
    Path("mine/devices").mkdir(parents=True)
    Path("mine/devices/empty.yaml").write_text("{}\n")
    status, _, err = itae_("portable", "--config-dir", "mine", *SMALL, "devices=empty")
    assert (status, err.count("\n")) == (2, 1)
    assert "devices={} must be a mapping with at least one device" in err


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("none", "it gave NoneType, which is no numpy array, where one of float32 and shape [1, 3, 32, 32] is right."),
        ("list", "it gave list, which is no numpy array"),
        ("tensor", "it gave Tensor, which is no numpy array"),
        ("bytes", "it gave an array of uint8"),
        ("flat", "it gave an array of shape [3, 32, 32]"),
        ("nan", "some of its values are not finite"),
        ("inf", "some of its values are not finite"),
        ("no file", "can't convert unet ([Errno 2] No such file or directory: '/nowhere/at/all'); leave bad out."),
    ],
)
def test_a_device_that_gives_no_picture_loses_its_cells_alone(itae_, fault, told):
    status, _, err = itae_("portable", *SMALL, *toys(one="sticks", bad=fault))
    assert (status, err) == (0, "")
    assert told in result()["not_run"]["bad"]
    assert "bad" in result()["not_run"]["bad"]
    for row in result()["rows"]:
        assert ("ms" in row["cells"]["one"], "ms" in row["cells"]["bad"]) == (True, False)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["net=nafnet", "net.options={enc_blk_nums:3}"], ["nafnet doesn't work with these", "set others"]),
        (["net=scunet", "net.name=[a]"], ["net.name=['a'] must be a text"]),
    ],
)
def test_a_net_of_spandrels_that_cannot_be(itae_, words, told):
    pytest.importorskip("spandrel")
    status, out, err = itae_("portable", "experiment=operators", "device=torch", *words)
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert [word for word in told if word not in err] == [], err


def test_what_else_lies_in_the_folder_stays(itae_):
    Path("out/figures").mkdir(parents=True)
    for name in ("out/report.html", "out/figures/mine.png", "out/figures/ratios.png"):
        Path(name).write_text("mine")
    assert itae_("portable", *SMALL, *toys(none="nothing"))[0] == 2
    assert Path("out/report.html").read_text() == Path("out/figures/ratios.png").read_text() == "mine"
    assert itae_("portable", *SMALL, *toys(none="nothing"))[0] == 2, "now there is a run of it"
    assert Path("out/figures/mine.png").read_text() == "mine"
    assert not Path("out/figures/ratios.png").exists()


def test_a_full_disk_ends_the_run_in_one_sentence(itae_, monkeypatch):
    from itae.portable.devices import exports

    monkeypatch.setattr(exports, "free_bytes", lambda path: 0)
    status, out, err = itae_("portable", *SMALL, "paths.cache=cache", *toys(one="", other=""))
    assert (status, err.count("\n")) == (2, 1)
    assert "No room for the cache at" in err
    assert "is not run on" not in out
    assert [file for file in Path("cache/portable/exports").iterdir() if file.name != "locks"] == []
    shutil.rmtree("cache")
