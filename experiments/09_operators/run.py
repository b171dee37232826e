"""The one command of this experiment: the study of operators on this machine, and what is kept of it.

    python experiments/09_operators/run.py                    all changes on all devices that are installed
    python experiments/09_operators/run.py --quick            does it run? three changes, two devices
    python experiments/09_operators/run.py device=[torch,ort] measure.budget_s=600

Beside this file it leaves operators.csv, guidelines.md, machine.json and the figures; with --work in that folder.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
KEPT = ("devices", "not_run", "clock", "versions", "size", "threads", "statistic", "timing", "notes")
"""What of ``result.json`` says where and how the table was measured."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three changes on two devices, small pictures")
    parser.add_argument("--work", type=Path, default=HERE, help="where what is kept goes (here)")
    parser.add_argument("words", nargs="*", metavar="key=value")
    options = parser.parse_args()
    run = Path("outputs/portable/09_operators" + ("_quick" if options.quick else "")).absolute()
    study = "quick" if options.quick else "operators"
    words = [f"experiment={study}", f"out='{run}'", *options.words]
    subprocess.run([sys.executable, "-m", "itae", "portable", *words], check=True)
    keep(run, options.work)


def keep(run: Path, work: Path) -> None:
    """Copy what is kept of a run."""
    work.mkdir(parents=True, exist_ok=True)
    for file in (run / "operators.csv", run / "guidelines.md", *sorted((run / "figures").glob("*.png"))):
        shutil.copy(file, work)
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    found = {name: result[name] for name in KEPT}
    (work / "machine.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
