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
own = ("itae.__main__", "itae.app.launch.server", "itae.app.launch.ray", "itae.embed.ray_cluster", "itae.embed.on_ray")
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
