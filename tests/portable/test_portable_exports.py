"""Networks are converted once; half-written and damaged exports are never taken."""

import contextlib
import errno
import json
import multiprocessing
import os
import signal
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from toy_nets import Toy, pictures

from itae.base.disk import DiskError
from itae.base.errors import UserError
from itae.portable.devices import exports
from itae.portable.devices.exports import check_root, exported, facts_of

SIZE = (8, 8)


@dataclass(frozen=True)
class Writes:
    """A device that writes what it is given, and how often."""

    log: str
    option: int = 0
    version: str = "1"
    name: str = "writes"
    pip: str = "pip install writes"
    budget_db: float | None = None

    def missing(self):
        return None

    def facts(self):
        return {"runtime": "writes", "writes": self.version}

    def convert(self, net, size, folder, calibration):
        with open(self.log, "a") as log:
            log.write("x")
        (folder / "sub").mkdir()
        (folder / "sub" / "net.bin").write_bytes(b"half")
        with contextlib.suppress(FileNotFoundError), open(f"{self.log}.pause") as pause:
            time.sleep(float(pause.read()))
        if self.option < 0:
            raise UserError("no operator")
        (folder / "sub" / "net.bin").write_bytes(b"whole")


@pytest.fixture
def device(tmp_path):
    return Writes(str(tmp_path / "log"))


def made(device):
    """Return how often it converted."""
    return os.path.getsize(device.log) if os.path.exists(device.log) else 0


def test_the_second_time_nothing_is_converted(tmp_path, device):
    folder = exported(tmp_path, device, Toy(), SIZE)
    assert exported(tmp_path, device, Toy(), SIZE) == folder
    assert made(device) == 1
    assert (folder / "sub" / "net.bin").read_bytes() == b"whole"
    about = facts_of(folder)
    assert about["bytes"] == 5
    assert about["convert_s"] >= 0
    assert folder.is_relative_to(tmp_path / "portable" / "exports")


def test_all_that_it_depends_on_is_in_its_key(tmp_path, device):
    other = [Toy(seed=1), Toy("bessel")]
    calls = [
        lambda: exported(tmp_path, device, Toy(), SIZE),
        *(lambda net=net: exported(tmp_path, device, net, SIZE) for net in other),
        lambda: exported(tmp_path, device, Toy(), (8, 16)),
        lambda: exported(tmp_path, replace(device, option=1), Toy(), SIZE),
        lambda: exported(tmp_path, replace(device, version="2"), Toy(), SIZE),
        lambda: exported(tmp_path, device, Toy(), SIZE, pictures(1, SIZE)),
        lambda: exported(tmp_path, device, Toy(), SIZE, pictures(1, SIZE, seed=1)),
    ]
    assert len({call() for call in calls}) == made(device) == len(calls)
    assert len({call() for call in calls}) == made(device)  # and stays so


def test_weights_are_in_the_key_whatever_the_settings_say(tmp_path, device):
    class Liar(Toy):
        def settings(self):
            return {}

    assert exported(tmp_path, device, Liar(seed=0), SIZE) != exported(tmp_path, device, Liar(seed=1), SIZE)


def test_a_name_for_tables_is_not_in_the_key(tmp_path, device):
    assert exported(tmp_path, device, Toy(), SIZE) == exported(tmp_path, replace(device, name="other"), Toy(), SIZE)


@pytest.mark.parametrize("damage", ["changed", "cut", "gone", "manifest", "manifest gone"])
def test_a_damaged_export_is_made_anew(tmp_path, device, damage, caplog):
    folder = exported(tmp_path, device, Toy(), SIZE)
    file, manifest = folder / "sub" / "net.bin", folder / "export.json"
    {
        "changed": lambda: file.write_bytes(b"whale"),
        "cut": lambda: file.write_bytes(b"wh"),
        "gone": file.unlink,
        "manifest": lambda: manifest.write_text(json.dumps([1])),
        "manifest gone": manifest.unlink,
    }[damage]()
    assert exported(tmp_path, device, Toy(), SIZE) == folder
    assert made(device) == 2
    assert file.read_bytes() == b"whole"
    assert caplog.text.count("is damaged") == 1, "told once"


def test_a_conversion_that_fails_leaves_nothing(tmp_path, device):
    with pytest.raises(UserError, match="no operator"):
        exported(tmp_path, replace(device, option=-1), Toy(), SIZE)
    assert [path.name for path in (tmp_path / "portable" / "exports").iterdir()] == ["locks"]


def _export(tmp_path, device):
    exported(tmp_path, device, Toy(), SIZE)


@pytest.mark.slow
def test_one_that_is_killed_leaves_nothing_that_is_taken(tmp_path, device):
    pause = Path(f"{device.log}.pause")
    pause.write_text("60")
    process = multiprocessing.get_context("spawn").Process(target=_export, args=(tmp_path, device))
    process.start()
    while not made(device):
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    left = [path for path in (tmp_path / "portable" / "exports").iterdir() if path.name != "locks"]
    assert [path.suffix for path in left] == [".tmp"]
    pause.unlink()
    folder = exported(tmp_path, device, Toy(), SIZE)
    assert (folder / "sub" / "net.bin").read_bytes() == b"whole"
    assert made(device) == 2
    assert not left[0].exists()


@pytest.mark.slow
def test_two_processes_make_it_once(tmp_path, device):
    Path(f"{device.log}.pause").write_text("3")
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=_export, args=(tmp_path, device)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert made(device) == 1


def test_what_a_killed_one_left_goes_with_the_next(tmp_path, device):
    folder = exported(tmp_path, device, Toy(), SIZE)
    left = folder.with_name(f".{folder.name}-0.tmp")
    left.mkdir()
    (folder / "export.json").unlink()
    exported(tmp_path, device, Toy(), SIZE)
    assert not left.exists()


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/nowhere/cache"])
def test_a_cache_that_is_no_folder_is_told_before(tmp_path, place):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=r"needs a folder|can't be written"):
        check_root(tmp_path / place)


def test_a_cache_that_has_exports_may_be_read_only(tmp_path, device, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EROFS, "Read-only file system")

    check_root(tmp_path / "new")
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(DiskError, match="Read-only file system"):
        check_root(tmp_path / "new")
    exported(tmp_path / "new", device, Toy(), SIZE)
    check_root(tmp_path / "new")


def test_no_room_is_no_fault_of_the_device(tmp_path, device, monkeypatch):
    monkeypatch.setattr(exports, "free_bytes", lambda path: 100)
    for one in (device, replace(device, option=-1)):
        with pytest.raises(DiskError, match="No room for the cache"):
            exported(tmp_path, one, Toy(), SIZE)
    assert [path.name for path in (tmp_path / "portable/exports").iterdir()] == ["locks"]
