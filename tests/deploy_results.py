"""What training and converting one network might come to, with pictures beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
from operator_results import cell
from PIL import Image

GAINS = {"torch": 1.61, "ort": 1.61, "openvino_int8": 1.52, "ncnn": None, "litert": -0.4}
WHY = {
    "openvino_int8": ("warned", "openvino_int8 restores unet with a parity of 44.1 dB, and at least 50 are needed."),
    "ncnn": ("refused", "ncnn has no operator Erf (node 7)."),
    "litert": ("refused", "litert restores unet to 27.30 dB, below the blurred input's 27.70."),
}
_CREDIT = "Ada, CC0-1.0 (https://creativecommons.org/publicdomain/zero/1.0/), cropped"


def mean(value: float, far: float = 0.25) -> dict[str, float]:
    return {"mean": value, "low": value - far, "high": value + far}


def quality(gain: float | None, verdict: str = "kept", why: str | None = None) -> dict[str, Any]:
    of = {"verdict": verdict, "why": why, "parity_db": 44.1 if verdict == "warned" else 132.0, "budget_db": 100.0}
    if gain is None:
        return of | dict.fromkeys(("parity_db", "budget_db", "psnr", "ssim", "gain_db", "drop_db"))
    return of | {"psnr": mean(27.7 + gain), "ssim": mean(0.8, 0.02), "gain_db": mean(gain),
                 "drop_db": mean(1.61 - gain, 0.01)}  # fmt: skip


def pictures(folder, names=("fig", "wine"), side=48):
    """Write pictures of photographs into a run's folder, and return what a result says of them."""
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    told = []
    for i, name in enumerate(names):
        files = {what: f"pictures/{i}_{what}.png" for what in ("blurred", "sharp", "restored", "psf")}
        for what, file in files.items():
            values = rng.integers(0, 256, (9 if what == "psf" else side,) * 2 + (3,), np.uint8)
            Image.fromarray(values).save(folder / file)
        told.append({"photograph": name, "blur_px": 5.25, "files": files, "device": "torch"})
    return told


def result_of(folder, **more) -> dict[str, Any]:
    """Return a whole result, and write the pictures that it names."""
    devices = {
        name: {"runtime": name, "version": "1.2", "precision": "fp32", "budget_db": 90.0,
               "quality": quality(gain, *WHY.get(name, ("kept", None)))}
        for name, gain in GAINS.items()
    }  # fmt: skip
    cells = {name: cell(10.5 + i, steady=name != "ort") | {"bytes": 94_856} for i, name in enumerate(list(GAINS)[:3])}
    photograph = {"name": "fig", "sha256": "ab" * 32, "credit": _CREDIT, "pairs": 12}
    split = {name: [photograph | {"name": f"{name} {i}"} for i in range(2)] for name in ("train", "validation", "test")}
    lengths = [{"low": low, "high": low + 3, "pairs": 12, "psnr": mean(30 - low), "gain": mean(1.9 - low / 10)}
               for low in (2.0, 5.0)]  # fmt: skip
    floor, ceiling = {"psnr": mean(27.7), "ssim": mean(0.75, 0.02)}, {"psnr": mean(29.9), "ssim": mean(0.83, 0.02)}
    return {
        "status": "ok", "error": None, "kind": "deploy",
        "started": {"at": "2026-11-30 04:00:00 +0000", "cwd": "/home/ada", "overrides": ["net.channels=8"],
                    "config_dir": None},
        "versions": {"python": "3.12.3", "torch": "2.14.1"},
        "settings": {"study": "deploy", "net": {"_target_": "itae.deblur.UNet"}},
        "net": {"name": "unet", "net": {"class": "UNet", "channels": 8}, "lineage": [{"step": "swap", "up": "nearest"}],
                "weights": {"file": "net.safetensors", "sha256": "cd" * 32}},
        "data": {"source": {"class": "itae.deblur.Shipped"}, "blur": {"class": "itae.deblur.Shake", "length": [2, 12]},
                 "noise": {"class": "itae.deblur.PoissonGaussian", "sigma": 0.002}, "pairs": {"size": 48}, "seed": 0,
                 "photographs": split, "blurred_psnr": dict.fromkeys(split, 27.7)},
        "training": {"curve": [{"step": 10 * i, "seconds": 1.5 * i, "loss": None, "validation_psnr": 27 + i / 2}
                               for i in range(4)],
                     "options": {"steps": 30, "lr": 0.001}, "taught": False, "blurred_psnr": 27.2, "best_psnr": 28.5,
                     "cpu_s": 4.5},
        "quality": {"blurred": floor, "wiener": ceiling | {"gain_db": mean(2.2)},
                    "torch": quality(1.61), "by_length": lengths},
        "pictures": pictures(folder),
        "size": [48, 48], "threads": 1, "statistic": "minimum of CPU time", "devices": devices,
        "not_run": {"mnn": "mnn needs MNN; pip install MNN", "executorch": "not asked for"},
        "rows": [{"name": "unet", "told": "unet", "macs": 21_500_000, "parameters": 23_276, "cells": cells}],
        "clock": {"rounds": 12, "ended": "steady", "machine": {"cpu": "A CPU"}, "others_cpus": 0.25},
        "notes": ["The blur is made, not found: numbers on it don't compare with those on real photographs."],
        "timing": {"export_s": 1.5, "measure_s": 9.0, "pairs_s": 3.0, "train_s": 6.5, "judge_s": 4.0, "total_s": 24.0,
                   "peak_rss_mb": 1226.0},
        "figures": [], "captions": {}, **more,
    }  # fmt: skip


def drawn(result, figures, folder, save):
    """Draw the figures of a result into its folder, and return it with what they are called."""
    paths = [path for name, (_, draw) in figures.items() for path in save(draw(result), folder / "figures", name)]
    captions = {name: caption for name, (caption, _) in figures.items()}
    return result | {"figures": [f"figures/{path.name}" for path in paths], "captions": captions}
