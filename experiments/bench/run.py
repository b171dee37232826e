"""Print the figures of the README as ratios, each pair measured in turns in one process.

    python experiments/bench/run.py                      all of it, about half an hour on 2 cores
    python experiments/bench/run.py edits precision      some of it
    python experiments/bench/run.py --checkpoint W.safetensors --images FOLDER     with real weights and pictures

Without a checkpoint the weights are random: the speed is the same, the cosines are not those of a real model.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from turns import in_turns as in_turns_by
from turns import ratio

from itae import load_run
from itae.base.memory import memory_reused
from itae.base.runtime import OnRay, Runtime
from itae.edits.attenuate import Fade, Floor, MeanValue, Scale
from itae.edits.detect import VectorNorm
from itae.edits.edit import AnyEdit, Edit
from itae.edits.registers import RegisterEdit, TestTimeRegisters
from itae.embed.extract import extract
from itae.embed.replay import SharedPass
from itae.embed.source import Source
from itae.embed.worker import Worker
from itae.images.batches import batches
from itae.images.datasets import ImageFolder
from itae.images.transform import normalise
from itae.measure.cluster.kmeans import KMeans
from itae.store.store import Store
from itae.vit.backbone import Backbone

MODEL = "vit_small_patch14_dinov2"
HERE = Path(__file__).parent


def say(what: str, value: str) -> None:
    print(f"{what:78} {value}", flush=True)


in_turns = partial(in_turns_by, clock=time.perf_counter)
"""By the wall clock, as work on a GPU takes no CPU time."""


class Bench:
    """What the parts share: a model, its checkpoint, a folder of pictures."""

    def __init__(self, checkpoint: Path | None, images: Path | None, scratch: Path) -> None:
        self.scratch = scratch
        self.images = images or write_pictures(scratch / "pictures", 512, 64)
        if checkpoint is None:
            checkpoint = scratch / "random.safetensors"
            model = timm.create_model(MODEL, img_size=224)
            save_file({k: v.contiguous() for k, v in model.state_dict().items()}, checkpoint)
        self.backbone = Backbone(MODEL, checkpoint=str(checkpoint))

    def source(self, limit: int, cache: str) -> Source:
        dataset = ImageFolder(root=str(self.images), limit=limit)
        return Source.open(dataset, self.backbone, Store(self.scratch / cache))

    def loaded(self, limit: int = 16) -> tuple[torch.nn.Module, torch.Tensor]:
        """Return the model, and `limit` pictures as a tensor."""
        source = self.source(limit, "loaded")
        model = self.backbone.build(source.facts, torch.device("cpu"))
        (raw,) = batches(source.images, source.transform, 0, limit, limit)
        return model, normalise(torch.from_numpy(raw), source.transform)


def write_pictures(folder: Path, count: int, side: int) -> Path:
    """Write `count` pictures of smooth colours in ten classes."""
    draw = np.random.default_rng(0)
    for i in range(count):
        path = folder / f"class{i % 10}" / f"{i:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        small = draw.integers(0, 255, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(small).resize((side, side)).save(path)
    return folder


def extraction(bench: Bench) -> None:
    """Images per second of a folder, decoding included, against a bare forward of tensors in memory."""
    limit, size = 384, 32
    source = bench.source(limit, "extraction")
    model = bench.backbone.build(source.facts, torch.device("cpu"))
    raw = next(batches(source.images, source.transform, 0, size, size))
    tensor, turn = normalise(torch.from_numpy(raw), source.transform), iter(range(10**6))

    def bare() -> None:
        with torch.inference_mode():
            for _ in range(limit // size):
                model.forward_features(tensor)

    def bare_reused() -> None:
        with memory_reused():
            bare()

    def folder() -> None:
        fresh = bench.source(limit, f"extraction{next(turn)}")
        extract(fresh, [None], Runtime("cpu", size, 1))

    with mock.patch.object(Backbone, "build", return_value=model):  # loading weights is no extraction
        times = in_turns(4, bare, bare_reused, folder)
    say("extraction of a folder, images/s against a bare forward (at least 0.93)", ratio(times[0], times[2]))
    say("  against a bare forward that reuses memory as the extraction does", ratio(times[1], times[2]))
    say("  images/s of the folder", f"{limit / statistics.median(times[2]):.1f}")


def edits(bench: Bench) -> None:
    """Edits in one pass against one plain ``forward_features``."""
    model, pixels = bench.loaded()
    detector = VectorNorm(vector="value", rule="quantile", quantile=0.03)
    every, last = tuple(range(12)), (11,)
    passes: dict[str, list[Edit | None]] = {
        "baseline and one last-block edit in one pass (at most 1.03)": [None, Edit(detector, Floor(), last)],
        "scale, all rows, all blocks, alone (at most 1.05)": [Edit(detector, Scale(), every)],
        "floor, CLS row, all blocks, alone (at most 1.06)": [Edit(detector, Floor(queries="cls"), every)],
        "floor, all rows, all blocks, alone (at most 1.40)": [Edit(detector, Floor(), every)],
        "one last-block edit alone": [Edit(detector, Floor(), last)],
    }
    _against_plain(model, pixels, passes, 9)


def shared(bench: Bench) -> None:
    """Many edits on one pass against one plain ``forward_features``, in fp32 and in bf16."""
    model, pixels = bench.loaded()
    detector = VectorNorm(vector="value", rule="quantile", quantile=0.03)
    last = (11,)
    passes: dict[str, list[Edit | None]] = {
        "64 last-block edits with the baseline (at most 1.15)": [
            None, *(Edit(detector, Floor(strength=(i + 1) / 64), last) for i in range(64))
        ],
        "64 last-block edits, 4 attenuators, 4 thresholds, with the baseline": [
            None,
            *(
                Edit(VectorNorm(vector="value", rule="quantile", quantile=p / 100), how(strength=a / 4), last)
                for p in range(1, 5) for a in range(1, 5) for how in (Floor, Scale, Fade, MeanValue)
            ),
        ],
        "16 edits, 4 from each of the last 4 blocks on, with the baseline, floor (at most 3.2)": [
            None,
            *(Edit(detector, Floor(strength=a / 4), tuple(range(i, 12))) for i in range(8, 12) for a in range(1, 5)),
        ],
        "  the same, scale": [
            None,
            *(Edit(detector, Scale(strength=a / 4), tuple(range(i, 12))) for i in range(8, 12) for a in range(1, 5)),
        ],
        "12 edits, the k-th from block k to the last, with the baseline, scale (all their blocks: 7.5, within 10 %)": [
            None, *(Edit(detector, Scale(), tuple(range(i, 12))) for i in range(12))
        ],
    }  # fmt: skip
    _against_plain(model, pixels, passes, 9)
    with torch.autocast("cpu", torch.bfloat16):
        _against_plain(model, pixels, {f"bf16: {name}": some for name, some in passes.items()}, 7)


def rivals(bench: Bench) -> None:
    """Time an edit of attention and one more token, each alone against ``forward_features``; neurons are known."""
    model, pixels = bench.loaded()
    detector, every = VectorNorm(vector="value", side="high"), tuple(range(12))
    neurons = dict.fromkeys(range(3, 8), (0, 1))
    passes: dict[str, list[AnyEdit | None]] = {
        "the untouched model": [None],
        "ITAE, scale, all rows, all blocks": [Edit(detector, Scale(), every)],
        "ITAE, floor, all rows, all blocks": [Edit(detector, Floor(), every)],
        "test-time registers, 10 neurons of 5 blocks": [RegisterEdit(TestTimeRegisters(), neurons)],
    }
    _against_plain(model, pixels, passes, 9)


def diagnostics(bench: Bench) -> None:
    """Time a pass with all diagnostics against the same pass with none but the counts of what is flagged."""
    source, size, count = bench.source(1024, "diagnostics"), 16, 8  # of 128 images 8 are looked at, as of any more
    model, pixels = bench.loaded(size)
    detector = VectorNorm(vector="value", rule="quantile", quantile=0.03)
    passes: dict[str, list[Edit | None]] = {
        "baseline": [None],
        "baseline and one last-block edit": [None, Edit(detector, Floor(), (11,))],
        "baseline and one edit of all blocks, scale": [None, Edit(detector, Scale(), tuple(range(12)))],
        "baseline and 64 last-block edits": [
            None, *(Edit(detector, Floor(strength=(i + 1) / 64), (11,)) for i in range(64))
        ],
    }  # fmt: skip
    with mock.patch.object(Backbone, "build", return_value=model):
        worker = Worker(source, source.images, Runtime("cpu", size))

    def work(edits: list[Edit | None], whole: bool) -> None:
        batches = iter([(pixels, [bytes(32)] * size)] * count)
        with memory_reused(), torch.inference_mode():
            worker.gather(edits, batches, range(count * size), lambda images: None, whole)

    for name, some in passes.items():
        for precision in ("fp32", "bf16"):
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                times = in_turns(5, lambda some=some: work(some, True), lambda some=some: work(some, False))
            say(f"{precision}: {name}, all diagnostics against none (at most 1.05)", ratio(*times))


def growth(bench: Bench) -> None:
    """Measure time and peak memory of a whole extraction at 1, 4, 16 and 64 edits, and at 1k, 4k and 16k images."""
    pictures = write_pictures(bench.scratch / "grow", 16_000, 32)
    base, backbone = [f"dataset.root={pictures}", "dataset=imagefolder"], wide_backbone(bench)
    for edits, limit in ((1, 1000), (4, 1000), (16, 1000), (64, 1000), (4, 4000), (4, 16000)):
        strengths = ",".join(f"{(i + 1) / edits:g}" for i in range(edits))
        words = [*base, *backbone, f"dataset.limit={limit}", f"attenuator.strength={strengths}", "layers=last"]
        folder = bench.scratch / f"grow{edits}-{limit}"
        _sweep(folder, "shared_pass", [*words, f"paths.cache={folder}-cache", "clusterer.seeds=1"])
        peak = max(result["timing"]["peak_rss_mb"] for result in _results(folder))
        meta = [json.loads(path.read_bytes()) for path in Path(f"{folder}-cache").glob("*/*/*/meta.json")]
        say(f"{edits} edits of {limit} images (384 wide)", f"pass {meta[0]['seconds']:.1f} s, peak {peak:.0f} MB")


def engine(bench: Bench) -> None:
    """One extraction over the workers of a local Ray cluster against one process: time, and the largest difference."""
    import ray

    began = time.perf_counter()
    ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    say("a local Ray cluster starts in", f"{time.perf_counter() - began:.1f} s")
    cores = os.cpu_count() or 1
    runtimes = {
        "local": Runtime(),
        f"{cores} workers of 1 CPU": Runtime(engine="ray", ray=OnRay(num_cpus=1)),
        f"1 worker of {cores} CPUs": Runtime(engine="ray", ray=OnRay(num_cpus=cores)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runtimes}
    vectors: dict[str, list[np.ndarray]] = {}
    edits = [None, Edit(VectorNorm(rule="quantile"), Floor(), (11,))]
    for i in range(2):
        for name in list(runtimes)[:: 1 if i else -1]:
            source = bench.source(512, f"engine-{i}-{name.replace(' ', '-')}")
            began = time.perf_counter()
            found = extract(source, edits, runtimes[name])
            seconds[name].append(time.perf_counter() - began)
            vectors[name] = [entry.vectors for entry in found]
    ray.shutdown()
    say("  baseline and one edit of 512 pictures, one process, loading included", f"{min(seconds['local']):.1f} s")
    for name in list(runtimes)[1:]:
        say(f"  the same on Ray, {name}, time against one process", ratio(seconds[name], seconds["local"]))
        apart = max(np.abs(a - b).max() for a, b in zip(vectors[name], vectors["local"], strict=True))
        say("    largest difference of any number of an embedding", f"{apart:.1e}")


def sweep(bench: Bench) -> None:
    """Run 64 cached jobs on digits, W&B offline, in several processes, in one, and with Hydra's own launcher."""
    strengths = ",".join(f"{(i + 1) / 64:g}" for i in range(64))
    words = [f"attenuator.strength={strengths}", "detector.rule=quantile", "clusterer.restarts=1", "clusterer.seeds=2"]
    words += [f"paths.cache={bench.scratch / 'digits'}", "tracker=wandb"]
    _sweep(bench.scratch / "fill", "shared_pass", words)
    seconds = _sweep(bench.scratch / "default", "shared_pass", words)
    assert len(_results(bench.scratch / "default")) == 64
    say("64 jobs, all cached, as by default: a job, k-means included (at most 0.4 s without)", f"{seconds / 64:.2f} s")
    for launcher, more in (("shared_pass", ["hydra.launcher.n_jobs=1"]), ("basic", [])):
        seconds = _sweep(bench.scratch / launcher, launcher, [*words, *more])
        found = _results(bench.scratch / launcher)
        assert len(found) == 64
        each = 2 if launcher == "basic" else 1 + 1 / 64  # our launcher clusters the baseline once
        alone = seconds / 64 - each * _kmeans_seconds(bench.scratch / launcher / "0")
        name = " ".join([launcher, *more])
        say(f"64 jobs, all cached, {name}: a job beyond its k-means (at most 0.4 s)", f"{alone:.2f} s")
        readouts = sum(result["timing"]["cluster_s"] for result in found)
        say("  and beyond what is read from it: silhouettes, k-NN, scores", f"{(seconds - readouts) / 64:.2f} s")


def _kmeans_seconds(folder: Path) -> float:
    """Return what the k-means of one side of a job takes by itself, all seeds together."""
    run = load_run(folder)
    clusterer = KMeans(**{name: value for name, value in run.settings["clusterer"].items() if name != "_target_"})
    vectors, side = run.edited.vectors, run.result["edited"]

    def fit() -> None:
        for seed in side["seeds"]:
            clusterer.fit(vectors, side["k"], seed, "cpu")

    return statistics.median(in_turns(9, fit)[0])


def _sweep(folder: Path, launcher: str, words: list[str]) -> float:
    """Run a multirun in a process of its own; return its seconds."""
    env = {**os.environ, "PYTHONPATH": str(HERE)}
    command = [sys.executable, "-m", "itae", "-m", f"hydra/launcher={launcher}", f"hydra.sweep.dir={folder}", *words]
    began = time.perf_counter()
    done = subprocess.run(command, env=env, capture_output=True, encoding="utf-8", errors="replace", check=False)
    assert done.returncode == 0, done.stderr
    return time.perf_counter() - began


def _results(folder: Path) -> list[dict]:
    return [json.loads(path.read_bytes()) for path in sorted(folder.glob("*/result.json"))]


def _against_plain(
    model: torch.nn.Module, pixels: torch.Tensor, passes: Mapping[str, Sequence[AnyEdit | None]], rounds: int
) -> None:
    digests = [bytes(32)] * len(pixels)

    def plain() -> None:
        with torch.inference_mode():
            model.forward_features(pixels)

    for name, some in passes.items():
        shared = SharedPass(model, 1, "cls", some)
        with memory_reused():  # on both sides
            reference, edited = in_turns(rounds, plain, lambda shared=shared: shared(pixels, digests))
        say(f"{name}, time against forward_features", ratio(edited, reference))


def precision(bench: Bench) -> None:
    """bf16 against fp32: time, and the cosine between the embeddings."""
    model, pixels = bench.loaded()
    out: dict[str, torch.Tensor] = {}

    def forward(name: str) -> None:
        low = torch.autocast("cpu", torch.bfloat16) if name == "bf16" else nullcontext()
        with torch.inference_mode(), low:
            out[name] = model.forward_features(pixels)[:, 0].float()

    full, low = in_turns(7, lambda: forward("fp32"), lambda: forward("bf16"))
    cosine = torch.nn.functional.cosine_similarity(out["fp32"], out["bf16"])
    say("bf16 against fp32, speed-up", ratio(full, low))
    say("bf16 against fp32, cosine of the embeddings, mean and least", f"{cosine.mean():.5f}, {cosine.min():.5f}")


def itae(folder: Path, *overrides: str) -> dict:
    """Run the command line in `folder` and return its result."""
    env = {**os.environ, "PYTHONPATH": str(HERE)}
    command = [sys.executable, "-m", "itae", "tracker=none", f"hydra.run.dir={folder}", *overrides]
    done = subprocess.run(command, env=env, capture_output=True, encoding="utf-8", errors="replace", check=False)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "result.json").read_bytes())


def cache(bench: Bench) -> None:
    """Run the same job twice; the second finds everything."""
    common = [
        "backbone=timm", f"backbone.model_name={MODEL}", f"backbone.checkpoint={bench.backbone.checkpoint}",
        "dataset=imagefolder", f"dataset.root={bench.images}", "dataset.limit=256", "clusterer.restarts=1",
        f"paths.cache={bench.scratch / 'again'}", "detector.rule=quantile",
    ]  # fmt: skip
    first, second = (itae(bench.scratch / f"run{i}", *common) for i in range(2))
    assert second["cached"]
    assert not first["cached"]
    for name, result in (("first", first), ("second", second)):
        timing = result["timing"]
        words = f"open {timing['open_s']:.2f} s, embeddings {timing['extract_s']:.3f} s, {timing['peak_rss_mb']:.0f} MB"
        say(f"{name} run of the same job, 256 pictures (second: embeddings under 0.2 s)", words)


def small(bench: Bench) -> None:
    """CPU seconds of a fresh small run, of its parts, and of one whose cache knows the backbone already."""
    words = ["-m", "itae", "dataset.limit=60", "tracker=none", f"paths.cache={bench.scratch / 'small'}"]
    run = [*words, f"hydra.run.dir={bench.scratch / 'small-run'}"]
    torch_and_timm = "import torch; from itae.vit.timm_import import import_timm; import_timm()"
    parts = {
        "a fresh small run, 60 digits, nothing cached": run,
        "  the same with a few more, in the cache that it left": run,
        "  composing": [*words, "--cfg", "job"],
        "  importing torch and timm": ["-c", torch_and_timm],
        "  importing scikit-learn, SciPy, FAISS and matplotlib": [
            "-c", "import faiss, matplotlib.figure, scipy.signal, sklearn.decomposition, sklearn.metrics"
        ],
    }  # fmt: skip
    for name, command in parts.items():
        seconds = []
        for _ in range(1 if name.startswith("a ") else 3):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            fresh = [f"dataset.limit={61 + len(seconds)}"] if "left" in name else []
            subprocess.run([sys.executable, *command, *fresh], capture_output=True, check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            seconds.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
        say(f"{name}, CPU seconds", f"{seconds[0]:.2f}" if len(seconds) == 1 else f"{min(seconds):.2f}")
    timing = json.loads((bench.scratch / "small-run" / "result.json").read_bytes())["timing"]
    shown = ", ".join(f"{key} {timing[key]:.2f}" for key in ("open_s", "extract_s", "cluster_s"))
    say("  seconds in it (opening, the pass, the clusterings)", shown)


def kmeans(bench: Bench) -> None:
    """FAISS k-means against scikit-learn's, same restarts."""
    from sklearn.cluster import KMeans as Sklearn

    draw = np.random.default_rng(0)
    n, dim, k, restarts = 50_000, 384, 100, 2
    centres = draw.normal(0, 0.2, (k, dim))
    vectors = (centres[draw.integers(0, k, n)] + draw.normal(0, 1, (n, dim)) * 0.6).astype(np.float32)
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    inertia: dict[str, list[float]] = {"ours": [], "theirs": []}
    for seed in range(3):
        began = time.perf_counter()
        inertia["ours"].append(KMeans(restarts=restarts).fit(vectors, k, seed, "cpu").objective.value)
        between = time.perf_counter()
        theirs = Sklearn(k, n_init=restarts, max_iter=100, random_state=seed).fit(vectors)
        seconds["theirs"].append(time.perf_counter() - between)
        seconds["ours"].append(between - began)
        inertia["theirs"].append(float(theirs.inertia_))
    say(
        "k-means, n=50,000 d=384 k=100, 2 restarts: time against scikit-learn",
        ratio(seconds["ours"], seconds["theirs"]),
    )
    say("  inertia against scikit-learn (within 1 %)", ratio(inertia["ours"], inertia["theirs"]))


def wide_backbone(bench: Bench) -> list[str]:
    """Return the words that choose a model with embeddings as wide as DINOv2-S's and few tokens."""
    sys.path.insert(0, str(HERE))
    import wide  # noqa: F401

    checkpoint = bench.scratch / "wide.safetensors"
    state = timm.create_model("wide_vit", img_size=32).state_dict()
    save_file({k: v.contiguous() for k, v in state.items()}, checkpoint)
    return [
        "backbone=timm", "backbone.model_name=wide_vit", "backbone.module=wide", f"backbone.checkpoint={checkpoint}",
        "backbone.image_size=32", "detector.rule=quantile", "clusterer.restarts=1", "tracker=none",
    ]  # fmt: skip


def memory(bench: Bench) -> None:
    """Peak memory of a whole run at 50,000 images against 1,000, embeddings as wide as DINOv2-S's."""
    pictures = write_pictures(bench.scratch / "many", 50_000, 32)
    backbone = wide_backbone(bench)
    peaks = []
    for limit in (1_000, 50_000):
        result = itae(
            bench.scratch / f"memory{limit}", *backbone, "dataset=imagefolder",
            f"dataset.root={pictures}", f"dataset.limit={limit}", f"paths.cache={bench.scratch / 'memory'}",
            "detector.rule=quantile", "clusterer.seeds=2", "clusterer.restarts=2",
        )  # fmt: skip
        peaks.append(result["timing"]["peak_rss_mb"])
        say(f"peak memory of a run of {limit} images", f"{peaks[-1]:.0f} MB ({result['timing']['total_s']:.0f} s)")
    say("  more at 50,000 than at 1,000 (at most 300 MB)", f"{peaks[1] - peaks[0]:.0f} MB")


PARTS = {
    part.__name__: part
    for part in (
        extraction,
        edits,
        rivals,
        precision,
        cache,
        small,
        kmeans,
        memory,
        shared,
        engine,
        sweep,
        growth,
        diagnostics,
    )
}


@contextmanager
def scratch_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="itae-bench-") as folder:
        yield Path(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--checkpoint", type=Path, help=f"weights of {MODEL}, safetensors")
    parser.add_argument("--images", type=Path, help="a folder of at least 384 images")
    args = parser.parse_args()
    flags = torch.backends.cpu.get_cpu_capability()
    say("machine", f"{platform.machine()}, {os.cpu_count()} cores, {flags}, torch {torch.__version__}")
    say("weights", "random" if args.checkpoint is None else args.checkpoint.name)
    with scratch_folder() as scratch:
        bench = Bench(args.checkpoint, args.images, scratch)
        for name in args.parts or PARTS:
            PARTS[name](bench)


if __name__ == "__main__":
    main()
