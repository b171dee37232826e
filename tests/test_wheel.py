"""The wheel, in an environment where nothing of the checkout is, from an empty folder."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHIPPED = "src/itae/portable/data/shipped"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", folder, ROOT]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = folder.glob("itae-*.whl")
    return path


def test_the_wheel_holds_configs_and_weights(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    shipped = {f"itae/conf/{path.relative_to(ROOT / 'conf')}" for path in (ROOT / "conf").rglob("*.yaml")}
    assert shipped <= set(names)
    weights = {f"itae/vit/weights/{name}.safetensors" for name in ("digits_vit", "digits_clip")}
    assert weights | {"itae/py.typed"} <= set(names)
    photographs = {f"itae/{path.relative_to(ROOT / 'src/itae')}" for path in (ROOT / SHIPPED).iterdir()}
    assert len(photographs) == 11, "nine photographs, and their credits for people and for the program"
    assert photographs <= set(names)
    assert not [name for name in names if name.startswith(("tests", "conf"))]


@pytest.mark.slow
def test_the_installed_wheel_runs_from_an_empty_folder(wheel, tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    python = tmp_path / "env" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python]  # this one's: making another takes longer than all the rest
    subprocess.run([*pip, "install", "-q", "--no-deps", wheel], check=True, capture_output=True)
    (site,) = (tmp_path / "env").glob("lib/python*/site-packages")
    # The dependencies of this environment, but not its own editable install: a .pth in a .pth isn't followed.
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    empty = tmp_path / "empty"
    empty.mkdir()
    where = subprocess.run(
        [python, "-c", "import itae; print(itae.__file__)"], capture_output=True, text=True, cwd=empty
    )
    assert where.stdout.startswith(str(site)), where
    itae = tmp_path / "env" / "bin" / "itae"
    done = subprocess.run([itae, "experiment=smoke"], capture_output=True, text=True, cwd=empty)
    assert done.returncode == 0, done.stderr
    assert "ACC" in done.stdout
    assert len(list(empty.glob("outputs/runs/*/result.json"))) == 1
    assert len(list(empty.glob("outputs/runs/*/report.html"))) == 1, "the page's parts are in the wheel"
    told = subprocess.run([itae, "layers=lst"], capture_output=True, text=True, cwd=empty)
    assert told.returncode == 2
    assert "Traceback" not in told.stderr
