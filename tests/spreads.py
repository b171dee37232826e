"""Results of a task that is not clustering, written by hand: how wide embeddings are spread, and what tone they have.

None of its names is one of clustering's. ``width`` needs no labels, and lower is better; ``tone`` has seen labels.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SAID = {
    "headline": "width",
    "criterion": "width",
    "table": ["width", "tone"],
    "metrics": {
        "width": {"title": "Width", "better": "lower", "labels": False, "space": "own"},
        "reach": {"title": "reach", "better": "lower", "labels": False, "space": "common"},
        "tone": {"title": "Tone", "better": "higher", "labels": True, "space": None},
    },
    "about": "5 bins",
    "over": "3 draws",
}


def over(mean: float, std: float | None = 0.02) -> dict[str, Any]:
    """Return a metric of three draws, or of one value where there is no `std`."""
    each = [mean] if std is None else [mean - std, mean, mean + std]
    return {"mean": mean, "std": std, "per_seed": each}


def spread_result(width: float = 2.0, tone: float = 0.7, delta: bool = True, draws: int = 3, **more: Any) -> dict:
    """Return a result of a baseline of width 3 and tone .5, with a paired delta or without, of several draws or one."""
    std = 0.02 if draws > 1 else None
    sides = [
        {
            "width": over(one, std),
            "reach": one / 2,
            "tone": over(other, std),
            "bins": [1, 2],
            "how": {"made": "by hand"},
        }
        for one, other in ((3.0, 0.5), (width, tone))
    ]
    change = {"width": over(width - 3.0, std) | {"interval": [width - 3.5, width - 2.5]}, "tone": over(tone - 0.5, std)}
    layers, k = more.pop("layers", "last"), more.pop("k", 5.0)
    settings = {
        "layers": layers, "seed": 0, "backbone": {"model_name": "vit_a", "pool": "cls", "precision": "fp32"},
        "dataset": {"name": "d"}, "task": {"_target_": "somebody.Spread", "bins": more.pop("bins", 5)},
        "detector": {"_target_": "itae.detect.VectorNorm", "vector": "value", "rule": "mad", "k": k},
        "tracker": {}, "clusterer": {"_target_": "itae.cluster.KMeans"}, "runtime": {},
    }  # fmt: skip
    return {
        "status": "ok", "error": None, "selection": "fixed", "kind": "spread", "settings": settings,
        "started": {"overrides": [f"layers={layers}", f"detector.k={k:g}"], "cwd": "/somewhere"}, "versions": {},
        "baseline": sides[0], "edited": sides[1], "delta": change if delta else None,
        "shown": SAID | {"over": f"{draws} draws" if draws > 1 else None},
        "details": [["widest", "of all images: 17"]], "notes": ["Read with care."], "parts": [], "figures": [],
        "captions": {}, "edit": None, "layers": [], "artifact_rate": {"3": 0.01 * k}, "bimodality": None,
        "grid": [2, 2], "images": {"n": 60, "classes": 4}, "cached": True,
        "timing": {"extract_s": 1.0, "images_per_s": None, "task_s": 2.0, "total_s": 3.0, "peak_rss_mb": 500.0},
    } | more  # fmt: skip


def write_results(folder: Path, *results: dict) -> Path:
    """Write results into run folders 0, 1, ... and return the folder."""
    for i, result in enumerate(results):
        (folder / str(i)).mkdir(parents=True)
        (folder / str(i) / "result.json").write_text(json.dumps(result))
    return folder
