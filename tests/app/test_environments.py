"""Machines as clusters and containers have them: a long TMPDIR, no home, a locale or an output without letters."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from itae.app.launch import processes
from itae.base.place import socket_folder
from itae.look.view import load_run

SMALL = ("tracker=none", "clusterer.seeds=2", "clusterer.restarts=1", "runtime.report=false")
_SOCKET = 107  # bytes in the name of one


def started(*words: str, cwd: Path, **more) -> subprocess.CompletedProcess[str]:
    """Run ``itae`` as a program of its own."""
    command = [*more.pop("before", ()), sys.executable, "-m", "itae", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, encoding="utf-8", errors="surrogateescape", **more)


def pictures(folder: Path, classes, n: int = 6) -> Path:
    """Make small pictures of noise, some in each class."""
    rng = np.random.default_rng(0)
    for name in classes:
        place = os.path.join(os.fsencode(folder), os.fsencode(name))
        os.makedirs(place)
        for i in range(n):
            Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(os.path.join(place, b"%d.png" % i))
    return folder


# --- a TMPDIR that is too long for a socket


def test_a_socket_lies_in_the_folder_for_temporary_files_or_in_a_short_one(tmp_path, monkeypatch):
    short, long = tmp_path / "s", tmp_path / ("x" * 100)
    for folder in (short, long):
        folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(short))
    assert socket_folder(len(str(short))) == str(short)
    assert socket_folder(len(str(short)) - 1) in ("/tmp", "/var/tmp", "/dev/shm")
    assert socket_folder(3) is None
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with processes._short_names():
        assert len(tempfile.mktemp(prefix="listener-", dir=tempfile.mkdtemp(prefix="pymp-"))) <= _SOCKET
    assert tempfile.gettempdir() == str(long)


def test_where_no_socket_has_room_jobs_run_in_one_process(itae_, tmp_path, monkeypatch):
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    monkeypatch.setattr(processes, "socket_folder", lambda _: None)
    monkeypatch.setattr("multiprocessing.util.get_temp_dir", lambda: str(long))  # of this process it is known already
    fresh = processes.forkserver.ForkServer()  # none that runs already
    for name in ("ensure_running", "connect_to_new_process", "set_forkserver_preload"):
        monkeypatch.setattr(processes.forkserver, name, getattr(fresh, name))
    grid = ("dataset.limit=40", "layers=last,all", "hydra.sweep.dir=sweep", "hydra.launcher.n_jobs=2")
    status, _, err = itae_("-m", *SMALL, *grid)
    assert (status, err.count("AF_UNIX path too long"), err.count("\n")) == (0, 1, 1), err
    assert "run in this process, one after the other" in err
    assert len(list(tmp_path.glob("sweep/*/result.json"))) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher", [("hydra.launcher.n_jobs=2",), ("hydra/launcher=joblib",), ("hydra/launcher=ray",)]
)
def test_a_long_tmpdir_costs_no_sweep(tmp_path, launcher):
    long = tmp_path / ("x" * 100)
    long.mkdir()
    words = ("-m", *SMALL, *launcher, "dataset.limit=40", "layers=last,all", "hydra.sweep.dir=sweep")
    done = started(*words, cwd=tmp_path, env=os.environ | {"TMPDIR": str(long)})
    assert (done.returncode, done.stderr) == (0, "")
    assert all(load_run(tmp_path / "sweep" / str(i)).ok for i in range(2))
