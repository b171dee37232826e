"""Print what itae costs on a GPU, as ratios against bare torch, and FAISS's k-means on it against the CPU.

    python experiments/bench/gpu.py --out results_gpu.txt       on a GPU, some five minutes; `make gpu` tests it first
    python experiments/bench/gpu.py --device cpu --quick        the script itself, on anything: its numbers mean nothing

Nothing is downloaded: weights are random, pictures are made up. Each pair is measured in turns in one process.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from run import in_turns, ratio
from safetensors.torch import save_file

import itae
from itae.base.device import forward_context
from itae.base.runtime import Runtime
from itae.edits.attenuate import Fade, Floor, MeanValue, Scale
from itae.edits.detect import VectorNorm
from itae.edits.edit import Edit
from itae.embed.extract import extract
from itae.embed.source import Source
from itae.embed.worker import Worker
from itae.images.batches import batches
from itae.images.datasets import ImageFolder
from itae.measure.cluster.kmeans import KMeans
from itae.measure.faiss_backend import load_faiss, pick_gpu
from itae.store.store import Store
from itae.vit.backbone import Backbone

VERSIONS = ("itae", "torch", "timm", "numpy", "faiss-gpu", "faiss-gpu-cu12", "faiss-cpu", "pillow", "ray")


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    models: dict[str, str]
    image_size: int = 224
    batch: int = 256
    batches: int = 12
    rounds: int = 3
    jpegs: int = 8192
    jpeg_size: tuple[int, int] = (500, 375)
    points: int = 1_000_000
    width: int = 768
    clusters: int = 1000


FULL = Sizes({"DINOv2 S": "vit_small_patch14_dinov2", "DINOv2 L": "vit_large_patch14_dinov2"})
QUICK = Sizes({"ViT-Ti": "vit_tiny_patch16_224"}, 32, 4, 2, 1, 16, (40, 30), 2000, 16, 5)


class Bench:
    """What the parts share: a device, sizes, a folder of JPEGs, and where lines go."""

    def __init__(self, device: str, sizes: Sizes, scratch: Path, out: Path | None) -> None:
        self.device, self.sizes, self.scratch, self.out = torch.device(device), sizes, scratch, out
        self.lines: list[str] = []
        self.bare: dict[str, float] = {}  # images/s, by model
        self._fresh = iter(range(10**6))

    def say(self, what: str, value: str) -> None:
        """Print a line, and write all so far: what is measured isn't lost with what comes after."""
        self.lines.append(f"{what:84} {value}")
        print(self.lines[-1], flush=True)
        if self.out is not None:
            self.out.write_text("\n".join(self.lines) + "\n", encoding="utf-8")

    def source(self, model: str) -> Source:
        """Return the JPEGs seen through a model of random weights, with a store of its own."""
        weights = self.scratch / f"{model}.safetensors"
        if not weights.exists():
            made = timm.create_model(model, img_size=self.sizes.image_size)
            save_file({name: value.contiguous() for name, value in made.state_dict().items()}, weights)
        backbone = Backbone(model, checkpoint=str(weights), image_size=self.sizes.image_size, precision="bf16")
        dataset = ImageFolder(root=str(self._jpegs()))
        return Source.open(dataset, backbone, Store(self.scratch / f"cache{next(self._fresh)}"))

    def _jpegs(self) -> Path:
        folder = self.scratch / "jpegs"
        if not folder.exists():
            draw = np.random.default_rng(0)
            for i in range(10):
                (folder / f"class{i}").mkdir(parents=True)
            some = min(512, self.sizes.jpegs)
            noise = [draw.integers(0, 255, (24, 32, 3), dtype=np.uint8) for _ in range(some)]
            paths = [folder / f"class{i % 10}" / f"{i:06d}.jpg" for i in range(self.sizes.jpegs)]
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                list(pool.map(self._write, noise, paths))
                list(pool.map(shutil.copyfile, (paths[i % some] for i in range(some, len(paths))), paths[some:]))
        return folder

    def _write(self, noise: np.ndarray, path: Path) -> None:
        Image.fromarray(noise).resize(self.sizes.jpeg_size, Image.Resampling.BICUBIC).save(path, quality=90)

    def settled(self) -> None:
        """Wait until the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def machine(bench: Bench) -> None:
    """Say where this is, and what is installed."""
    cuda = bench.device.type == "cuda"
    name = torch.cuda.get_device_name(bench.device) if cuda else "no GPU, so these numbers mean nothing"
    bench.say("GPU", name)
    bench.say("machine", f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    bench.say("torch's CUDA, cuDNN", f"{torch.version.cuda}, {torch.backends.cudnn.version()}")
    found = []
    for package in VERSIONS:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    bench.say("versions", ", ".join(found))
    bench.say("itae is", str(Path(itae.__file__).parent))


def forwards(bench: Bench) -> None:
    """Time passes of tensors in the device's memory against bare forwards in bf16: alone, with an edit, with 64."""
    for name, model in bench.sizes.models.items():
        _forwards(bench, name, model)


def _forwards(bench: Bench, name: str, model: str) -> None:
    sizes, source = bench.sizes, bench.source(model)
    worker = Worker(source, source.images, Runtime(bench.device.type, sizes.batch))
    side = sizes.image_size
    pixels = torch.randn(sizes.batch, 3, side, side, generator=torch.Generator().manual_seed(0)).to(bench.device)
    digests = [bytes([i % 256]) * 32 for i in range(sizes.batch)]

    def bare() -> None:
        with torch.inference_mode(), forward_context(bench.device, "bf16"):
            for _ in range(sizes.batches):
                worker.model.forward_features(pixels)
        bench.settled()

    def ours(edits: Sequence[Edit | None]) -> None:
        with worker._at_work():
            given = iter([(pixels, digests)] * sizes.batches)
            worker.gather(edits, given, range(sizes.batches * sizes.batch), lambda count: None, True)
        bench.settled()

    for what, edits in _edits(source.facts.depth).items():
        plain, passed = in_turns(sizes.rounds, bare, partial(ours, edits))
        time_of = len(edits) > 2
        told = ratio(passed, plain) if time_of else ratio(plain, passed)
        bench.say(f"{name}: {what}, {'time of a pass' if time_of else 'images/s'}", told)
        bench.bare[name] = sizes.batches * sizes.batch / statistics.median(plain)
    bench.say(f"  {name}: a bare forward, bf16 autocast, batches of {sizes.batch}", f"{bench.bare[name]:.0f} images/s")
    if bench.device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(bench.device) / 1e9
        bench.say(f"  {name}: most of the GPU's memory that torch took for it", f"{peak:.1f} GB")
        torch.cuda.reset_peak_memory_stats(bench.device)
    worker.close()


def _edits(depth: int) -> dict[str, list[Edit | None]]:
    detector, last, every = VectorNorm(rule="quantile", quantile=0.03), (depth - 1,), tuple(range(depth))
    thresholds = [VectorNorm(rule="quantile", quantile=p / 100) for p in range(1, 5)]
    return {
        "the untouched model, all diagnostics (at least 0.9)": [None],
        "and one edit of the last block": [None, Edit(detector, Floor(), last)],
        "and 64 last-block edits (at most 1.15)": [
            None, *(Edit(detector, Floor(strength=(i + 1) / 64), last) for i in range(64))
        ],
        "and 64 last-block edits, 4 attenuators, 4 thresholds": [
            None, *(Edit(one, how(strength=a / 4), last) for one in thresholds for a in range(1, 5)
                    for how in (Floor, Scale, Fade, MeanValue))
        ],
        "and one edit of all blocks, scale (a pass of its own: 0.5)": [None, Edit(detector, Scale(), every)],
    }  # fmt: skip


def folder(bench: Bench) -> None:
    """Embed a folder of JPEGs from the disk to the store, and tell what decoding alone can give."""
    sizes, runtime = bench.sizes, Runtime(bench.device.type, bench.sizes.batch)  # as many decoders as by default
    threads = runtime.decoders(bench.device)
    for i, (name, model) in enumerate(sizes.models.items()):
        source = bench.source(model)
        if not i:
            began = time.perf_counter()
            for _ in batches(source.images, source.transform, 0, len(source.images), sizes.batch, threads):
                pass
            rate = len(source.images) / (time.perf_counter() - began)
            bench.say(f"{threads} threads decode JPEGs of {sizes.jpeg_size[0]} x {sizes.jpeg_size[1]}", f"{rate:.0f}/s")
        edit = Edit(VectorNorm(rule="quantile", quantile=0.03), Floor(), (source.facts.depth - 1,))
        began = time.perf_counter()
        extract(source, [None, edit], runtime)
        rate = len(source.images) / (time.perf_counter() - began)
        told = f"{rate:.0f} images/s"
        if name in bench.bare:
            told += f", {rate / bench.bare[name]:.3f} of a bare forward's"
        bench.say(f"{name}: {len(source.images)} JPEGs, baseline and one edit, loading included", told)


def kmeans(bench: Bench) -> None:
    """Time FAISS's k-means on the device against the CPU, an iteration and the seeding, and hold the inertia to it."""
    sizes, device = bench.sizes, bench.device.type
    if device == "cuda" and pick_gpu(load_faiss(), "cuda") is None:
        bench.say("k-means", "not measured: this faiss has no GPU (pip install faiss-gpu)")
        return
    vectors = _mixture(sizes.points, sizes.width, sizes.clusters)

    def seconds(where: str, iterations: int, init: str, some: np.ndarray = vectors, k: int = sizes.clusters) -> float:
        began = time.perf_counter()
        KMeans(restarts=1, iterations=iterations, init=init, tolerance=0.0).fit(some, k, 0, where)
        return time.perf_counter() - began

    seconds(device, 1, "random", vectors[: sizes.clusters * 2])  # what is made once
    few, many = (3, 13) if device == "cuda" else (1, 3)
    there = (seconds(device, many, "random") - seconds(device, few, "random")) / (many - few)
    here = seconds("cpu", 3, "random") - seconds("cpu", 1, "random")  # capped: the CPU makes three iterations
    size = f"{sizes.points:,} x {sizes.width}, k = {sizes.clusters:,}"
    bench.say(f"k-means, {size}: an iteration there against the CPU's", f"{there / (here / 2):.4f}   ({there:.3f} s)")
    part = vectors[: max(len(vectors) // 8, sizes.clusters)]
    seeding = seconds(device, 1, "k-means++", part) - seconds(device, 1, "random", part)
    bench.say(f"  seeding by k-means++ of {len(part):,} of them, which FAISS does on the CPU", f"{seeding:.2f} s")
    some, k = vectors[: len(vectors) // 20], max(sizes.clusters // 10, 2)
    values = [KMeans(restarts=2, iterations=30).fit(some, k, 0, where).objective.value for where in (device, "cpu")]
    bench.say(
        f"  inertia of {len(some):,}, k = {k}, there against the CPU's (within 1 %)", f"{values[0] / values[1]:.5f}"
    )


def _mixture(count: int, width: int, clusters: int) -> np.ndarray:
    draw = torch.Generator().manual_seed(0)
    centres = torch.randn(clusters, width, generator=draw) * 0.5
    vectors = torch.randn(count, width, generator=draw)
    vectors += centres[torch.randint(clusters, (count,), generator=draw)]
    return vectors.numpy()


PARTS: dict[str, Callable[[Bench], None]] = {part.__name__: part for part in (machine, forwards, folder, kmeans)}


def main(words: Sequence[str] | None = None) -> int:
    """Measure, and return 0, or 1 if a part broke off: the others are told all the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--quick", action="store_true", help="so little that it only shows that the script works")
    parser.add_argument("--out", type=Path, help="a file for what is printed")
    args = parser.parse_args(words)
    if args.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA device here; --device cpu --quick tries the script", file=sys.stderr)
        return 2
    status = 0
    with tempfile.TemporaryDirectory(prefix="itae-gpu-") as scratch:
        bench = Bench(args.device, QUICK if args.quick else FULL, Path(scratch), args.out)
        for name in dict.fromkeys(["machine", *(args.parts or PARTS)]):
            try:
                began = time.perf_counter()
                PARTS[name](bench)
                bench.say(f"  ({name} took", f"{time.perf_counter() - began:.0f} s)")
            except Exception as error:
                bench.say(f"{name} broke off", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
                status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
