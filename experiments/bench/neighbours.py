"""Print the figures of neighbours and answers of a base as ratios, each pair measured in turns in one process.

    python experiments/bench/neighbours.py                 all of it, about twenty-five minutes on 2 cores, 8 GB of disk
    python experiments/bench/neighbours.py batch one       some of it

Vectors are made up: a few hundred clusters on a low-dimensional sheet, as embeddings have them. What is compared is the
processor's time; the machine may be shared.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
from turns import in_turns, ratio

from itae.knowledge.answers.choose import choose
from itae.knowledge.answers.classify import classify
from itae.knowledge.answers.sweep import winners
from itae.knowledge.answers.vote import TEMPERATURES, Auto, ClassMean, Distance, Plurality, Rank, Softmax
from itae.knowledge.answers.why import why
from itae.knowledge.curate.duplicates import duplicates
from itae.knowledge.curate.outliers import outliers
from itae.knowledge.curate.suspects import suspects
from itae.knowledge.disk.vector_file import VectorFile, on_disk
from itae.knowledge.near.index import open_index, use_index
from itae.knowledge.near.neighbours import Excluded, nearest
from itae.knowledge.records.similarity import similarities
from itae.knowledge.records.snapshot import Snapshot

MANY, LARGE = (50_000, 384), (1_281_167, 768)
K, KS = 20, (1, 2, 5, 10, 20, 50, 100, 200)


class Ids(Sequence):  # type: ignore[type-arg]
    """``0000000`` on, without the memory of as many strings."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i):  # type: ignore[no-untyped-def]
        return f"{i:07d}"


def say(what: str, value: str) -> None:
    print(f"{what:78} {value}", flush=True)


def blocks(count: int, width: int, classes: int = 1000, step: int = 20_000) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield vectors of length 1 and their classes."""
    draw = np.random.default_rng(0)
    sheet = draw.normal(size=(48, width)).astype(np.float32)
    centres = draw.normal(size=(classes, 48)).astype(np.float32)
    for start in range(0, count, step):
        n = min(step, count - start)
        labels = draw.integers(0, classes, n)
        latent = centres[labels] + 0.7 * draw.normal(size=(n, 48)).astype(np.float32)
        vectors = latent @ sheet + draw.normal(size=(n, width)).astype(np.float32)
        yield vectors / np.linalg.norm(vectors, axis=1, keepdims=True), labels


def snapshot_of(vectors: np.ndarray, labels: np.ndarray, classes: int) -> Snapshot:
    n = len(vectors)
    sources = pa.array([f"source {i}" for i in range(5)]).take(pa.array(np.arange(n) % 5))
    none = pa.nulls(n, pa.string())
    return Snapshot(
        space={"model": "made up"},
        version=1,
        root=f"{n:064x}",
        vectors_ME=vectors,
        ids=Ids(n),
        alive_M=np.ones(n, bool),
        labels_M=labels.astype(np.int32),
        label_names=tuple(f"class {i:04d}" for i in range(classes)),
        several={},
        groups_M=np.arange(n),
        digests_M32=np.random.default_rng(1).integers(0, 256, (n, 32), np.uint8),
        table=pa.table({"group": none, "place": none, "source": sources, "time": pa.nulls(n, pa.timestamp("us"))}),
    )


def made(shape: tuple[int, int], classes: int) -> Snapshot:
    vectors, labels, at = np.empty(shape, np.float32), np.empty(shape[0], np.int64), 0
    for some, codes in blocks(*shape, classes):
        vectors[at : at + len(some)], labels[at : at + len(some)] = some, codes
        at += len(some)
    return snapshot_of(vectors, labels, classes)


def batch(scratch: Path) -> None:
    """50,000 x 384 in itself, k = 20, against FAISS's flat index called bare."""
    base = made(MANY, 100)
    vectors = base.vectors_ME
    itself = Excluded(base.groups_M, base.groups_M)

    def bare() -> None:
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        index.search(vectors, K)

    times = in_turns(3, bare, lambda: nearest(base, vectors, K), lambda: nearest(base, vectors, K, excluded=itself))
    say("neighbours of 50,000 x 384 in itself, k 20 (at most 1.1), against a flat index", ratio(times[1], times[0]))
    say("  each row itself left out", ratio(times[2], times[0]))
    say("  CPU seconds of the flat index", f"{statistics.median(times[0]):.1f}")


def one(scratch: Path) -> None:
    """One query against 1,281,167 x 768 in memory, against one product of matrix and vector."""
    base = made(LARGE, 1000)
    query = base.vectors_ME[7:8] + np.float32(0.01)
    vector = query[0] / np.linalg.norm(query[0])
    times = in_turns(9, lambda: base.vectors_ME @ vector, lambda: nearest(base, query, K))
    say("one query against 1,281,167 x 768 (at most 1.3), against matrix @ vector", ratio(times[1], times[0]))
    base.alive_M[np.random.default_rng(0).integers(0, len(base.alive_M), 1000)] = False
    some = np.flatnonzero(base.alive_M)
    times = in_turns(9, lambda: base.vectors_ME @ vector, lambda: nearest(base, query, K, rows=some))
    say("  1,000 rows of it dead", ratio(times[1], times[0]))
    say("  CPU seconds", f"{statistics.median(times[1]):.2f}")


def answers(scratch: Path) -> None:
    """CPU seconds of what looks at a whole base of 50,000 x 384."""
    base = made(MANY, 100)
    query = base.vectors_ME[7] + np.float32(0.01)

    def took(what: str, work: Callable[[], object]) -> None:
        began = time.process_time()
        found = work()
        say(what, f"{time.process_time() - began:.2f} CPU s   {found or ''}")

    took("auto: voter, k and temperature", lambda: choose(base, Auto()).note)
    took("  one answer then", lambda: classify(base, query[None])[0].label)
    took("  again, another query", lambda: classify(base, -query[None])[0].label)
    took(
        "  1,000 answers in one call, voter=rank voter.k=10",
        lambda: len(classify(base, base.vectors_ME[:1000], voter=Rank(10))),
    )
    took("why, the fewest rows that turn it among them", lambda: len((why(base, query).turn or {"rows": []})["rows"]))
    took("suspects", lambda: round(suspects(base)[0].score, 3))
    took("duplicates", lambda: len(duplicates(base)))
    took("outliers", lambda: round(outliers(base)[0][0].distance, 3))


def sweep(scratch: Path) -> None:
    """Each of 50,000 x 384 by the others, all voters and eight k, against one search for the 200 nearest."""
    base = made(MANY, 1000)
    itself, anyhow = Excluded(base.groups_M, base.groups_M), np.random.default_rng(2).integers(0, 1000, MANY[0])
    kinds = (Plurality(), *(Softmax(temperature=t) for t in TEMPERATURES), Rank(), Distance())
    voters = [*(replace(kind, k=k) for kind in kinds for k in KS), ClassMean()]
    bases = {
        "100 classes": snapshot_of(base.vectors_ME, base.labels_M % 100, 100),
        "1,000 classes": base,
        "1,000 labels without any order, where many votes are close": snapshot_of(base.vectors_ME, anyhow, 1000),
    }

    def search() -> tuple[np.ndarray, np.ndarray]:
        return nearest(base, base.vectors_ME, max(KS), excluded=itself)

    found = search()

    def swept(one: Snapshot) -> np.ndarray:
        one.memo.clear()  # in which the sums of classes are kept
        return winners(one, voters, one.vectors_ME, *found, excluded=itself)

    sweeps = [lambda one=one: swept(one) for one in bases.values()]
    searches, *times = in_turns(2, search, *sweeps)
    say("each of 50,000 x 384 by the others, k 200: CPU seconds of the search", f"{statistics.median(searches):.1f}")
    for name, took in zip(bases, times, strict=True):
        say(
            f"  {name}",
            f"{statistics.median(took):.2f} CPU s for five voters, softmax at three temperatures, x 8 k",
        )
        both = [a + b for a, b in zip(searches, took, strict=True)]
        say("    with the search (at most 1.3), against it alone", ratio(both, searches))
    for name in list(bases)[:2]:
        bases[name].memo.clear()
        began = time.process_time()
        ClassMean().winners(bases[name], base.vectors_ME, excluded=itself)
        say(f"  class means among them, {name}", f"{time.process_time() - began:.2f} CPU s")


def disk(scratch: Path) -> None:
    """1,281,167 x 768 that stay on the disk: an index made, opened and searched, and the memory that each takes."""
    path = scratch / "vectors.npy"
    file = np.lib.format.open_memmap(path, "w+", np.float32, LARGE)
    at, labels = 0, []
    for some, codes in blocks(*LARGE):
        file[at : at + len(some)] = some
        labels.append(codes)
        at += len(some)
    file.flush()
    np.save(scratch / "labels.npy", np.concatenate(labels))
    for part in ("make", "search"):
        command = [sys.executable, __file__, "--disk", str(scratch), "--part", part]
        subprocess.run(command, check=True)


def disk_part(scratch: Path, part: str) -> None:
    """In a process of its own, whose peak memory is told."""
    vectors = VectorFile(scratch / "vectors.npy")
    base = on_disk(snapshot_of(np.empty((len(vectors), 0), np.float32), np.load(scratch / "labels.npy"), 1000), vectors)
    began, cpu = time.perf_counter(), time.process_time()
    index = open_index(base, scratch / "index", "IVF1024,PQ64")
    say(
        f"{part}: an index IVF1024,PQ64 of 1,281,167 x 768",
        f"{time.perf_counter() - began:.1f} s, {time.process_time() - cpu:.1f} CPU s",
    )
    if part == "search":
        say("  recall", str(index.about["recall"]))
        use_index(base, index)
        queries = vectors[np.arange(0, 100_000, 1000)] + np.float32(0.01)
        for some in (queries[:1], queries):
            began, cpu = time.perf_counter(), time.process_time()
            found, similar = nearest(base, some, K)
            took = f"{time.perf_counter() - began:.3f} s, {time.process_time() - cpu:.3f} CPU s"
            say(f"  {len(some)} queries", took)
        assert (
            similar == similarities(vectors, queries / np.linalg.norm(queries, axis=1)[:, None], found)
        ).mean() > 0.99
    # Not ru_maxrss, which a process has from the one that started it.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    peak = int(status["VmHWM"].split()[0]) / 1024
    say(f"  peak memory (at most 1,000 MB; the vectors are {len(vectors) * 768 * 4 / 1e6:,.0f} MB)", f"{peak:.0f} MB")


PARTS = {part.__name__: part for part in (batch, one, answers, sweep, disk)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--disk", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.disk:
        disk_part(args.disk, args.part)
        return
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    say("machine", f"{platform.machine()}, {os.cpu_count()} cores, {threads} threads, FAISS {faiss.__version__}")
    with tempfile.TemporaryDirectory(prefix="itae-bench-") as folder:
        for name in args.parts or PARTS:
            PARTS[name](Path(folder))


if __name__ == "__main__":
    main()
