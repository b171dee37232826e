"""k-means of vectors that are larger than memory: what it takes of memory beside the map's own pages.

    python experiments/bench/large_kmeans.py                      5,000,000 x 384, 7.7 GB of disk, spherical: 15.4
    python experiments/bench/large_kmeans.py --points 500000      does it run?

The vectors are made up: 100 centres and noise. Each fit is in a process of its own; memory is what that process holds
for itself (RssAnon of /proc), the largest of many looks, without the pages of files, which the system takes back.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

WIDTH, CENTRES = 384, 100
MOST = 2000  # MB


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--points", type=int, default=5_000_000)
    made.add_argument("--k", type=int, default=CENTRES)
    made.add_argument("--iterations", type=int, default=3)
    made.add_argument("--folder", type=Path, help="where the map is made; a temporary one by default")
    made.add_argument("--fit", choices=("kmeans", "spherical_kmeans"), help=argparse.SUPPRESS)
    return made


def write(path: Path, points: int) -> None:
    """Make the map, some rows at a time."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(CENTRES, WIDTH)).astype(np.float32)
    rows = np.lib.format.open_memmap(path, "w+", np.float32, (points, WIDTH))
    for start in range(0, points, 50_000):
        count = min(50_000, points - start)
        rows[start : start + count] = centres[rng.integers(CENTRES, size=count)] + rng.normal(
            0, 0.5, (count, WIDTH)
        ).astype(np.float32)
    rows.flush()


def held() -> float:
    """Return the MB that this process holds for itself."""
    told = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert told is not None
    return int(told[1]) / 1024


def fit(args: argparse.Namespace) -> None:
    """Cluster the map in this process, and print what that took."""
    from itae.measure.cluster.kmeans import KMeans
    from itae.measure.faiss_backend import load_faiss

    load_faiss()
    vectors = np.load(args.folder / "vectors.npy", mmap_mode="r")
    before, most, done = held(), [0.0], threading.Event()

    def look() -> None:
        while not done.wait(0.05):
            most[0] = max(most[0], held())

    looking = threading.Thread(target=look)
    looking.start()
    began = time.perf_counter()
    clusterer = KMeans(restarts=1, iterations=args.iterations, spherical=args.fit == "spherical_kmeans")
    found = clusterer.fit(vectors, args.k, 0, "cpu")
    seconds = time.perf_counter() - began
    done.set()
    looking.join()
    print(f"{most[0] - before:.0f} {seconds:.0f} {found.clusters}")


def main() -> int:
    args = parser().parse_args()
    if args.fit:
        fit(args)
        return 0
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = Path(folder) / "vectors.npy"
        write(path, args.points)
        for name in ("kmeans", "spherical_kmeans"):
            words = [sys.executable, __file__, "--folder", folder, "--fit", name, "--k", str(args.k)]
            done = subprocess.run([*words, "--iterations", str(args.iterations)], check=True, capture_output=True,
                                  encoding="utf-8")  # fmt: skip
            most, seconds, clusters = map(int, done.stdout.split())
            print(
                f"{name}, {args.points:,} x {WIDTH} ({path.stat().st_size / 1e9:.1f} GB), k = {args.k}, one start, at "
                f"most {args.iterations} iterations: {most:,} MB beside the map's pages (at most {MOST:,}), {seconds} "
                f"s, {clusters} clusters",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
