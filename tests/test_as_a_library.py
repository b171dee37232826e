"""``import itae`` in somebody's program leaves that program, and Hydra and argparse in it, as they were."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

STATE = """
import argparse, atexit, gc, os, signal, sys
import hydra.main
from hydra.core.utils import JobReturn
def state():
    return {
        "JobReturn.return_value": JobReturn.return_value,
        "ArgumentParser.error": argparse.ArgumentParser.error,
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "gc": (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()),
        "environment": {key: value for key, value in os.environ.items() if not key.startswith(OTHERS)},
        "argv, folder": (sys.argv, os.getcwd()),
        "hooks": (sys.excepthook, sys.displayhook, sys.stdout, sys.stderr),
    }
OTHERS = ("KMP_", "TORCHINDUCTOR_")  # joblib, threadpoolctl and torch set these when they are imported
before = state()
BODY
after = state()
print([name for name in before if before[name] != after[name]])
"""
IMPORTS = """
import importlib, pkgutil
import itae
itae.compose(["dataset=digits"])
# A process is started for each of the first two, and Ray sets a hook of its own.
own = (
    "itae.__main__", "itae.app.launch.server",
    "itae.app.launch.ray", "itae.embed.ray_cluster", "itae.embed.on_ray", "itae.knowledge.near.on_ray",
)
for module in pkgutil.walk_packages(itae.__path__, "itae."):
    if module.name not in own:
        importlib.import_module(module.name)
import hydra_plugins.itae_sweeps
"""
RUN = """
import pathlib
import itae
cfg = itae.compose(["dataset=digits", "dataset.limit=20", "clusterer.seeds=1", "tracker=none", "runtime.report=false"])
itae.run(cfg, pathlib.Path("out"))
"""


def changed(body, folder):
    code = [sys.executable, "-c", STATE.replace("BODY", body)]
    return subprocess.run(code, cwd=folder, check=True, capture_output=True, text=True).stdout.splitlines()[-1]


@pytest.mark.slow
def test_imports_and_composing_change_nothing_of_the_program(tmp_path):
    assert changed(IMPORTS, tmp_path) == "[]"


@pytest.mark.slow  # a run: six seconds
def test_a_run_changes_nothing_of_the_program(tmp_path):
    assert changed(RUN, Path(tmp_path)) == "[]"


def test_a_change_would_be_seen(tmp_path):
    body = "argparse.ArgumentParser.error = print; os.environ['A'] = 'b'; gc.freeze(); signal.signal(15, print)"
    assert changed(body, tmp_path) == "['ArgumentParser.error', 'signals', 'gc', 'environment']"


@pytest.mark.parametrize(
    "body", ["import itae", "import itae.app.cli", "from itae.app.cli import main", "import itae.detect"]
)
def test_windows_is_told_of_in_one_sentence(body):
    code = f"import sys; sys.platform = 'win32'\n{body}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    said = (
        "ImportError: itae needs a POSIX system, Linux for one, and does not run on Windows; install it in WSL there."
    )
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, said)


def test_a_system_without_resource_imports_it():
    """Python has no such module everywhere; where there is a /proc it is not asked."""
    code = "import sys; sys.modules['resource'] = None\nimport itae.app.cli; from itae.base import memory\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}print(memory.peak_rss_mb() > 1)"], capture_output=True, text=True
    )
    assert done.stdout == "True\n", done.stderr


def test_hydra_in_somebody_elses_program_does_not_ask_where_it_runs():
    """Hydra imports all plugins that are installed, ours too, whatever program it serves."""
    code = "import sys, hydra; sys.platform = 'win32'; import hydra_plugins.itae_sweeps; print('itae' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
