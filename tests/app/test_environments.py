"""Machines as clusters and containers have them: a long TMPDIR, no home, a locale or an output without letters."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
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


def pictures(folder: Path, classes, n: int = 6, seed: int = 0) -> Path:
    """Make small pictures of noise, some in each class."""
    rng = np.random.default_rng(seed)
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
        assert len(f"{tempfile.gettempdir()}/pymp-12345678/listener-12345678") <= _SOCKET
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


# --- no home


@pytest.fixture
def homeless(monkeypatch):
    """A user without HOME and without an entry in passwd, as of ``docker run -u 12345``."""

    def unknown(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(RuntimeError):
        Path.home()


def test_without_a_home_all_works_that_names_none(itae_, homeless):
    assert itae_("--help")[0] == 0
    status, out, err = itae_(*SMALL, "dataset.limit=40", "hydra.run.dir=run")
    assert status == 0
    assert [line for line in err.splitlines() if "MPLCONFIGDIR" not in line] == [], "matplotlib has a hint for them"
    assert "results    run\n" in out
    assert itae_("sync", "run") == (0, "found      0 offline runs: 0 sent before, 0 still going on, 0 to send\n", "")
    assert "Nobody is logged in" in itae_("dashboard", "me/project")[2]


@pytest.mark.parametrize(
    "words",
    [
        ("dataset=imagefolder", "dataset.root=~/x"),
        ("dataset=imagefolder", "dataset.root=~"),
        ("dataset=imagefolder", 'dataset.root="~/x"'),
        ("-m", "seed=1,2", "paths.cache=~/x"),
        ('backbone.checkpoint="~/x.safetensors"',),
        ("detector.rule=bimodal", 'detector.calibration="~/x.json"'),
        ("prepare", "dataset=imagefolder", "dataset.root=~/x"),
        ("calibrate", "~/x.json", "detector.rule=bimodal"),
        ("cache", "ls", "--cache", "~/x"),
        ("collect", "~/x"),
        ("collect", ".", "--out", "~/x"),
        ("report", "~/x"),
        ("sync", "~/x"),
        ("protocol", "--held-out", "dataset=digits", "seed=1", "--out", "~/x"),
    ],
    ids=" ".join,
)
def test_only_a_word_with_a_tilde_needs_a_home(itae_, homeless, words):
    status, out, err = itae_(*words)
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert "there is no home folder for ~" in err
    assert "~" in err.split(":")[1]


def test_a_folder_may_be_called_as_nobody_is(itae_, tmp_path):
    pictures(tmp_path / "~nobody of that name", "ab")
    status, _, err = itae_(*SMALL, "dataset=imagefolder", 'dataset.root="~nobody of that name"', "hydra.run.dir=run")
    assert (status, err) == (0, ""), err


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Return a folder that every user may enter; those that lead to pytest's own are closed to all but one."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        yield Path(folder)


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("setpriv"), reason="another user is made by root and setpriv")
def test_a_user_without_a_name_gets_the_help_and_a_run(open_folder):
    env = {name: value for name, value in os.environ.items() if name != "HOME"}
    read = ("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search")  # Python may lie in a closed home
    who = ("setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", *read)
    for words in (("--help",), ("dataset.limit=40", "clusterer.seeds=2", "hydra.run.dir=run")):
        done = started(*words, cwd=open_folder, env=env, before=who)
        assert done.returncode == 0, done.stderr
    assert {path.suffix for path in (open_folder / "run/figures").iterdir()} == {".png", ".svg"}
    assert list((open_folder / "run/wandb").glob("offline-run-*")), done.stderr
    assert not (open_folder / "~").exists()


@pytest.mark.parametrize("words", [(), ("-m", "seed=1,2")], ids=["run", "sweep"])
def test_where_nothing_may_be_written_it_is_told(itae_, monkeypatch, words):
    monkeypatch.chdir("/proc")  # where root may not write either
    monkeypatch.setenv("HOME", "/proc/nobody")
    status, out, err = itae_(*words, *SMALL)
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert "set hydra.run.dir or hydra.sweep.dir to a folder you may write to" in err
