"""`itae sync` when W&B's own command does not end; W&B is played by a module in its place. For real: test_wandb.py."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time

import psutil
import pytest

from itae.base.errors import UserError
from itae.track import going_on, sync

SENDS = """
import sys, time
from pathlib import Path
for run in sys.argv[4:]:
    (Path(run) / "run-1.wandb.synced").touch()
time.sleep(600)
"""

STARTS_A_SERVICE = """
import subprocess, sys, time
from pathlib import Path
service = subprocess.Popen(["sleep", "600"], start_new_session=True)
Path("service").write_text(str(service.pid))
time.sleep(600)
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return the folder of an offline run."""
    folder = tmp_path / "run" / "wandb" / "offline-run-1"
    folder.mkdir(parents=True)
    (folder / "run-1.wandb").write_bytes(bytes(20))
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def wandb(run, tmp_path, monkeypatch):
    """Return a function that puts a program in the place of ``python -m wandb``, with one run to be sent."""
    monkeypatch.setenv("WANDB_API_KEY", "k")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    return (tmp_path / "wandb.py").write_text


def test_what_is_sent_is_not_waited_for(wandb, monkeypatch, capsys):
    monkeypatch.setattr(sync, "GRACE", 0.1)
    wandb(SENDS)
    began = time.monotonic()
    assert sync.main(["run", "--timeout", "60"]) == 0
    assert time.monotonic() - began < 30
    assert "sent       1 runs" in capsys.readouterr().out


@pytest.mark.slow
def test_nothing_is_left_of_a_process_that_does_not_end(wandb, tmp_path):
    wandb(STARTS_A_SERVICE)
    with pytest.raises(UserError, match=r"1 of 1 runs could not be sent, .*no end within 3 s"):
        sync.main(["run", "--timeout", "3"])
    service = int((tmp_path / "service").read_text())
    try:
        assert psutil.Process(service).wait(5) is None  # its own reaper's, if there is one
    except psutil.NoSuchProcess:
        pass
    except psutil.TimeoutExpired:
        subprocess.run(["kill", str(service)], check=False)
        pytest.fail("its service still runs")


@pytest.fixture
def found(run, capsys):
    """Return a function that says what `itae sync` finds: how many still going on, and how many to send."""

    def ask(*words):
        assert sync.main(["run", "--dry-run", *words]) == 0
        _, going_on, to_send = re.findall(r"(\d+) (?:sent|still|to)", capsys.readouterr().out)
        return int(going_on), int(to_send)

    return ask


def test_a_run_is_left_alone_while_its_process_writes_it(run, found):
    writer = going_on.Writer(run)
    assert found() == (1, 0)
    assert found("--all") == (0, 1)
    (run / "run-1.wandb.synced").touch()
    assert found() == (0, 0)
    (run / "run-1.wandb.synced").unlink()
    writer.end()
    assert found() == (0, 1)
    assert [path.name for path in run.iterdir()] == ["run-1.wandb"]


def test_a_run_that_was_killed_is_sent(run, found):
    code = f"import pathlib, time; from itae.track.going_on import Writer; Writer(pathlib.Path({str(run)!r}))"
    process = subprocess.Popen([sys.executable, "-c", f"{code}; print('writes', flush=True); time.sleep(600)"],
                               stdout=subprocess.PIPE, text=True)  # fmt: skip
    try:
        assert process.stdout.readline() == "writes\n"
        assert found() == (1, 0)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie is dead, too
        assert found() == (0, 1)
    finally:
        process.kill()
        process.wait()
    assert found() == (0, 1)


def test_another_process_by_the_same_number_is_not_the_one_that_wrote(run, found):
    going_on.Writer(run)
    mark = run / going_on.MARK
    mark.write_text(json.dumps(json.loads(mark.read_text()) | {"began": 1.0}))
    assert found() == (0, 1)


@pytest.mark.parametrize("told", [{"machine": "elsewhere", "pid": os.getpid()}, [], "torn"])
def test_a_run_of_another_machine_is_sent_an_hour_after_its_last_sign_of_life(run, found, told):
    mark = run / going_on.MARK
    mark.write_text(told if told == "torn" else json.dumps(told))
    assert found() == (1, 0)
    os.utime(mark, (time.time() - 3500,) * 2)
    assert found() == (1, 0)
    os.utime(mark, (time.time() - 3700,) * 2)
    assert found() == (0, 1)


def test_a_process_that_writes_gives_signs_of_life(run, monkeypatch):
    monkeypatch.setattr(going_on, "BEAT", 0.02)
    writer, mark = going_on.Writer(run), run / going_on.MARK
    os.utime(mark, (0, 0))
    deadline = time.monotonic() + 10
    while mark.stat().st_mtime == 0 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert mark.stat().st_mtime > 0
    writer.end()


def test_a_run_of_an_older_version_tells_by_its_result_and_its_age(run, found):
    result = run.parents[1] / "result.json"
    result.write_text('{"status": "running"}')
    assert found() == (1, 0)
    for file in (result, run / "run-1.wandb"):
        os.utime(file, (time.time() - 3700,) * 2)
    assert found() == (0, 1)
    result.write_text('{"status": "failed"}')
    assert found() == (0, 1)


@pytest.mark.parametrize(("option", "said"), [("--project=a/b", "--project='a/b'"), ("--entity=", "--entity=''")])
def test_where_runs_are_sent_is_checked_first(run, option, said):
    with pytest.raises(UserError) as told:
        sync.main(["run", option])
    assert said in str(told.value)


def test_a_run_that_was_killed_before_it_logged_anything_is_no_failure(run, capsys):
    (run / "run-1.wandb").write_bytes(bytes(7))
    assert sync.main(["run"]) == 0
    assert capsys.readouterr().out.endswith("0 to send, 1 killed before anything was logged\n")
