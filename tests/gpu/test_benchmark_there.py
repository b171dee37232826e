"""The benchmark of a GPU can't be broken unseen: it runs here in a small size; what `make gpu` asks first, too."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "experiments" / "bench"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))

    def load(name):
        spec = importlib.util.spec_from_file_location(f"bench_{name}", BENCH / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        return module

    return load


def test_every_part_of_the_benchmark_is_measured_and_written(script, device, tmp_path, capsys):
    gpu = script("gpu")
    assert gpu.main(["--device", device.type, "--quick", "--out", str(tmp_path / "out.txt")]) == 0
    written = (tmp_path / "out.txt").read_text()
    assert written == capsys.readouterr().out
    for what in ("GPU", "versions", "at most 1.15", "at least 0.9", "JPEGs", "images/s", "k-means"):
        assert what in written
    assert "broke off" not in written


def test_a_part_that_breaks_off_loses_no_other(script, monkeypatch, tmp_path):
    gpu = script("gpu")

    def breaks(bench):
        raise RuntimeError("CUDA error: an illegal\naddress")

    monkeypatch.setitem(gpu.PARTS, "forwards", breaks)
    assert gpu.main(["--device", "cpu", "--quick", "--out", str(tmp_path / "out.txt"), "forwards", "kmeans"]) == 1
    written = (tmp_path / "out.txt").read_text()
    assert "RuntimeError: CUDA error: an illegal address" in written
    assert "inertia" in written


def test_without_a_gpu_it_says_so(script, monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert script("gpu").main([]) == 2
    assert "no CUDA device here" in capsys.readouterr().err


def test_make_gpu_says_what_is_missing(script, tmp_path, monkeypatch, capsys):
    machine = script("gpu_machine")
    assert machine.missing(machine.needed()) == []
    assert {"torch", "timm", "hydra-core", "pillow", "faiss", "pytest"} <= set(machine.needed())
    monkeypatch.setattr(machine, "needed", lambda: ["torch"])
    monkeypatch.setattr(machine.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, "timm faiss\n"))
    monkeypatch.setattr(machine, "environment", lambda *_: Path(sys.executable))
    assert machine.main(["--out", str(tmp_path / "out.txt")]) == 2
    err = capsys.readouterr().err
    assert "lacks timm, faiss; install them, or set GPU_WHEELS" in err
    assert not (tmp_path / "out.txt").exists()


def test_make_gpu_says_that_a_python_has_no_pip(script, monkeypatch, capsys):
    """As one that uv has made."""
    machine, found = script("gpu_machine"), importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "pip" else found(name))
    assert machine.main([]) == 2
    assert f"{sys.executable} lacks pip" in capsys.readouterr().err


def test_what_a_python_has_not_is_found_by_name(script):
    machine = script("gpu_machine")
    assert machine.missing(["torch", "scikit-learn", "no-such-package"]) == ["no-such-package"]


def test_make_gpu_needs_no_setup():
    done = subprocess.run(["make", "-n", "gpu"], cwd=BENCH.parents[1], capture_output=True, text=True, check=True)
    assert "experiments/bench/gpu_machine.py" in done.stdout
    assert "pip install" not in done.stdout
