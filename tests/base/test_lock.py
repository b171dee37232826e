"""Locks where the disk has them, and where it has none: nobody alive is robbed, and nobody dead holds for ever."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from itae.base import lock, waiting
from itae.base.lock import Lock, lease_of, this_process

HOLD = """
    import errno, fcntl, os, socket, sys, time
    def flock(*_):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    fcntl.flock = flock
    if sys.argv[2]:
        socket.gethostname = lambda: sys.argv[2]
    from itae.base import lock
    lock.LEASE, lock._SIGN = 2.0, 0.2
    from pathlib import Path
    held = lock.Lock(Path(sys.argv[1]))
    print(held.take(), flush=True)
    time.sleep(60)
"""


@contextlib.contextmanager
def holder(file, host=""):
    """Have another process, of another machine by its word, hold a lock on a disk without locks."""
    command = [sys.executable, "-c", textwrap.dedent(HOLD), str(file), host]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "True\n"
            yield process
        finally:
            process.kill()


@pytest.fixture
def without_locks(monkeypatch):
    """Have the disk have no locks, and a lease of two seconds."""

    def unable(*_):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", unable)
    monkeypatch.setattr(lock, "LEASE", 2.0)
    monkeypatch.setattr(lock, "_SIGN", 0.2)


@pytest.mark.parametrize("error", [0, errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_one_at_a_time_whatever_the_disk_says(tmp_path, monkeypatch, error):
    real = fcntl.flock

    def flock(*args):
        if error:
            raise OSError(error, os.strerror(error))
        return real(*args)

    monkeypatch.setattr(fcntl, "flock", flock)
    one, other = Lock(tmp_path / "x"), Lock(tmp_path / "x")
    for _ in range(2):
        assert one.take()
        assert not other.take()
        one.release()
    assert other.take()
    other.release(remove=True)
    assert not list(tmp_path.iterdir())


def test_what_else_is_wrong_with_a_disk_is_raised(tmp_path, monkeypatch):
    def broken(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", broken)
    with pytest.raises(OSError, match="Input/output error"):
        Lock(tmp_path / "x").take()


def test_a_file_that_flock_left_is_no_lock_for_who_has_none(tmp_path, without_locks):
    (tmp_path / "x").touch()  # of another machine, whose way to the disk has locks
    assert Lock(tmp_path / "x").take()


def test_who_died_on_this_machine_holds_nothing(tmp_path, without_locks):
    with holder(tmp_path / "x") as process:
        mine = Lock(tmp_path / "x")
        assert not mine.take()
        process.kill()
        process.wait()
        assert mine.take() or mine.take(), "at the second look at the latest"


@pytest.mark.slow
def test_who_died_on_another_machine_holds_for_the_length_of_a_lease(tmp_path, without_locks):
    with holder(tmp_path / "x", "elsewhere") as process:
        process.kill()
        process.wait()
        mine, began = Lock(tmp_path / "x"), time.monotonic()
        while not mine.take():
            time.sleep(0.05)
        assert 2.0 <= time.monotonic() - began < 20


@pytest.mark.slow
@pytest.mark.parametrize("ahead", [-1e6, 1e6])
def test_who_lives_on_another_machine_is_not_robbed_whatever_the_clocks_say(
    tmp_path, without_locks, monkeypatch, ahead
):
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + ahead)
    with holder(tmp_path / "x", "elsewhere"):
        mine, until = Lock(tmp_path / "x"), time.monotonic() + 4
        while time.monotonic() < until:
            assert not mine.take()
            time.sleep(0.05)


def test_who_is_known_to_be_alive_is_waited_for_no_longer(tmp_path, without_locks):
    with holder(tmp_path / "x", "elsewhere"):
        assert not Lock(tmp_path / "x").take_from_the_dead("x")


@pytest.mark.slow
def test_who_may_be_dead_is_waited_for_and_that_is_told(tmp_path, without_locks, monkeypatch, caplog):
    monkeypatch.setattr(waiting, "FIRST", 0.3)
    with holder(tmp_path / "x", "elsewhere") as process:
        process.kill()
        process.wait()
        assert Lock(tmp_path / "x").take_from_the_dead("the house")
    assert [record.levelname for record in caplog.records if "Waiting" in record.message] == ["WARNING"]
    assert "a sign of life of who holds the house" in caplog.text


def test_a_lock_of_the_system_is_not_waited_for(tmp_path):
    assert Lock(tmp_path / "x").take_from_the_dead("x")
    held = Lock(tmp_path / "x")
    assert held.take()
    assert not Lock(tmp_path / "x").take_from_the_dead("x")


def test_a_lease_that_was_taken_over_is_told(tmp_path, without_locks, caplog):
    """As after a laptop slept: two may be at work on one thing, which costs work and no result."""
    assert Lock(tmp_path / "x").take()
    lease_of(tmp_path / "x").unlink()
    until = time.monotonic() + 10
    while "may have taken over" not in caplog.text and time.monotonic() < until:
        time.sleep(0.05)
    assert "may have taken over" in caplog.text


def test_a_wait_is_told_once_and_again_rarely(monkeypatch, caplog):
    now = [0.0]
    monkeypatch.setattr(waiting.time, "monotonic", lambda: now[0])
    wait, told = waiting.Waiting(), []
    for now[0] in range(2000):
        before = len(caplog.messages)
        wait.goes_on("rain" if now[0] < 100 else "the sun")
        told += [now[0]] * (len(caplog.messages) - before)
    assert told == [2, 100, 1000, 1900]
    assert caplog.messages[0] == "Waiting for rain."
    assert caplog.messages[2] == "Waiting for the sun (17 minutes so far)."


def test_who_waits_for_its_turn_gets_it(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(waiting, "FIRST", 0.2)
    held = Lock(tmp_path / "x")
    assert held.take()
    threading.Timer(0.6, held.release).start()
    with Lock(tmp_path / "x").held("another one"):
        assert not Lock(tmp_path / "x").take()
    assert caplog.messages == ["Waiting for another one."]


def test_a_process_without_a_name_for_its_user_says_its_number(monkeypatch):
    def nameless():
        raise KeyError("uid not found")

    monkeypatch.setattr("getpass.getuser", nameless)
    assert f"process {os.getpid()} on " in this_process()
    assert f" of {os.getuid()} since 20" in this_process()
