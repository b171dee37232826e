"""A whole result of a search, with its pictures, its front and its files beside it."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
from typing import Any

from deploy_results import mean, pictures, result_of
from search_results import DEVICES, known, result

SCRIPT = "# python use_ort.py FOLDER BLURRED.png SHARP.png\nimport onnxruntime\n"


@functools.cache
def _summary(devices) -> dict[str, Any]:
    return result(devices)


def write_files(folder, found) -> None:
    """Write ``front.json`` as a search does, with an export of each network of a front, and what uses them."""
    devices: dict[str, Any] = {}
    for name, of in found["devices"].items():
        exports = {}
        for net in of["front"]:
            place = folder / "nets" / name / net
            place.mkdir(parents=True, exist_ok=True)
            (place / "net.onnx").write_bytes(f"{name} {net}".encode())
            files = {"net.onnx": {"bytes": 12, "sha256": hashlib.sha256((place / "net.onnx").read_bytes()).hexdigest()}}
            exports[net] = {"folder": f"nets/{name}/{net}", "bytes": 12, "files": files}
        devices[name] = dict(of) | {"exports": exports, "use": f"nets/use_{name}.py", "facts": {}}
        (folder / "nets" / f"use_{name}.py").write_text(SCRIPT)
    weights = {net: {"bytes": 94_856, "sha256": "ef" * 32} for net in found["portable"]["nets"]}
    front = {"kind": "portable fronts", **found, "devices": devices, "weights": weights}
    (folder / "front.json").write_text(json.dumps(front))


def whole(folder, devices=DEVICES) -> dict[str, Any]:
    """Return a whole result, and write the files that it names."""
    one, found = result_of(folder), copy.deepcopy(_summary(devices))
    nets, _ = known()
    specs = [{"spec": dict(net.spec), "by_supernet": 28 + i / 10, "by_training": 28.4 + (i // 2) / 5}
             for i, net in enumerate(nets[:12])]  # fmt: skip
    one |= {
        "kind": "search",
        "search": found,
        "quality": {"blurred": one["quality"]["blurred"], "wiener": one["quality"]["wiener"]},
        "training": {"options": {"steps": 30}, "nets": {}, "cpu_s": 30.0},
        "supernet": {"curve": [], "facts": {"networks": 48_384, "parameters": 812_345, "cpu_s": 61.0,
                                            "options": {"steps": 900}, "sandwich": {"middle": 2}}},
        "ranks": {"spearman": 0.91, "low": 0.7, "high": 0.98, "enough": 0.8, "holds": True, "nets": specs},
        "candidates": {"judged": 200, "trials": 260, "repeated": 41, "hopeless": 19, "seconds": 75.5, "read": 0,
                       "judge": "supernet", "failed": 0, "why": None, "file": "candidates.jsonl"},
        "pictures": pictures(folder),
        "pictured": "searched_1",
        "devices": {name: {"runtime": name, "precision": "fp32", "budget_db": 90.0} for name in devices},
        "guidelines": [{"kind": "gain", "text": "On ort the front has more area.", "about": "ort"}],
        "timing": {"pairs_s": 3.0, "predictor_s": 200.0, "learn_s": 90.0, "total_s": 700.0, "peak_rss_mb": 1500.0},
    }  # fmt: skip
    del one["net"], one["rows"]
    write_files(folder, found)
    return one


def lengths() -> list[dict[str, Any]]:
    """Return quality by the length of the blur, where a search tells it."""
    return [{"low": low, "high": low + 3, "pairs": 12, "psnr": mean(30 - low), "gain": mean(2 - low / 10)}
            for low in (2.0, 5.0)]  # fmt: skip
