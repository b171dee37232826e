"""What an edit does to a memory: the accuracy of neighbours, forgetting and repair, each against random patches.

    python experiments/06_knowledge/knowledge.py                  digits, and digits with planted artifacts
    python experiments/06_knowledge/knowledge.py --checkpoint WEIGHTS.safetensors --images PICTURES      pictures, too
    python experiments/06_knowledge/knowledge.py --quick          does it run? few images, few jobs
    python experiments/06_knowledge/knowledge.py --draw           the figure again, from edits.csv

PICTURES are a sub-folder a class, each file called NAME-VENDOR.png: what two vendors have drawn is of one group, and
one vendor's pictures are asked of the other's. accuracy.csv, repairs.csv and edits.csv come out, a row a metric.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))

from drawing import save  # noqa: E402
from run import options_of, quoted, start  # noqa: E402

from itae.look.figures import COLOURS, clean  # noqa: E402
from itae.results.controls import AGAINST, against_random  # noqa: E402
from itae.results.find import find_results  # noqa: E402
from itae.results.table import read_table  # noqa: E402

TRAIN = "task.gallery={split: train}"
PLANTED = ["backbone=digits_vit_artifacts", "layers=all", "detector.rule=mad", "detector.k=5", "detector.side=high"]
DIGITS = ["dataset=digits", "dataset.split=test", TRAIN]
TENTH = ["layers=last4", "detector.rule=quantile", "detector.quantile=0.1", "detector.side=low"]
"""Two modes are found in no block of DINOv2-S, so it is a share, taken before any score was seen."""
METRICS = {
    "knn": ("top_1", "balanced_accuracy", "ece"),
    "incremental": ("final", "forgetting"),
    "editing": ("clean", "noisy", "repaired", "recovery", "recovery_k1", "locality", "precision_at_wrong", "auroc"),
}
"""What is told of each task."""
SHOWN = {"top_1": "top-1 accuracy", "forgetting": "forgetting", "recovery_k1": "recovery (nearest row)"}
"""What the figure shows."""


def main(argv: Sequence[str] | None = None) -> int:
    options = options_of(__doc__, "06_knowledge", argv)
    out = options.out or (options.work if options.quick else HERE)
    if not options.draw:
        out.mkdir(parents=True, exist_ok=True)
        for made in (accuracy, repairs, edits):
            rows = made(options).dropna(axis="columns", how="all")
            rows.round(4).to_csv(out / f"{made.__name__}.csv", index=False)
    draw(pd.read_csv(out / "edits.csv"), out / "figure.png")
    print(f"{out}: accuracy.csv, repairs.csv, edits.csv, figure.png")
    return 0


def accuracy(options: argparse.Namespace) -> pd.DataFrame:
    """Return how well neighbours name images, by data and by who is asked."""
    asked = {"digits": ["backbone=digits_vit", *DIGITS], "planted digits": [*PLANTED, "attenuator=scale", *DIGITS]}
    if options.images:
        pictures = [*_real(options), "attenuator=scale"]
        vendors = _prepared(Path(options.images), options.work)
        whole = [*pictures, f"dataset.root={quoted(options.images)}"]
        hidden = f"task.group={quoted(options.work / 'glyphs.csv')}"
        asked["emoji, each by all others"] = whole
        asked["emoji, the same glyph hidden"] = [*whole, hidden]
        for here, there in (("twitter", "google"), ("google", "twitter")):
            both = [f"dataset.root={quoted(vendors)}", f"dataset.split={here}", f"task.gallery={{split: {there}}}"]
            both += [f"task.group={quoted(options.work / 'glyphs_of_vendors.csv')}"]
            asked[f"emoji, {here} by {there}, the same glyph hidden"] = [*pictures, *both]
    found = []
    for name, words in asked.items():
        folder = options.work / "accuracy" / name.replace(" ", "_").replace(",", "")
        start(["task=knn", *words, *_small(options), *_to(folder)])
        found += [{"data": name} | row for row in _rows(folder)]
    return pd.DataFrame(found)


def repairs(options: argparse.Namespace) -> pd.DataFrame:
    """Return what wrong labels of each kind cost, and what mending them in each order brings back."""
    each = {"digits": ["backbone=digits_vit"], "planted digits": [*PLANTED, "attenuator=scale"]}
    if options.images:
        each["emoji"] = [*_real(options), "attenuator=scale", f"dataset.root={quoted(options.images)}"]
    grid = ["corruption=cluster,uniform,pair,boundary", "corruption.rate=0.1,0.2,0.4"]
    if options.quick:
        grid = ["corruption=cluster", "corruption.rate=0.2"]
    found = []
    for name, words in each.items():
        folder = options.work / "repairs" / name.replace(" ", "_")
        start(["task=editing", *words, *grid, "repair=suspicion,blame,random,source", *_small(options), *_to(folder)])
        found += [{"data": name} | row for row in _rows(folder)]
    return pd.DataFrame(found)


def edits(options: argparse.Namespace) -> pd.DataFrame:
    """Return what each edit changes of each task, and what is left of it against random patches."""
    each = {"planted digits": ([*PLANTED, *DIGITS], "floor,scale,fade,blend,cap,mean_value", "0,1,2")}
    if options.images:
        _prepared(Path(options.images), options.work)
        glyphs = quoted(options.work / "glyphs.csv")
        words = [*_real(options), f"dataset.root={quoted(options.images)}", f"task.group={glyphs}"]
        each["emoji, the same glyph hidden"] = words, "floor,scale,mean_value", "0"
    found = []
    for name, (words, attenuators, draws) in each.items():
        if options.quick:
            attenuators, draws = "scale", "0"
        for task in METRICS:
            folder = options.work / "edits" / f"{name.replace(' ', '_').replace(',', '')}-{task}"
            same = [f"task={task}", *words, f"attenuator={attenuators}", *_small(options)]
            start([*same, *_to(folder / "edit")])
            start([*same, "control=random", f"control.seed={draws}", *_to(folder / "random")])
            found += [{"data": name} | row for row in _rows(folder)]
    return pd.DataFrame(found)


def _real(options: argparse.Namespace) -> list[str]:
    weights = f"backbone.checkpoint={quoted(options.checkpoint)}"
    return ["backbone=dinov2_s14", weights, "dataset=imagefolder", "dataset.name=emoji", *TENTH]


def _small(options: argparse.Namespace) -> list[str]:
    return ["dataset.limit=80"] if options.quick else []


def _to(folder: Path) -> list[str]:
    return ["tracker=none", "runtime.report=false", f"hydra.sweep.dir={quoted(folder)}"]


def _prepared(images: Path, work: Path) -> Path:
    """Write which pictures are of one glyph, and return a folder of links, a sub-folder for each vendor."""
    vendors, whole, apart = (work / "vendors").absolute(), [], []
    for path in sorted(path for path in images.resolve().glob("*/*") if path.is_file()):
        glyph, _, vendor = path.stem.rpartition("-")
        link = vendors / vendor / path.parent.name / path.name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(path)
        whole.append((f"{path.parent.name}/{path.name}", glyph))
        apart.append((f"{vendor}/{path.parent.name}/{path.name}", glyph))
    for name, rows in (("glyphs.csv", whole), ("glyphs_of_vendors.csv", apart)):
        with (work / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("id", "group"), *rows])
    return vendors


def _rows(folder: Path) -> Iterator[dict[str, object]]:
    """Yield a row for each job and metric of the runs in a folder."""
    table, damaged, _ = read_table(find_results([folder]), folder)
    if damaged or (table["status"] != "ok").any():
        raise SystemExit(f"{folder}: there are runs that failed, or can't be read: {damaged}")
    table = against_random(table, folder)
    for _, job in table.iterrows():
        same: dict[str, object] = {"images": job["images"], "task": job["kind"]}
        for name in ("attenuator", "control", "corruption", "repair"):
            target = job.get(f"{name}._target_")
            same[name] = (
                None if pd.isna(target) else re.sub(r"(?<=[a-z])(?=[A-Z])", "_", target.rpartition(".")[2]).lower()
            )
        same |= {"seed": job.get("control.seed"), "rate": job.get("corruption.rate")}
        for metric in METRICS[job["kind"]]:
            if all(pd.isna(job.get(f"{side}.{metric}.mean")) for side in ("baseline", "edited")):
                continue  # no calibration where one row votes, no recovery where nothing was lost
            row = same | {"metric": metric}
            row |= {side: job.get(f"{side}.{metric}.mean") for side in ("baseline", "edited", "delta")}
            row |= {end: job.get(f"delta.{metric}.{end}") for end in ("low", "high")}
            row |= {f"against_{end}": job.get(f"{AGAINST}.{metric}.{end}") for end in ("mean", "low", "high")}
            yield row


def draw(rows: pd.DataFrame, path: Path) -> None:
    """Draw the deltas of each edit beside those of random patches, a row of panels for each data set."""
    datas = list(rows["data"].unique())
    figure = Figure(figsize=(9.6, 0.6 + 2.6 * len(datas)), layout="constrained")
    for axes, data in zip(figure.subplots(len(datas), len(SHOWN), squeeze=False, sharey="row"), datas, strict=True):
        for ax, (metric, title) in zip(axes, SHOWN.items(), strict=True):
            some = rows[(rows["data"] == data) & (rows["metric"] == metric)]
            names = list(some["attenuator"].unique())
            for random, colour, label in ((False, COLOURS[0], "the edit"), (True, "0.6", "as many random patches")):
                mine = some[(some["control"] == "random") == random]
                y = [names.index(name) + (0.22 if random else -0.12) for name in mine["attenuator"]]
                reach = [(mine["delta"] - mine["low"]).fillna(0), (mine["high"] - mine["delta"]).fillna(0)]
                ax.errorbar(mine["delta"], y, xerr=reach, fmt="o", color=colour, markersize=4, linewidth=1, label=label)
            ax.axvline(0, color="black", linewidth=0.8, linestyle="--")
            ax.set_yticks(range(len(names)), names, fontsize=8)
            ax.set_title(f"delta of {title}", fontsize=9, loc="left")
            ax.locator_params(axis="x", nbins=5)
            clean(ax)
        axes[0].set_ylabel(data.replace(", ", ",\n"), fontsize=9)
        axes[0].invert_yaxis()
    handles, told = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, told, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    save(figure, path)


if __name__ == "__main__":
    sys.exit(main())
