"""Print what memory `agglomerative` and `hdbscan` take as points grow, each fit in a process of its own.

    python experiments/bench/clusterers_memory.py                 about half an hour on 2 busy cores
    python experiments/bench/clusterers_memory.py hdbscan --points 2000 4000

Points are made up: a hundred clusters on a sheet of 48 dimensions in 384, as embeddings have them. What is printed is
the peak over what the process held with the points and the libraries in it, after a fit of 200 points; memory that is
linear in the points has a ratio of 2 from line to line, memory of all pairs one of 4.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from itae.base.memory import peak_rss_mb
from itae.measure.cluster.clusterers import Agglomerative, Hdbscan

WIDTH, CLUSTERS, SHEET = 384, 100, 48
POINTS = (12_500, 25_000, 50_000)
CLUSTERERS = {"agglomerative": (Agglomerative(), CLUSTERS), "hdbscan": (Hdbscan(), None)}


def points(n: int, step: int = 5000) -> np.ndarray:
    """Return float32 [n, WIDTH]; block by block, so that making them is not what peaks."""
    draw = np.random.default_rng(0)
    sheet = draw.normal(size=(SHEET, WIDTH)).astype(np.float32) / SHEET**0.5
    centres = draw.normal(size=(CLUSTERS, SHEET)).astype(np.float32)
    made = np.empty((n, WIDTH), np.float32)
    for start in range(0, n, step):
        some = centres[draw.integers(0, CLUSTERS, len(made[start : start + step]))]
        latent = some + 0.5 * draw.normal(size=some.shape).astype(np.float32)
        made[start : start + step] = latent @ sheet + 0.2 * draw.normal(size=(len(some), WIDTH)).astype(np.float32)
    return made


def held_mb() -> float:
    """Return the memory that this process holds now, in MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 1e6


def one(name: str, n: int) -> None:
    """Fit in this process, and print what it took as JSON."""
    clusterer, k = CLUSTERERS[name]
    clusterer.fit(points(200), k, None, "cpu")
    made = points(n)
    base, began = held_mb(), time.process_time()
    found = clusterer.fit(made, k, None, "cpu")
    took = {"seconds": time.process_time() - began, "mb": peak_rss_mb() - base, "base": base}
    print(json.dumps(took | {"clusters": found.clusters, "noise": found.noise_share}))


def main() -> None:
    """Run each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clusterers", nargs="*", choices=[*CLUSTERERS, []])
    parser.add_argument("--points", type=int, nargs="+", default=POINTS)
    parser.add_argument("--out", type=Path, help="a file that lines are added to")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        one(args.clusterers[0], args.one)
        return
    for name in args.clusterers or CLUSTERERS:
        before = None
        for n in args.points:
            words = [sys.executable, __file__, name, "--one", str(n)]
            took = json.loads(subprocess.run(words, check=True, capture_output=True, encoding="utf-8").stdout)
            ratio = f", {took['mb'] / before:.2f} times the line above" if before else ""
            line = (
                f"{name:14} {n:7,} x {WIDTH}: {took['mb']:6.0f} MB over a base of {took['base']:.0f} MB{ratio}; "
                f"{took['seconds']:.0f} CPU s, {took['clusters']} clusters, {took['noise']:.1%} noise"
            )
            before = took["mb"]
            print(line, flush=True)
            if args.out:
                with args.out.open("a", encoding="utf-8") as file:
                    file.write(line + "\n")


if __name__ == "__main__":
    main()
