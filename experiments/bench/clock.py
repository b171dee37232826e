"""Print what a time by our clock is over that of the runtime's own benchmark tool, as ratios in one run.

    python experiments/bench/clock.py                   two networks, five turns of 2 s each
    python experiments/bench/clock.py --turns 10 --seconds 4

By the wall beside OpenVINO's `benchmark_app` (synchronous, one stream, one thread, f32), a process of its own that runs
one network over and over; and by CPU time beside a bare loop of the very call, also with ONNX Runtime, which brings no
tool. All take turns with our rounds, and make as many runs as those did in
their seconds, since the minimum falls with each more; the least times of all turns are compared. Ours are those of a
network alone, and of all of them in one call, between whose runs others empty the caches. Networks are made up: 3 x 3
convolutions with ReLU at 192 x 192.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import nn

from itae.portable.clock.measure import Measure
from itae.portable.clock.reading import Cell
from itae.portable.clock.rounds import readings
from itae.portable.devices import open_vino
from itae.portable.devices.device import InProcess
from itae.portable.devices.onnx_runtime import OnnxRuntime
from itae.portable.devices.open_vino import OpenVino

SIZE = 192
NETS = {"small": (16, 3), "large": (16, 8)}
"""Channels and layers of each."""
DEVICES = (OpenVino(), OnnxRuntime())
TOOL = "from openvino.tools.benchmark.main import main; main()"
AS_OURS = ("-api", "sync", "-hint", "none", "-nstreams", "1", "-nthreads", "1", "-infer_precision", "f32")


def network(channels: int, layers: int) -> nn.Module:
    torch.manual_seed(0)
    widths = [3, *[channels] * (layers - 1)]
    inner = [m for a, b in itertools.pairwise(widths) for m in (nn.Conv2d(a, b, 3, padding=1), nn.ReLU())]
    return nn.Sequential(*inner, nn.Conv2d(channels, 3, 3, padding=1)).eval()


def picture(number: int) -> np.ndarray:
    return np.random.default_rng(number).random((1, 3, SIZE, SIZE), dtype=np.float32)


def by_tool(path: Path, runs: int) -> float:
    """Return the least time in ms that `benchmark_app` tells of so many runs."""
    words = [sys.executable, "-c", TOOL, "-m", str(path), *AS_OURS, "-niter", str(runs)]
    said = subprocess.run(words, capture_output=True, encoding="utf-8", check=True).stdout
    found = re.search(r"Min:\s+([\d.]+) ms", said)
    assert found, said
    return float(found.group(1))


def by_loop(runner: InProcess, runs: int) -> float:
    """Return the least CPU time in ms of a bare loop of so many runs, and one before."""
    of, least = runner.before(picture(0)), float("inf")
    runner.call(of)
    for _ in range(runs):
        began = time.process_time()
        runner.call(of)
        least = min(least, time.process_time() - began)
    return 1000 * least


def by_us(cells: list[Cell], nets: dict[str, nn.Module], seconds: float) -> tuple[list[tuple[float, float]], int]:
    """Return the least wall and CPU times in ms of our rounds in all of these seconds, and how many there were."""

    def expected(name: str, of: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return nets[name](torch.from_numpy(of)).numpy()

    options = Measure(size=SIZE, rounds=2, budget_s=seconds, max_split_half=1e-9)
    found, went = readings(cells, options, picture, expected, lambda _: None)
    assert not any(one.wrong for one in found), found
    return [(one.wall_min_ms, one.cpu_min_ms) for one in found], went["rounds"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="of our rounds, for each network, in each turn")
    args = parser.parse_args()
    torch.set_num_threads(1)
    versions = ", ".join(f"{name} {version(name)}" for name in ("openvino", "onnxruntime"))
    print(f"{versions}, load {os.getloadavg()[0]:.1f}")
    nets = {name: network(*of) for name, of in NETS.items()}
    tool, loop = (defaultdict[tuple[str, str], list[float]](list) for _ in range(2))
    ours, among = (defaultdict[tuple[str, str], list[tuple[float, float]]](list) for _ in range(2))
    with tempfile.TemporaryDirectory() as folder:
        exports = {(name, device.name): Path(folder) / name / device.name for device in DEVICES for name in nets}
        cells = {}
        for device, (name, net) in itertools.product(DEVICES, nets.items()):
            key = (name, device.name)
            exports[key].mkdir(parents=True)
            device.convert(net, (SIZE, SIZE), exports[key], [])
            cells[key] = Cell(*key, device.open(exports[key], 1), 90.0)
        for _ in range(args.turns):
            for key, cell in cells.items():
                least, runs = by_us([cell], nets, args.seconds)
                ours[key] += least
                loop[key].append(by_loop(cell.runner, runs))
                if key[1] == "openvino":
                    tool[key].append(by_tool(exports[key] / open_vino.FILE, runs))
            all_least, _ = by_us([*cells.values()], nets, args.seconds * len(cells))
            for key, one in zip(cells, all_least, strict=True):
                among[key].append(one)
    for key in cells:
        for what, beside, clock in (("benchmark_app, wall", tool[key], 0), ("a bare loop, CPU", loop[key], 1)):
            if beside:
                least, *us = (min(beside), *(min(one[clock] for one in some[key]) for some in (ours, among)))
                told = f"alone {us[0] / least:.3f}, among {len(cells)} {us[1] / least:.3f}"
                times = ", ".join(f"{one:.2f}" for one in (least, *us))
                print(f"{key[1]}, {key[0]}, over {what} (at most 1.02)".ljust(60), f"{told}; ms: {times}", flush=True)


if __name__ == "__main__":
    main()
