"""Fill the empty columns of results.csv from the runs of the paper's rule.

    python experiments/reproduce/fill.py outputs/reproduce     from the result.json files in there
    python experiments/reproduce/fill.py                       none: all columns of ours empty

What is no run of the paper's rule on the whole of the data is named and left out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from omegaconf import OmegaConf

from itae.app.compose import conf_dir
from itae.base.errors import UserError
from itae.results.find import find_results
from itae.results.rows import measured
from itae.results.table import read_table

HERE = Path(__file__).parent
DATA = {"cifar10": "test", "cifar100": "test", "stl10": "test", "tiny_imagenet": "val"}
BACKBONES = ("dinov2_s14", "dinov2_b14", "dinov2_l14", "dinov2_g14")
METRICS = ("acc", "nmi", "ari")
# From the public listing of arXiv 2410.04801, with the backbone as it is named there; none is for Tiny-ImageNet.
LISTED_AT = "dinov2_b14"
PUBLISHED = {
    "cifar10": ("ViT-B/14", 0.8449, 0.8682, 0.7946),
    "cifar100": ("ViT-B/14", 0.6502, 0.7710, 0.5053),
    "stl10": ("ViT-B/14", 0.8276, 0.8818, 0.7594),
    "tiny_imagenet": ("", 0.6823, 0.8178, 0.5227),
}
RULE = {
    "detector._target_": "itae.detect.VectorNorm",
    "detector.side": "low",
    "detector.scope": "token",
    "attenuator._target_": "itae.attenuate.Floor",
    "attenuator.strength": 1.0,
    "attenuator.queries": "cls",
    "layers": "last",
    "backbone.pool": "cls",
    "clusterer._target_": "itae.cluster.KMeans",
    "clusterer.spherical": False,
}
"""What makes a run one of the paper's rule: the norm of one of q, k and v, the last block, the row of the CLS token."""


def main(argv: Sequence[str] | None = None) -> int:
    options = parser().parse_args(argv)
    table = empty()
    if options.folders:
        try:
            files = find_results(options.folders)
        except UserError as error:
            raise SystemExit(str(error)) from error
        runs, damaged, _ = read_table(files, options.out)
        for file, reason in damaged.items():
            print(f"left out   {file}: {reason}")
        fill(table, runs)
    options.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.out / "results.csv", index=False)
    print(f"{options.out / 'results.csv'}: {table['ours_acc'].notna().sum()} of {len(table)} rows have scores of ours")
    return 0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="sweeps, or folders with some")
    made.add_argument("--out", type=Path, default=HERE, help="where results.csv goes (beside this file)")
    return made


def empty() -> pd.DataFrame:
    """Return the table with the published scores and nothing of ours."""
    rows = []
    for data, split in DATA.items():
        for backbone in BACKBONES:
            listed = PUBLISHED[data] if backbone == LISTED_AT else (None,) * 4
            names = ("published_backbone", *(f"published_{metric}" for metric in METRICS))
            rows.append({"data": data, "split": split, "backbone": backbone} | dict(zip(names, listed, strict=True)))
    table = pd.DataFrame(rows)
    for side in ("untouched", "ours"):
        for metric in METRICS:
            for name in (f"{side}_{metric}", f"{side}_{metric}_std"):
                table[name] = float("nan")
    table["ours_flagged"] = float("nan")
    for name in ("ours_setting", "ours_selection"):
        table[name] = pd.Series(None, table.index, dtype=object)
    return table


def fill(table: pd.DataFrame, runs: pd.DataFrame) -> None:
    """Write what the runs scored into the rows of their data and backbone.

    Of several runs for one row the one of the highest ACC is taken, which is then chosen with labels: an oracle.
    """
    reasons = {index: _why_not(run) for index, run in runs.iterrows()}
    for index, reason in reasons.items():
        if reason:
            print(f"left out   {runs.loc[index, 'folder']}: {reason}")
    runs = runs[[reason is None for reason in reasons.values()]]
    if not len(runs):
        return
    rows = measured(runs, "acc")  # equal settings once
    models = {OmegaConf.load(conf_dir() / "backbone" / f"{name}.yaml").model_name: name for name in BACKBONES}
    pairs = list(zip(runs["dataset.name"], runs["backbone.model_name"].map(models), strict=True))
    for place, line in table.iterrows():
        here = [
            index for index, pair in zip(runs.index, pairs, strict=True) if pair == (line["data"], line["backbone"])
        ]
        mine = rows.loc[rows.index.intersection(here)]
        if len(mine):
            best = mine["_value"].idxmax()
            _write(table, place, runs.loc[best], mine.loc[best])
            table.loc[place, "ours_selection"] = runs.loc[best, "selection"] if len(mine) == 1 else "oracle"


def _why_not(run: pd.Series) -> str | None:
    """Return why a run has no place in the table, or None if it has one."""
    if run["status"] != "ok":
        return f"it is {run['status']}"
    data = run["dataset.name"]
    whole = {"dataset.split": DATA.get(data), "dataset.limit": None}
    for name, value in (RULE | whole).items():
        there = run.get(name)
        if (None if pd.isna(there) else there) != value:
            return f"{name} is {there}, and not {value}" if data in DATA else f"{data} is not in the table"
    return None


def _write(table: pd.DataFrame, place: object, run: pd.Series, row: pd.Series) -> None:
    for side, ours in (("baseline", "untouched"), ("edited", "ours")):
        for metric in METRICS:
            table.loc[place, f"{ours}_{metric}"] = round(run[f"{side}.{metric}.mean"], 4)
            table.loc[place, f"{ours}_{metric}_std"] = round(run[f"{side}.{metric}.std"], 4)
    table.loc[place, "ours_flagged"] = round(run["artifact_rate"], 4)
    number = "" if pd.isna(row["_number"]) else f" {row['_number']:g}"
    table.loc[place, "ours_setting"] = f"{run['detector.vector']} norm, {run['detector.rule']}{number}"


if __name__ == "__main__":
    sys.exit(main())
