"""`itae sync` when W&B's own command does not end; W&B is played by a module in its place. For real: test_wandb.py."""

from __future__ import annotations

import os
import subprocess
import time

import psutil
import pytest

from itae.base.errors import UserError
from itae.track import sync

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
def wandb(tmp_path, monkeypatch):
    """Return a function that puts a program in the place of ``python -m wandb``, with one run to be sent."""
    run = tmp_path / "run" / "wandb" / "offline-run-1"
    run.mkdir(parents=True)
    (run / "run-1.wandb").touch()
    monkeypatch.chdir(tmp_path)
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
