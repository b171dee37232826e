"""``itae portable prepare``: photographs out of packages of Debian, once, where runs read them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from deploy_words import photographs

from itae.app.compose import PORTABLE, compose, plain_values
from itae.base.construct import construct
from itae.portable.data import debian


def test_photographs_of_debian_are_prepared_where_runs_read_them(itae_, monkeypatch, tmp_path):
    taken, files = [], list(photographs(tmp_path / "photographs").iterdir())

    def take(package, folder, system):
        taken.append((package, folder))
        (folder / package).mkdir()
        told = {file.stem: {"file": file.name} for file in files}
        for file in files:
            (folder / package / file.name).write_bytes(file.read_bytes())
        (folder / package / "credits.json").write_text(json.dumps(told))

    monkeypatch.setattr(debian, "_take", take)
    words = ["portable", "prepare", "data=debian", "data.packages=[mate-backgrounds]"]
    status, out, _ = itae_(*words)
    assert status == 0
    assert [package for package, _ in taken] == ["mate-backgrounds"]
    folder = Path("cache/portable/photographs").absolute()
    assert taken[0][1] == folder
    told = "`itae portable data=debian 'data.packages=[mate-backgrounds]'` learns from them."
    assert out == f"3 photographs are in {folder}; {told}\n"
    assert itae_(*words)[:2] == (0, out)
    assert len(taken) == 1, "once"
    plain = plain_values(compose(words[2:], part=PORTABLE))
    construct("data", plain["data"]).check()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            [],
            ["Shipped has nothing to prepare: its pictures are here, or yours to get; `itae portable prepare"],
        ),
        (["data=gopro", "data.root=x"], ["GoPro has nothing to prepare"]),
        (["data=debian", "data.packages=[gimp]"], ["data.packages='gimp' is not one of"]),
        (
            ["data=debian", "paths.cache=file"],
            ["The cache can't be written at file", "set paths.cache to a folder"],
        ),
        (["data=debian", "nonsense"], ["'nonsense' is not key=value"]),
        (["data=debian", "data.root=null"], ["data.root=None must name a folder"]),
    ],
)
def test_what_cannot_be_prepared_is_told(itae_, words, told):
    Path("file").write_text("mine")
    status, out, err = itae_("portable", "prepare", *words)
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert [word for word in told if word not in err] == [], err


@pytest.mark.parametrize("gone", ["apt-get", "network"])
def test_without_apt_or_a_network_that_is_told(itae_, monkeypatch, gone):
    monkeypatch.setattr(debian, "_has", lambda *_: False)
    if gone == "apt-get":
        monkeypatch.setattr(debian.shutil, "which", lambda program: None)
    else:
        monkeypatch.setattr(debian.shutil, "which", lambda program: program)
        fails = ["python3", "-c", "import sys; sys.exit('E: Temporary failure resolving deb.debian.org')"]
        run = debian.subprocess.run
        monkeypatch.setattr(debian.subprocess, "run", lambda command, **options: run(fails, **options))
    status, _, err = itae_("portable", "prepare", "data=debian")
    assert status == 2
    said = err.splitlines()[-1]
    if gone == "apt-get":
        assert said.startswith("itae: There is no apt-get here to get Debian's package lomiri-wallpapers-16.04; run on")
        assert "data=folder data.root=..." in said
    else:
        assert "can't be fetched (E: Temporary failure resolving deb.debian.org); `apt-get update` may help" in said
    assert not list(Path("cache/portable/photographs").glob(".*tmp")), "no half of a package"


def test_its_help(itae_):
    status, out, err = itae_("portable", "prepare", "--help")
    assert (status, err) == (0, "")
    assert "usage: itae portable prepare" in out
