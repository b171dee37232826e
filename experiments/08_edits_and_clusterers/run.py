"""Edits and clusterers, each with each, on the same images: what an edit gives a clusterer, beside its controls.

    python experiments/08_edits_and_clusterers/run.py                                     the planted digits alone
    python experiments/08_edits_and_clusterers/run.py --checkpoint WEIGHTS.safetensors --images PICTURES
    python experiments/08_edits_and_clusterers/run.py --quick                             does it run?
    python experiments/08_edits_and_clusterers/run.py --draw                              the figure again

Every edit is one recipe and every clusterer its defaults, so one setting of each is tried. Clusterers that train have
one seed and a few edits, or all edits with --all, for who has a GPU. It writes ``results.csv`` (a row for each edit,
clusterer and data set), ``clusterers.csv`` (each clusterer against k-means on the untouched embeddings), ``cost.csv``
(what an edit costs a pass) and ``figure.png``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from cost import costs_of  # noqa: E402
from edits_figure import draw  # noqa: E402
from run import options_of, quoted, start  # noqa: E402

from itae.measure.intervals import image_values  # noqa: E402
from itae.results.clusterings import read_clusterings  # noqa: E402
from itae.results.find import find_results  # noqa: E402
from itae.results.run import Run, mean_artifact_rate, read_run  # noqa: E402

CLUSTERERS = ("kmeans", "spherical_kmeans", "gmm", "agglomerative", "spectral", "hdbscan")
TRAINED = ("turtle", "temi")
"""Minutes a fit on a CPU: one seed each, and without ``--all`` under `FEW` edits alone."""
RECIPES = (
    *("paper", "value_norm", "label_free", "neighbours_lof", "neighbours_singular", "registers"),
    *("augment", "augment_10"),
)
FEW = ("label_free", "augment")
CONTROLS = ("random", "shuffle", "mean_value")
"""Of ``recipe=label_free``."""
UNTOUCHED, CLEAN = "untouched", "digits"
"""No edit; and what has no artifacts, so that there is nothing to edit: it is clustered alone."""
METRICS = ("acc", "nmi", "ari")


def main(argv: Sequence[str] | None = None) -> int:
    options = options_of(__doc__, "08_edits_and_clusterers", argv, {"--all": "trained clusterers under every edit"})
    out = options.out or (options.work if options.quick else HERE)
    if not options.draw:
        out.mkdir(parents=True, exist_ok=True)
        runs, costs = [], []
        for data, words in sources(options).items():
            runs += sweep(options, data, words)
            if data != CLEAN:
                recipes = ("value_norm",) if options.quick else RECIPES
                told = [*words, f"paths.cache={quoted(options.work / 'cache')}"]
                costs += costs_of(data, told, recipes, options.quick)
        rows = pd.DataFrame([row(data, run) for data, run in runs])
        rows.round(4).to_csv(out / "results.csv", index=False)
        pd.DataFrame(against_kmeans(runs)).round(4).to_csv(out / "clusterers.csv", index=False)
        pd.DataFrame(costs).round(3).to_csv(out / "cost.csv", index=False)
    draw(pd.read_csv(out / "results.csv"), out / "figure.png")
    print(f"{out}: results.csv, clusterers.csv, cost.csv, figure.png")
    return 0


def sources(options: Any) -> dict[str, list[str]]:
    """Return the words of each model and its images."""
    made = {
        CLEAN: ["backbone=digits_vit", "dataset=digits"],
        "planted digits": ["backbone=digits_vit_artifacts", "dataset=digits"],
    }
    if options.checkpoint:
        made["emoji, DINOv2-S"] = [
            *("backbone=dinov2_s14", f"backbone.checkpoint={quoted(options.checkpoint)}"),
            *("backbone.image_size=112", "dataset=imagefolder", f"dataset.root={quoted(options.images)}"),
        ]
    return made


def sweep(options: Any, data: str, words: Sequence[str]) -> list[tuple[str, Run]]:
    """Run each edit with each clusterer, and the controls; return the runs."""
    folders = []
    for name, axes in sweeps(options.quick, options.all).items():
        if data == CLEAN and UNTOUCHED not in name:
            continue
        folder = options.work / f"{data.partition(',')[0].replace(' ', '_')}-{name}"
        told = [*words, *axes, "tracker=none", "runtime.report=false"]
        start([*told, f"paths.cache={quoted(options.work / 'cache')}", f"hydra.sweep.dir={quoted(folder)}"])
        folders.append(folder)
    return [(data, read_run(file)) for file in find_results(folders)]


def sweeps(quick: bool, every: bool) -> dict[str, list[str]]:
    """Return the words of each sweep."""
    if quick:
        small = ["dataset.limit=60", "clusterer.k=5", "clusterer=kmeans,agglomerative"]
        return {"edits": ["recipe=value_norm,augment", *small], UNTOUCHED: ["detector=none", *small]}
    plain, trained = f"clusterer={','.join(CLUSTERERS)}", [f"clusterer={','.join(TRAINED)}", "clusterer.seeds=1"]
    return {
        "edits": [f"recipe={','.join(RECIPES)}", plain],
        "controls": ["recipe=label_free", f"control={','.join(CONTROLS)}", plain],
        "controls_of_repairs": ["recipe=neighbours_lof,neighbours_singular", "control=random", plain],
        UNTOUCHED: ["detector=none", plain],
        "trained": [f"recipe={','.join(RECIPES if every else FEW)}", *trained],
        "trained_untouched": ["detector=none", *trained],
    }


def chosen(run: Run) -> tuple[str, str]:
    """Return the edit and the clusterer of a job, by the words that tell it from the others."""
    words = yaml.safe_load((run.folder / ".hydra" / "overrides.yaml").read_text(encoding="utf-8"))
    told = dict(word.split("=", 1) for word in words)
    edit = told.get("recipe", UNTOUCHED)
    return f"{edit}, {told['control']}" if "control" in told else edit, told["clusterer"]


def row(data: str, run: Run) -> dict[str, Any]:
    """Return the line of one run: both sides, and the difference with its interval."""
    result = run.result
    edit, clusterer = chosen(run)
    made = {
        "data": data,
        "edit": edit,
        "clusterer": clusterer,
        "images": result["baseline"]["n"],
        "k": result["edited"]["k"],
        "fits": max(1, len(result["edited"]["seeds"])),
        "settings_tried": 1,
        "selection": result["selection"],
        "flagged": mean_artifact_rate(result),
        "cluster_s": result["timing"]["cluster_s"],
    }
    for metric in METRICS:
        for side in ("baseline", "edited", "delta"):
            made[f"{side}_{metric}"] = result[side][metric]["mean"]
        made[f"edited_{metric}_std"] = result["edited"][metric]["std"]
        low, high = result["delta"][metric].get("interval") or (None, None)
        made |= {f"delta_{metric}_low": low, f"delta_{metric}_high": high}
    for name in ("noise_share", "acc_clustered", "clusters"):
        made[name] = (result["edited"].get(name) or {}).get("mean")
    return made


def against_kmeans(runs: Sequence[tuple[str, Run]]) -> Iterator[dict[str, Any]]:
    """Yield, for each data set and clusterer, its scores of the untouched embeddings and what they are above k-means'.

    Both cluster the same images, so an image's values are paired; seeds aren't, and each side adds what its own vary.
    """
    plain = {(data, chosen(run)[1]): run for data, run in runs if chosen(run)[0] == UNTOUCHED}
    values = {key: _values(run) for key, run in plain.items()}
    for (data, clusterer), mine in values.items():
        line = {
            "data": data,
            "clusterer": clusterer,
            "seconds_a_side": plain[data, clusterer].result["timing"]["cluster_s"],
        }
        for metric in ("acc", "nmi"):
            low, high = _between(mine[metric], values[data, "kmeans"][metric])
            line |= {metric: mine[metric].mean(), f"{metric}_over_kmeans_low": low, f"{metric}_over_kmeans_high": high}
        yield line


def _values(run: Run) -> dict[str, np.ndarray]:
    told = read_clusterings(run)
    return image_values(told.labels, told.assignments, None)


def _between(mine_SN: np.ndarray, theirs_TN: np.ndarray) -> tuple[float, float]:
    """Return the normal 95 % interval of the difference of means, over images (paired) and seeds (of each side)."""
    apart_N = mine_SN.mean(axis=0) - theirs_TN.mean(axis=0)
    variance = apart_N.var(ddof=1) / len(apart_N)
    for side in (mine_SN, theirs_TN):
        variance += side.mean(axis=1).var(ddof=1) / len(side) if len(side) > 1 else 0.0
    reach = 1.96 * float(np.sqrt(variance))
    return float(apart_N.mean()) - reach, float(apart_N.mean()) + reach


if __name__ == "__main__":
    sys.exit(main())
