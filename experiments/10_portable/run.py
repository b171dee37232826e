"""The one command of this experiment: a search on this machine, a training with its curve, and what is kept of both.

    python experiments/10_portable/run.py                     the search: every device that is installed, 25 minutes
    python experiments/10_portable/run.py --training          a training of eight minutes with its curve
    python experiments/10_portable/run.py device=[torch,ort] search.judged=60

Beside this file it leaves search.csv, front.json, guidelines.md, machine.json and the figures, and of a training
training.json; with --work in that folder.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SEARCH = ("devices", "not_run", "clock", "versions", "size", "threads", "statistic", "timing", "notes", "ranks",
          "short_ranks", "candidates", "training", "supernet", "quality")  # fmt: skip
"""What of ``result.json`` says how the front was found and measured."""
TRAINING = ("net", "data", "training", "quality", "devices", "timing", "notes")
"""The same of the training."""
LEARN = ("net=unet", "train=default", "train.steps=4000", "train.every=200", "pairs.train=1536", "device=[torch,ort]")
"""A network and a training that take some eight minutes of one core."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--training", action="store_true", help="the training with its curve, and no search")
    parser.add_argument("--work", type=Path, default=HERE, help="where what is kept goes (here)")
    parser.add_argument("words", nargs="*", metavar="key=value")
    options = parser.parse_args()
    run = Path("outputs/portable/10_portable" + ("_training" if options.training else "")).absolute()
    words = [*(LEARN if options.training else ("experiment=search",)), f"out='{run}'", *options.words]
    subprocess.run([sys.executable, "-m", "itae", "portable", *words], check=True)
    options.work.mkdir(parents=True, exist_ok=True)
    (keep_training if options.training else keep_search)(run, options.work)


def keep_search(run: Path, work: Path) -> None:
    """Copy what is kept of a search."""
    for file in (run / "search.csv", run / "front.json", *sorted((run / "figures").glob("*.png"))):
        shutil.copy(file, work)
    result = _result(run)
    told = "".join(f"- {each['text']}\n" for each in result["guidelines"])
    (work / "guidelines.md").write_text(told, encoding="utf-8")
    _keep(result, SEARCH, work / "machine.json")


def keep_training(run: Path, work: Path) -> None:
    """Copy what is kept of a training."""
    shutil.copy(run / "figures" / "curve.png", work / "curve.png")
    _keep(_result(run), TRAINING, work / "training.json")


def _result(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "result.json").read_text(encoding="utf-8"))
    return found


def _keep(result: dict[str, Any], names: tuple[str, ...], file: Path) -> None:
    found = {name: result[name] for name in names}
    file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
