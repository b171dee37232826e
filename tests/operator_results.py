"""Results of a study of operators as they would be, of times that a test gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from itae.portable.cells.ratio import ratio_of
from itae.portable.operators.correlations import correlations
from itae.portable.operators.guidelines import guidelines

NAMES = ("base", "up_nearest", "skip_add", "prelu", "gelu", "depthwise", "kernel_5")
GMAC = (1.66, 1.62, 1.40, 1.66, 1.66, 0.42, 4.23)
# Of the notes, 2.2: what one operator costs depends on the runtime.
TIMES = {
    "torch": (35.1, 32.5, 30.7, 36.3, 35.7, 23.7, 68.1),
    "openvino": (26.9, 25.1, 21.5, 46.2, 27.7, 12.1, 58.8),
    "openvino_int8": (5.9, 5.8, 5.2, 10.6, 10.4, 6.8, 8.3),
    "ncnn": (39.6, 35.0, 28.5, 36.0, 38.5, 21.5, 181.6),
}


def cell(ms: float | None, split_half: float = 0.01, steady: bool = True, wrong: str | None = None) -> dict[str, Any]:
    if ms is None:
        return {"reason": "gelu: the operator Erf isn't supported"}
    return {
        "ms": ms, "rounds": 12, "statistic": "cpu_min", "p50_ms": 1.1 * ms, "p95_ms": 1.5 * ms, "wall_min_ms": ms,
        "cpu_min_ms": ms, "split_half": split_half, "steady": steady, "first_ms": 3 * ms, "parity_db": 132.4,
        "wrong": wrong, "fallbacks": [], "convert_s": 0.5, "checked_db": 133.0,
    }  # fmt: skip


def result_of(
    times: Mapping[str, Sequence[float | None]] = TIMES,
    gmac: Sequence[float] = GMAC,
    split_half: float = 0.01,
    width: float = 0.02,
    unsteady: Sequence[tuple[str, str]] = (),
    wrong: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """Return a whole result; `width` is how far the clock's interval reaches on each side of a ratio."""
    rows: list[dict[str, Any]] = []
    for i, macs in enumerate(gmac):
        name = NAMES[i] if i < len(NAMES) else f"change_{i}"
        cells = {}
        for device, column in times.items():
            bad = "it is a stale one" if (name, device) in wrong else None
            cells[device] = cell(column[i], split_half, (name, device) not in unsteady and bad is None, bad)
        rows.append({"name": name, "told": name.replace("_", ": ", 1), "settings": {"class": "UNet"},
                     "macs": int(macs * 1e9), "parameters": 460_000, "cells": cells})  # fmt: skip
    for row in rows[::-1]:
        for device, one in row["cells"].items():
            base = rows[0]["cells"][device]
            if row is rows[0] and "ms" in one:
                one |= {"ratio": 1.0, "low": None, "high": None, "noise": None}
            elif "ms" in one and "ms" in base:
                ratio = one["ms"] / base["ms"]
                one |= ratio_of(one, base, (ratio, ratio * (1 - width), ratio * (1 + width)))
    found: dict[str, Any] = {
        "status": "ok", "error": None, "kind": "operators",
        "started": {"at": "2026-11-30 04:00:00 +0000", "cwd": "/home/ada", "overrides": ["experiment=operators"],
                    "config_dir": None},
        "versions": {"python": "3.12.3", "torch": "2.14.1"},
        "settings": {"study": "operators", "net": {"_target_": "itae.deblur.UNet"}, "tracker": {}},
        "net": {"name": "unet", "settings": {"class": "UNet"}},
        "base": "base", "size": [192, 192], "threads": 1, "statistic": "minimum of CPU time",
        "devices": {name: {"runtime": name, "version": "1.2", "precision": "fp32", "emulated": False, "budget_db": 90.0}
                    for name in times},
        "not_run": {"litert": "litert needs litert_torch; pip install litert-torch", "mnn": "not asked for"},
        "rows": rows,
        "clock": {"rounds": 12, "seconds": 200.4, "ended": "steady", "machine": {"cpu": "A CPU", "flags": ["avx2"]},
                  "before": {"load_1_5_15": [0.5, 0.4, 0.3]}, "after": {"load_1_5_15": [1.5, 0.9, 0.5]},
                  "others_cpus": 0.25},
        "notes": ["openvino_bf16: bf16 is emulated here, so its times say nothing of hardware that has it."],
        "timing": {"export_s": 60.0, "measure_s": 200.4, "total_s": 260.4, "peak_rss_mb": 900.0},
        "figures": [], "captions": {},
    }  # fmt: skip
    found["correlations"] = correlations(found)
    found["guidelines"] = guidelines(found)
    return found
