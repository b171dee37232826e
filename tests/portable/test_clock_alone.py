"""Two jobs that measure: the second is refused, or waits; and one that was killed holds nothing."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
import time
from types import SimpleNamespace

import pytest

from itae.base import waiting
from itae.base.errors import UserError
from itae.portable.clock import alone as module
from itae.portable.clock.alone import alone

HOLD = """
import sys, time
from pathlib import Path
from itae.portable.clock import alone as module
module.SHARED = Path(sys.argv[1])
try:
    with module.alone(sys.argv[2], wait=sys.argv[3] == "wait"):
        print("alone", flush=True)
        sys.stdin.readline()
except ValueError as error:
    print(error, flush=True)
"""


@pytest.fixture(autouse=True)
def shared(monkeypatch, tmp_path):
    """Leave the machine's own lock to who really measures."""
    monkeypatch.setattr(module, "SHARED", tmp_path)
    return tmp_path


@pytest.fixture
def start(shared):
    """Return a function that starts another process that measures, and waits for what it says, unless it is to wait."""
    started = []

    def run(command, wait=""):
        words = [sys.executable, "-c", HOLD, str(shared), command, wait]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process, "" if wait else process.stdout.readline()

    yield run
    for process in started:
        process.kill()
        process.communicate()


def test_the_second_of_two_processes_is_refused_and_told_who_measures(start):
    first, said = start("itae portable net=unet")
    assert said == "alone\n"
    _, refused = start("itae portable net=other")
    assert refused.startswith(
        f"Another job measures on this machine: itae portable net=unet (process {first.pid} on "
    ), refused
    assert "measure.wait=true" in refused
    with pytest.raises(UserError, match="itae portable net=unet"), alone("here"):
        pass
    first.communicate("\n")
    with alone("here"):
        pass


def test_one_that_is_to_wait_waits_and_says_for_whom(start, monkeypatch, caplog):
    monkeypatch.setattr(waiting, "FIRST", 0.0)
    first, _ = start("itae portable net=unet")
    ended = []

    def end(seconds):
        ended.append(first.communicate("\n"))

    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=end))
    with alone("here", wait=True):
        assert ended
    assert (
        f"Waiting for another job that measures on this machine: itae portable net=unet (process {first.pid}"
        in caplog.text
    )


def test_one_that_waits_in_another_process_comes_next(start):
    with alone("here"):
        waits, _ = start("there", "wait")
        time.sleep(0.5)
        assert waits.poll() is None
    assert waits.stdout.readline() == "alone\n"
    with pytest.raises(UserError, match="measures on this machine: there"), alone("here"):
        pass


def test_one_that_was_killed_holds_nothing(start):
    killed, said = start("killed")
    assert said == "alone\n"
    killed.kill()
    killed.wait()
    with alone("here"), pytest.raises(UserError, match=r"machine: here \(process"), alone("again"):
        pass


def test_it_is_let_go_of_after_an_error_and_nobody_is_named_then(shared):
    with pytest.raises(RuntimeError), alone("fails"):
        raise RuntimeError
    assert [path.name for path in (shared / "itae-measuring").iterdir()] == ["lock"]
    with alone("here"):
        pass


def test_every_user_may_write_there(shared):
    before = os.umask(0o077)
    try:
        with alone("here"):
            folder = shared / "itae-measuring"
            assert stat.S_IMODE(folder.stat().st_mode) == 0o777
            assert stat.S_IMODE((folder / "lock").stat().st_mode) == 0o666
    finally:
        os.umask(before)


def test_who_holds_it_can_be_read_by_all(shared):
    before = os.umask(0o077)
    try:
        with alone("here"):
            assert stat.S_IMODE((shared / "itae-measuring" / "holder").stat().st_mode) & 0o444 == 0o444
    finally:
        os.umask(before)


def test_where_nobody_meets_it_is_the_systems_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "SHARED", tmp_path / "none")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with alone("here"):
        assert (tmp_path / "itae-measuring" / "lock").exists()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "neither"))
    with pytest.raises(UserError, match="can be written"), alone("here"):
        pass
