"""The one command of each experiment: its sweeps, their rows in results.csv, and the figure.

    python experiments/run.py 01_layers                                          the planted digits alone
    python experiments/run.py 01_layers --checkpoint WEIGHTS.safetensors --images PICTURES
    python experiments/run.py 01_layers --quick                                  does it run? few images, few jobs
    python experiments/run.py 01_layers --draw                                   the figure again, from results.csv

Words at the end (key=value) go to every sweep, as in runtime.batch_size=16.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from drawing import FIGURES

from itae.results.find import find_results
from itae.results.rows import measured
from itae.results.table import read_table

HERE = Path(__file__).parent
PLANTED, REAL = "digits", "dinov2_s"
QUICK = "dataset.limit=60 clusterer.seeds=2 clusterer.restarts=1"


@dataclass(frozen=True)
class Sweep:
    """The words of one ``itae -m``, and what makes it a small one for ``--quick``."""

    words: str
    quick: str = ""


_RANDOM = "detector=random detector.rate=0.005,0.01,0.03,0.1 attenuator=scale"  # the rates are rule_sweep's quantiles
_MAD = "detector.rule=mad detector.k=5"
# The MAD rule flags half a percent in the last block of DINOv2-S: little to act on. This is a share, not a finding.
_TENTH = "detector.rule=quantile detector.quantile=0.1 detector.side=low"
_EACH_TENTH = f"{_TENTH},high"
SWEEPS = {
    "01_layers": {
        PLANTED: [
            Sweep(
                "experiment=layer_ablation layers=[0],[1],[2],[3],[4],last,last2,last3,last4,last5,all "
                f"attenuator=scale {_MAD} detector.side=high",
                "layers=[0],last,last2,all",
            )
        ],
        REAL: [
            Sweep(
                "experiment=layer_ablation layers=[1],[3],[5],[7],[9],last,last2,last4,all "
                f"attenuator=scale {_MAD} detector.side=low,high"
            )
        ],
    },
    "02_thresholds": {
        PLANTED: [
            Sweep("experiment=rule_sweep layers=all attenuator=scale detector.side=high", "detector=key_norm"),
            Sweep(f"{_RANDOM} layers=all"),
        ],
        REAL: [Sweep("experiment=rule_sweep layers=last attenuator=scale"), Sweep(f"{_RANDOM} layers=last")],
    },
    "03_strength": {
        PLANTED: [
            Sweep(
                f"experiment=strength_sweep layers=all attenuator.queries=all,cls {_MAD} detector.side=high",
                "attenuator=floor,scale",
            )
        ],
        # In the last block the CLS row is all that is read, so `queries` makes no difference there.
        REAL: [
            Sweep(f"experiment=strength_sweep layers=last {_TENTH}"),
            Sweep(f"experiment=strength_sweep layers=last4 attenuator.strength=0.5,1 {_TENTH}"),
        ],
    },
    "05_controls": {
        PLANTED: [Sweep("experiment=controls layers=all attenuator=scale detector.side=high")],
        # Two modes are found in no block there, so it is a share once more.
        REAL: [
            Sweep(f"experiment=controls layers=last4 attenuator=scale {_EACH_TENTH}"),
            Sweep(
                f"experiment=controls control=random control.seed=1,2,3,4 layers=last4 attenuator=scale {_EACH_TENTH}"
            ),
        ],
    },
}
METRICS = ("acc", "nmi", "ari")
COLUMNS = (
    *("data", "backbone", "images", "layers", "detector", "side", "rule", "number"),
    *("attenuator", "strength", "queries", "flagged"),
    *(
        f"{side}_{metric}{end}"
        for metric in METRICS
        for side in ("baseline", "edited", "delta")
        for end in ("", "_std")
    ),
    *(f"{side}_{name}" for name in ("silhouette", "silhouette_common") for side in ("baseline", "edited")),
    "selection",
)
INTERVALS = tuple(f"delta_{metric}{end}" for metric in ("acc", "nmi", "knn") for end in ("_low", "_high"))
MORE = {"05_controls": ("control", "control_seed", "baseline_knn", "delta_knn", *INTERVALS)}
"""Columns that one experiment has besides `COLUMNS`."""


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    made.add_argument("name", choices=SWEEPS, help="the experiment")
    made.add_argument("--checkpoint", help="weights of DINOv2 ViT-S/14, safetensors")
    made.add_argument("--images", help="a folder of pictures, a sub-folder for each class")
    made.add_argument("--out", type=Path, help="where results.csv and the figure go (the experiment's own folder)")
    made.add_argument("--work", type=Path, default=Path("outputs/experiments"), help="where the runs go (%(default)s)")
    made.add_argument("--quick", action="store_true", help="few images and few jobs; the results stay with the runs")
    made.add_argument("--draw", action="store_true", help="draw the figure again and run nothing")
    made.add_argument("words", nargs="*", metavar="key=value", help="for every sweep")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    options = parser().parse_intermixed_args(argv)
    out = options.out or (options.work if options.quick else HERE) / options.name
    if not options.draw:
        if bool(options.checkpoint) != bool(options.images):
            parser().error("--checkpoint and --images go together")
        write(gather(options.name, run(options)), out)
    figure = out / "figure.png"
    FIGURES[options.name](pd.read_csv(out / "results.csv"), figure)
    print(f"{figure.parent}: results.csv, {figure.name}")
    if not options.draw and not options.images:
        print("Left out: DINOv2-S on real pictures, which needs --checkpoint and --images.")
    return 0


def run(options: argparse.Namespace) -> list[Path]:
    """Run every sweep of an experiment; return the folders."""
    folders = []
    for part, sweeps in commands(options.name, options.checkpoint, options.images, options.quick).items():
        for i, words in enumerate(sweeps):
            told = [*words, *options.words, "tracker=none"]
            token = hashlib.sha256(" ".join(told).encode()).hexdigest()[:6]  # another grid has another folder
            folder = options.work / options.name / f"{part}{'_quick' * options.quick}-{i}-{token}"
            start([*told, f"hydra.sweep.dir={quoted(folder)}"])
            folders.append(folder)
    return folders


def commands(
    name: str, checkpoint: str | None = None, images: str | None = None, quick: bool = False
) -> dict[str, list[list[str]]]:
    """Return the words of each ``itae -m``, for the digits, and for real pictures if there are some."""
    parts = {PLANTED: ["backbone=digits_vit_artifacts", "dataset=digits"]}
    if checkpoint and images:
        parts[REAL] = ["backbone=dinov2_s14", f"backbone.checkpoint={quoted(checkpoint)}"]
        parts[REAL] += ["dataset=imagefolder", f"dataset.root={quoted(images)}"]
    small = QUICK if quick else ""
    return {
        part: [[*words, *f"{sweep.words} {small} {sweep.quick * quick}".split()] for sweep in SWEEPS[name][part]]
        for part, words in parts.items()
    }


def options_of(
    doc: str | None, name: str, argv: Sequence[str] | None, flags: Mapping[str, str] | None = None
) -> argparse.Namespace:
    """Return the options of an experiment with a script of its own: pictures if there are some, and where all goes.

    `flags` are options of its own that are on or off, and what they do.
    """
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--checkpoint", help="weights of DINOv2 ViT-S/14, safetensors")
    made.add_argument("--images", help="a folder of pictures, NAME-VENDOR.png in a sub-folder for each class")
    made.add_argument("--out", type=Path, help="where the tables and the figure go (the experiment's own folder)")
    made.add_argument("--work", type=Path, default=Path("outputs/experiments") / name, help="where the runs go")
    made.add_argument("--quick", action="store_true", help="little of it; the tables stay with the runs")
    made.add_argument("--draw", action="store_true", help="draw the figure again and run nothing")
    for flag, does in (flags or {}).items():
        made.add_argument(flag, action="store_true", help=does)
    options = made.parse_args(argv)
    if bool(options.checkpoint) != bool(options.images):
        made.error("--checkpoint and --images go together")
    return options


def quoted(path: str | Path) -> str:
    """Return a path as a value of Hydra's, which reads some characters its own way."""
    text = str(path)
    return text if re.fullmatch(r"[\w./-]+", text) else "'{}'".format(text.replace("'", r"\'"))


def start(words: Sequence[str]) -> None:
    """Run one sweep in a process of its own; what an earlier call finished is not done again."""
    print(f"itae -m {shlex.join(words)}", flush=True)
    status = subprocess.run([sys.executable, "-m", "itae", "-m", *words], check=False).returncode
    if status:
        raise SystemExit(status)  # itae has said why


def gather(name: str, folders: Sequence[Path]) -> pd.DataFrame:
    """Return one row for each job of the sweeps, with the columns that matter here."""
    table, damaged, _ = read_table(find_results(folders), folders[0].parent)
    if damaged:
        raise SystemExit(f"{len(damaged)} results can't be read: {damaged}")
    rows = measured(table, "acc")
    return slim(table.loc[rows.index], rows, (*COLUMNS, *MORE.get(name, ())))


def slim(table: pd.DataFrame, rows: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return `columns` of a table of runs; `rows` is what `measured` makes of it."""
    none = pd.Series(pd.NA, table.index)
    made = {
        "data": table["dataset.name"],
        "backbone": table["backbone.model_name"],
        "images": table["images"].astype(int),
        "layers": table["layers"],
        "detector": rows["detector"],
        "side": table.get("detector.side", none),
        "rule": table.get("detector.rule", none),
        "number": rows["_number"],
        "attenuator": rows["attenuator"],
        "strength": table["attenuator.strength"],
        "queries": table["attenuator.queries"],
        "flagged": table["artifact_rate"],
        "selection": table["selection"],
    }
    if "control" in columns:
        made["control"] = table["control._target_"].str.rpartition(".")[2]
        made["control_seed"] = table.get("control.seed", none)
    for name in columns:
        side, _, rest = name.partition("_")
        metric, _, end = rest.partition("_")
        if metric in (*METRICS, "knn"):
            made[name] = table[f"{side}.{metric}.{end or 'mean'}"]
    for side in ("baseline", "edited"):
        made[f"{side}_silhouette"] = table[f"{side}.silhouette.mean"]
        made[f"{side}_silhouette_common"] = table[f"{side}.silhouette_common"]
    return pd.DataFrame(made)[list(columns)]


def write(table: pd.DataFrame, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    table.round(4).to_csv(out / "results.csv", index=False)


if __name__ == "__main__":
    sys.exit(main())
