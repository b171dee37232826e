"""Photographs out of Debian's packages, with an apt-get and a dpkg-deb that stand in for the real ones."""

from __future__ import annotations

import json
import shutil
import stat
import sys

import numpy as np
import pytest
from PIL import Image

from itae.base.errors import UserError
from itae.portable.data.debian import PACKAGES, Debian, credit_of, prepare

ONE = "lomiri-wallpapers-20.04"
COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: wallpapers

Files: *
Copyright: 2014 the group
License: GPL-2+

Files: 20.04/Kleiber_by_Lukas_Baubkus.jpg
Copyright: 2021, Lukas Baubkus
           2022, somebody else
License: CC-BY-SA-3.0

Files: nature/Dune.jpg
       nature/Wood.jpg
Copyright: 2008, Jean-François
License: CC0-1.0

Files: debian/*
Copyright: 2018, a packager
License: Expat

License: Expat
 Permission is hereby granted ...
 .
 Files: none of these
"""


def system(top, package):
    """Write what is installed by a package."""
    for i, inside in enumerate(PACKAGES[package]):
        files = [inside] if inside.endswith(".jpg") else [f"{inside}/{size}.jpg" for size in ("64x40", "128x80")]
        for file in files:
            (top / file).parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(i).integers(0, 256, (80 if "128" in file else 40, 128, 3), np.uint8)
            Image.fromarray(pixels).save(top / file)
    about = top / f"usr/share/doc/{package}/copyright"
    about.parent.mkdir(parents=True)
    about.write_text(COPYRIGHT, encoding="utf-8")


def test_a_copyright_file_tells_author_and_licence():
    kleiber = credit_of(COPYRIGHT, "usr/share/backgrounds/Kleiber_by_Lukas_Baubkus.jpg")
    assert kleiber == {"author": "2021, Lukas Baubkus, 2022, somebody else", "licence": "CC-BY-SA-3.0"}
    assert credit_of(COPYRIGHT, "usr/share/backgrounds/mate/nature/Wood.jpg")["licence"] == "CC0-1.0"
    assert credit_of(COPYRIGHT, "usr/share/wallpapers/Path/contents/images/2x1.jpg")["author"] == "2014 the group"
    assert credit_of("", "a.jpg") == {"author": "", "licence": ""}


def test_what_is_installed_is_copied(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    for package in PACKAGES:
        system(tmp_path / "system", package)
    prepare(list(PACKAGES), tmp_path / "out", system=tmp_path / "system")
    found = {each.name: each for each in Debian(str(tmp_path / "out")).photographs()}
    assert len(found) == sum(map(len, PACKAGES.values()))
    kleiber = found[f"{ONE}/Kleiber_by_Lukas_Baubkus.jpg"]
    assert kleiber.credit == "2021, Lukas Baubkus, 2022, somebody else, CC-BY-SA-3.0, Debian package " + ONE
    assert found["plasma-workspace-wallpapers/Path.jpg"].size == (80, 128), "the largest of many"
    assert not [each for each in (tmp_path / "out").iterdir() if each.name.endswith(".tmp")]


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Stand-ins: apt-get writes a .deb, dpkg-deb unpacks what lies in `packed`; each call is noted."""
    place = tmp_path / "bin"
    place.mkdir()

    def write(name, code):
        script = place / name
        head = f"#!{sys.executable}\nimport sys, shutil, pathlib\n"
        script.write_text(head + f"open({str(tmp_path / 'calls')!r}, 'a').write({name!r} + '\\n')\n" + code)
        script.chmod(script.stat().st_mode | stat.S_IXUSR)

    write("apt-get", "pathlib.Path(sys.argv[-1] + '_1_all.deb').write_bytes(b'x')")
    write("dpkg-deb", f"shutil.copytree({str(tmp_path / 'packed')!r}, sys.argv[-1], dirs_exist_ok=True)")
    monkeypatch.setenv("PATH", str(place))
    return write


def test_what_isnt_installed_is_fetched_once(tmp_path, programs):
    system(tmp_path / "packed", ONE)
    for _ in range(2):
        prepare([ONE], tmp_path / "out", system=tmp_path / "nothing")
    assert (tmp_path / "calls").read_text().split() == ["apt-get", "dpkg-deb"]
    assert len(Debian(str(tmp_path / "out"), packages=[ONE]).photographs()) == 1
    told = json.loads((tmp_path / "out" / ONE / "credits.json").read_text())
    assert told["Kleiber_by_Lukas_Baubkus"]["licence"] == "CC-BY-SA-3.0"


def test_what_was_lost_is_fetched_again(tmp_path, programs):
    system(tmp_path / "packed", ONE)
    prepare([ONE], tmp_path / "out", system=tmp_path / "nothing")
    next((tmp_path / "out" / ONE).glob("*.jpg")).unlink()
    with pytest.raises(UserError, match="itae portable prepare"):
        Debian(str(tmp_path / "out"), packages=[ONE]).photographs()
    prepare([ONE], tmp_path / "out", system=tmp_path / "nothing")
    assert len(Debian(str(tmp_path / "out"), packages=[ONE]).photographs()) == 1


def test_without_apt_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"There is no apt-get here .*\(data=folder"):
        prepare([ONE], tmp_path / "out", system=tmp_path)
    assert not [each for each in (tmp_path / "out").iterdir() if each.is_dir()]


def test_what_apt_says_is_told(tmp_path, programs):
    programs("apt-get", "sys.exit(sys.stderr.write('W: a warning\\nE: Unable to locate package\\n') and 100)")
    with pytest.raises(UserError, match=r"can't be fetched \(E: Unable to locate package\); `apt-get update`"):
        prepare([ONE], tmp_path / "out", system=tmp_path)
    assert not [each for each in (tmp_path / "out").iterdir() if each.is_dir()]


def test_another_version_of_a_package_is_told(tmp_path, programs):
    system(tmp_path / "packed", ONE)
    shutil.rmtree(tmp_path / "packed/usr/share/backgrounds")
    with pytest.raises(UserError, match=r"has no .*Kleiber.*: it is another version"):
        prepare([ONE], tmp_path / "out", system=tmp_path)


def test_packages_that_arent_known_are_told(tmp_path):
    with pytest.raises(UserError, match=r"data\.packages='gnome' is not one of lomiri"):
        Debian("x", packages=["gnome"])
    with pytest.raises(UserError, match="must be a list of"):
        Debian("x", packages="mate-backgrounds")
    with pytest.raises(UserError, match="'gnome' is not one of"):
        prepare(["gnome"], tmp_path)
