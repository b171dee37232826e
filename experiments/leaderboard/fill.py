"""Put the runs of experiment=leaderboard beside the paper's published scores.

    python experiments/leaderboard/fill.py outputs/leaderboard     from the result.json files in there
    python experiments/leaderboard/fill.py                         none: all columns of ours empty

results.csv has a row for each data set, backbone and recipe. What is no run of one of the two recipes on the whole of
the data, by k-means on the CLS token with as many clusters as classes, is named and left out. Nothing is chosen: two
runs for one row are refused.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from itae.app.compose import compose, conf_dir, plain_config
from itae.base.errors import UserError
from itae.results.find import find_results
from itae.results.run import Run, mean_artifact_rate, read_run

HERE = Path(__file__).parent
DATA = {"cifar10": "test", "cifar100": "test", "stl10": "test", "tiny_imagenet": "val"}
CLASSES = {"cifar10": 10, "cifar100": 100, "stl10": 10, "tiny_imagenet": 200}
RECIPES = ("paper", "label_free")
BACKBONES = ("dinov2_s14", "dinov2_b14", "dinov2_l14", "dinov2_g14")
METRICS = ("acc", "nmi", "ari")
PUBLISHED = {
    "cifar10": ("ViT-B/14", 0.8449, 0.8682, 0.7946),
    "cifar100": ("ViT-B/14", 0.6502, 0.7710, 0.5053),
    "stl10": ("ViT-B/14", 0.8276, 0.8818, 0.7594),
    "tiny_imagenet": ("", 0.6823, 0.8178, 0.5227),
}
"""Of arXiv 2410.04801, from its public listing; beside `LISTED_AT`, under the paper's rule. None for the other rows."""
LISTED_AT = ("dinov2_b14", "paper")
EDIT = ("edit", "detector", "attenuator", "layers", "control")


def main(argv: Sequence[str] | None = None) -> int:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="sweeps, or folders with some")
    made.add_argument("--out", type=Path, default=HERE, help="where results.csv goes (beside this file)")
    options = made.parse_args(argv)
    found: dict[tuple[str, str, str], Run] = {}
    try:
        files = find_results(options.folders) if options.folders else []
        for file in files:
            place, why = place_of(run := read_run(file))
            if place is None:
                print(f"left out   {file}: {why}")
            elif place in found:
                raise UserError(f"{file} and {found[place].folder} are both {', '.join(place)}; give one of them.")
            else:
                found[place] = run
    except UserError as error:
        raise SystemExit(str(error)) from error
    rows = [line(place, found.get(place)) for place in every()]
    options.out.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(options.out / "results.csv", index=False)
    print(f"{options.out / 'results.csv'}: {len(found)} of {len(rows)} rows have scores of ours")
    return 0


def every() -> list[tuple[str, str, str]]:
    return [(data, backbone, recipe) for data in DATA for backbone in BACKBONES for recipe in RECIPES]


def place_of(run: Run) -> tuple[tuple[str, str, str] | None, str]:
    """Return the row that a run is of, or None and why it is of none."""
    settings = run.result.get("settings") or {}
    if run.result["status"] != "ok":
        return None, f"it is {run.result['status']}"
    if settings["task"]["_target_"] != "itae.tasks.clustering.Clustering":
        return None, "it is no clustering"
    dataset, clusterer = settings["dataset"], settings.get("clusterer") or {}
    models = {(plain := OmegaConf.load(conf_dir() / "backbone" / f"{name}.yaml")).model_name: (name, plain.image_size)
              for name in BACKBONES}  # fmt: skip
    data, (backbone, size) = dataset["name"], models.get(settings["backbone"]["model_name"], (None, None))
    if data not in DATA or backbone is None:
        return None, f"{data} under {settings['backbone']['model_name']} is not in the table"
    if dataset["split"] != DATA[data] or dataset["limit"] is not None:
        return None, f"it is not all of {data}, split {DATA[data]}"
    if (
        clusterer.get("_target_") != "itae.cluster.KMeans"
        or clusterer["spherical"]
        or settings["backbone"]["pool"] != "cls"
    ):
        return None, "it is not k-means on the CLS token"
    if clusterer["k"] not in (None, CLASSES[data]) or settings["backbone"]["image_size"] != size:
        return None, f"it is not {CLASSES[data]} clusters of images of {size} pixels"
    for recipe in RECIPES:
        if edit_of(settings) == edit_of(plain_config(compose([f"recipe={recipe}"]))):
            return (data, backbone, recipe), ""
    return None, f"its edit is none of {', '.join(RECIPES)}"


def edit_of(settings: Mapping[str, Any]) -> list[Any]:
    return [settings[key] for key in EDIT]


def line(place: tuple[str, str, str], run: Run | None) -> dict[str, Any]:
    """Return one row; without a run, with the published scores alone."""
    data, backbone, recipe = place
    listed = PUBLISHED[data] if (backbone, recipe) == LISTED_AT else (None,) * 4
    row: dict[str, Any] = {"data": data, "split": DATA[data], "backbone": backbone, "recipe": recipe}
    row |= zip(("published_backbone", *(f"published_{metric}" for metric in METRICS)), listed, strict=True)
    result = run.result if run else None
    for name, side in (("untouched", "baseline"), ("ours", "edited"), ("delta", "delta")):
        for metric in METRICS:
            told = result[side][metric] if result else {}
            row[f"{name}_{metric}"] = rounded(told.get("mean"))
            row[f"{name}_{metric}_std"] = rounded(told.get("std"))
    low, high = (result["delta"]["acc"].get("interval") if result else None) or (None, None)
    row |= {"delta_acc_low": rounded(low), "delta_acc_high": rounded(high)}
    row["ours_flagged"] = rounded(mean_artifact_rate(result)) if result else None
    row["ours_selection"] = result["selection"] if result else None
    return row


def rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


if __name__ == "__main__":
    sys.exit(main())
