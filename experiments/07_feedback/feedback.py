"""What rules of feedback make of ten and of thirty judged images: simulated users, every rule, wrong clicks.

    python experiments/07_feedback/feedback.py                  digits, pairs of digits, digits under conditions
    python experiments/07_feedback/feedback.py --checkpoint WEIGHTS.safetensors --images PICTURES      pictures, too
    python experiments/07_feedback/feedback.py --quick          does it run? few searches
    python experiments/07_feedback/feedback.py --draw           the figure again, from feedback.csv

PICTURES are a sub-folder a class, each file called NAME-VENDOR.png. feedback.csv comes out, a row for each rule, number
of judged images, noise and side; zero_positive.csv, of searches whose first page has nothing that is wanted; a figure.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))

from drawing import save  # noqa: E402
from run import options_of, quoted, start  # noqa: E402

from itae.look.figures import COLOURS, clean  # noqa: E402
from itae.results.find import find_results  # noqa: E402

NOISE, ALL = "0,0.05,0.2", "task.queries=null"
UNTOUCHED = ["layers=none", "backbone=digits_vit", "dataset.split=test"]
PLANTED = ["backbone=digits_vit_artifacts", "layers=all", "attenuator=scale", "detector.rule=mad", "detector.k=5",
           "detector.side=high", "dataset.split=test"]  # fmt: skip
SETTINGS = {
    "digits": [*UNTOUCHED, "dataset=digits", "user=category"],
    "planted digits": [*PLANTED, "dataset=digits", "user=category"],
    "pairs, one label": [*UNTOUCHED, "dataset=digit_pairs", "user=one_label"],
    "pairs, same left, other right": [
        *UNTOUCHED, "dataset=digit_pairs", "user=conditioned", "user.same=left", "user.attribute=right",
    ],
    **{
        f"digits, other {name}": [
            *UNTOUCHED, "dataset=digits_conditions", f"dataset.condition={name}", "user=conditioned",
            f"user.attribute={name}", "task.queries=400",
        ]
        for name in ("polarity", "colour", "rotation")
    },
}  # fmt: skip
"""What is searched, and by whom; no image of these is one by which the rule of ours was chosen."""
PICTURES = {"emoji": "user=category", "emoji, other vendor": "user=other_vendor"}
"""The same of pictures, half of whose classes it was chosen by."""
TOLD = ("r_at_1", "map_at_r", "gain", "harm_rate")
SHOWN = ("none", "nearest", "nearest_yes", "mean_difference", "kernel", "kernel_mean", "svm", "tally")


def main(argv: Sequence[str] | None = None) -> int:
    options = options_of(__doc__, "07_feedback", argv)
    out = options.out or (options.work if options.quick else HERE)
    if not options.draw:
        out.mkdir(parents=True, exist_ok=True)
        runs = list(_runs(options))
        for name, rows in (("feedback", _rules), ("zero_positive", _zero)):
            table = pd.DataFrame([row for data, run in runs for row in rows(data, run)])
            table.round(4).to_csv(out / f"{name}.csv", index=False)
    draw(pd.read_csv(out / "feedback.csv"), out / "feedback.png")
    print(f"{out}: feedback.csv, zero_positive.csv, feedback.png")
    return 0


def settings(options: argparse.Namespace) -> dict[str, list[str]]:
    """Return the words of each setting."""
    found = dict(SETTINGS)
    if options.images:
        attributes = _attributes(Path(options.images), options.work)
        same = ["layers=none", "backbone=dinov2_s14", f"backbone.checkpoint={quoted(options.checkpoint)}",
                "dataset=imagefolder", "dataset.name=emoji", f"dataset.root={quoted(options.images)}",
                f"task.attributes={quoted(attributes)}"]  # fmt: skip
        found |= {name: [*same, user] for name, user in PICTURES.items()}
    return found


def _runs(options: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    """Run all settings, and yield the result of each job."""
    for name, words in settings(options).items():
        folder = options.work / name.replace(",", "").replace(" ", "_")
        small = ["task.queries=40", "dataset.limit=200"] if options.quick else []
        start(["task=feedback", "feedback=tally", "task.judged=[10,30]", f"user.noise={NOISE}", ALL, *words, *small,
               "tracker=none", "runtime.report=false", f"hydra.sweep.dir={quoted(folder)}"])  # fmt: skip
        for file in find_results([folder]):
            yield name, json.loads(file.read_text(encoding="utf-8"))


def _rules(data: str, run: dict[str, Any]) -> Iterator[dict[str, Any]]:
    found = run["feedback"]
    for side in _sides(run):
        for case in found["rules"][side]:
            row = {"data": data, "noise": run["settings"]["user"]["noise"], "side": side, "judged": case["judged"],
                   "rule": case["rule"], "searches": found["searches"], "scored": case["scored"]}  # fmt: skip
            for name in TOLD:
                low, high = case[name]["interval"] or (None, None)
                row |= {name: case[name]["mean"], f"{name}_low": low, f"{name}_high": high}
            yield row


def _zero(data: str, run: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for side in _sides(run):
        for page in run["feedback"]["zero_positive"][side]:
            yield {"data": data, "noise": run["settings"]["user"]["noise"], "side": side} | page


def _sides(run: dict[str, Any]) -> tuple[str, ...]:
    return ("baseline",) if run["settings"]["layers"] == "none" else ("baseline", "edited")


def _attributes(images: Path, work: Path) -> Path:
    """Write who has drawn which picture, by the names of the files."""
    work.mkdir(parents=True, exist_ok=True)
    rows = [(f"{path.parent.name}/{path.name}", path.stem.rpartition("-")[2]) for path in sorted(images.glob("*/*"))]
    with (work / "vendors.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("id", "vendor"), *rows])
    return work / "vendors.csv"


def told(rows: pd.DataFrame, datas: Sequence[str], noise: float = 0.0) -> str:
    """Return a table for the README: R@1 and MAP@R of what is left, with half the width of their 95 % intervals."""
    rows = rows[(rows["noise"] == noise) & rows["data"].isin(datas) & (rows["side"] == "baseline")]
    rows = rows[~rows["rule"].str.startswith("tally,")]
    cases = [(data, judged) for data in datas for judged in sorted(rows["judged"].unique())]
    lines = [
        "| rule | " + " | ".join(f"{data}, {judged}" for data, judged in cases) + " |",
        "|---|" + "---|" * len(cases),
    ]
    for rule in sorted(rows["rule"].unique(), key=_place):
        some = rows[rows["rule"] == rule].set_index(["data", "judged"])
        lines.append(f"| {rule} | " + " | ".join(_cell(some.loc[case]) for case in cases) + " |")
    return "\n".join(lines)


def _place(rule: str) -> int:
    names = ("none", "nearest", "nearest_yes", "margin", "rocchio", "mean_difference", "kernel", "kernel_mean",
             "logistic", "svm", "tally")  # fmt: skip
    return names.index(rule) if rule in names else len(names)


def _cell(row: pd.Series) -> str:
    parts = []
    for name in ("r_at_1", "map_at_r"):
        half = (row[f"{name}_high"] - row[f"{name}_low"]) / 2
        parts.append(f"{row[name]:.3f} ± {half:.3f}".replace("0.", "."))
    return " / ".join(parts)


def draw(rows: pd.DataFrame, path: Path) -> None:
    """Draw MAP@R of each rule with its interval, at ten and at thirty judged, a panel for each setting."""
    rows = rows[(rows["noise"] == 0) & rows["rule"].isin(SHOWN)]
    rows = rows.assign(data=rows["data"] + rows["side"].map({"baseline": "", "edited": ", edited"}))
    datas = list(dict.fromkeys(rows["data"]))
    figure = Figure(figsize=(10, 0.5 + 1.75 * -(-len(datas) // 3)), layout="constrained")
    axes = figure.subplots(-(-len(datas) // 3), 3, squeeze=False).ravel()
    for ax, data in zip(axes, datas, strict=False):
        for (page, some), colour, shift in zip(rows[rows["data"] == data].groupby("judged"), COLOURS, (0.16, -0.16),
                                               strict=False):  # fmt: skip
            some = some.set_index("rule").reindex(SHOWN)
            y = [len(SHOWN) - i + shift for i in range(len(SHOWN))]
            reach = [some["map_at_r"] - some["map_at_r_low"], some["map_at_r_high"] - some["map_at_r"]]
            ax.errorbar(some["map_at_r"], y, xerr=reach, fmt="o", color=colour, markersize=3.5, linewidth=1,
                        label=f"{page} judged")  # fmt: skip
        ax.set_yticks(range(len(SHOWN), 0, -1), [name.replace("_", " ") for name in SHOWN], fontsize=7)
        ax.set_title(data, fontsize=8.5, loc="left")
        ax.set_xlim(left=0)
        clean(ax)
    for ax in axes[len(datas) :]:
        ax.axis("off")
    axes[0].legend(fontsize=7, frameon=False)
    figure.supxlabel("MAP@R of what is left, with 95 % intervals over searches", fontsize=9)
    save(figure, path)


if __name__ == "__main__":
    sys.exit(main())
