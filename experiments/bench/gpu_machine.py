"""What `make gpu` does: build the wheel, install it, run the tests that need a GPU, and the benchmark.

    python experiments/bench/gpu_machine.py [--wheels FOLDER] [--out results_gpu.txt]

No network is used. The Python that runs this must have torch with CUDA and what else itae needs, or find it as wheels
in the folder that GPU_WHEELS (or --wheels) names; what it lacks is said. Without a GPU the tests' CPU twins run, and
the status is 2, so that nobody takes it for a run on one.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# What is imported as another name than it is installed by.
MODULES = {
    "hydra-core": "hydra", "scikit-learn": "sklearn", "pillow": "PIL", "huggingface-hub": "huggingface_hub",
    "pyyaml": "yaml", "faiss": "faiss",
}  # fmt: skip
TESTED_WITH = ("pytest", "hypothesis")
TESTS = ("tests/gpu", "tests/base/test_device.py", "tests/measure/test_kmeans.py", "tests/embed/test_extract.py")


def say(text: str) -> None:
    """Print a line that is told from those of pip and pytest."""
    print(f"make gpu: {text}", file=sys.stderr, flush=True)


def needed() -> list[str]:
    """Return the packages that a run needs and those that the tests need beside them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.split("[^A-Za-z0-9._-]", line)[0] for line in project["dependencies"]]
    return [*names, "faiss", *TESTED_WITH]


def missing(names: Sequence[str]) -> list[str]:
    """Return those of some packages that can't be imported here."""
    return [name for name in names if importlib.util.find_spec(MODULES.get(name, name)) is None]


def environment(folder: Path, wheels: Path | None) -> Path:
    """Make an environment with what this Python has and, before it, what lies in `wheels`; return its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    (site,) = folder.glob("lib/python*/site-packages")
    # A .pth in a .pth isn't followed, so an editable itae of this Python is not found, and the wheel is.
    (site / "what_there_is.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", encoding="utf-8")
    if wheels is not None:
        others = sorted(str(path) for path in wheels.glob("*.whl") if not path.name.startswith("itae-"))
        if others:
            install(python, *others)
    return python


def install(python: Path, *wheels: str) -> None:
    """Install wheels, and nothing that they name."""
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, *wheels], check=True)


def wheel(folder: Path, wheels: Path | None) -> Path | None:
    """Build the wheel of this checkout, or return the one that was carried here; None where there is neither."""
    if importlib.util.find_spec("hatchling") is not None:
        build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
        subprocess.run([*build, "-w", folder, ROOT], check=True)
        return next(folder.glob("itae-*.whl"))
    return next(iter(sorted(wheels.glob("itae-*.whl"))), None) if wheels is not None else None


def has_gpu(python: Path) -> bool | None:
    """Whether torch sees a GPU there; None where it can't be imported."""
    code = "import torch, sys; sys.exit(0 if torch.cuda.is_available() else 3)"
    done = subprocess.run([python, "-c", code], capture_output=True, check=False)
    return {0: True, 3: False}.get(done.returncode)


def main(words: Sequence[str] | None = None) -> int:
    """Return 0, or 1 if a test or a part of the benchmark failed, 2 where something is missing or there is no GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheels", type=Path, default=os.environ.get("GPU_WHEELS") or None)
    parser.add_argument("--out", type=Path, default=HERE / "results_gpu.txt")
    args = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="itae-make-gpu-") as scratch:
        return _run(Path(scratch), Path(args.wheels) if args.wheels else None, args.out.absolute())


def _run(scratch: Path, wheels: Path | None, out: Path) -> int:
    if importlib.util.find_spec("pip") is None:
        say(f"{sys.executable} lacks pip, which builds and installs the wheel; set GPU_PYTHON to one that has it.")
        return 2
    python = environment(scratch / "env", wheels)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"HF_HUB_OFFLINE": "1"}
    code = f"import sys; sys.path.insert(0, {str(HERE)!r}); import gpu_machine as m; print(*m.missing(m.needed()))"
    lacking = subprocess.run(
        [python, "-c", code], env=env, capture_output=True, encoding="utf-8", check=True
    ).stdout.split()
    if lacking:
        say(f"{sys.executable} lacks {', '.join(lacking)}; install them, or set GPU_WHEELS to a folder of wheels.")
        return 2
    built = wheel(scratch / "dist", wheels)
    if built is None:
        say("there is no hatchling to build the wheel with; install it, or put itae-*.whl into the folder GPU_WHEELS.")
        return 2
    install(python, str(built))
    gpu = has_gpu(python)
    if not gpu:
        say("no CUDA device here: the tests' CPU twins run, no benchmark does, and nothing is written.")
    pytest = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu" if gpu else "not slow"]
    tested = subprocess.run([*pytest, *(TESTS if gpu else TESTS[:2])], cwd=ROOT, env=env, check=False).returncode
    if not gpu:
        return 1 if tested else 2
    empty = scratch / "empty"
    empty.mkdir()
    measured = subprocess.run([python, HERE / "gpu.py", "--out", out], cwd=empty, env=env, check=False).returncode
    say(f"what was measured is in {out}; the tests that need a GPU {'failed' if tested else 'passed'}.")
    with out.open("a", encoding="utf-8") as file:
        file.write(f"tests that need a GPU: {'FAILED' if tested else 'passed'}\n")
    return 1 if tested or measured else 0


if __name__ == "__main__":
    if shutil.which("nvidia-smi") is None:
        say("there is no nvidia-smi on PATH.")
    sys.exit(main())
