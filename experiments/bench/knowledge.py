"""Print what edits and openings of a knowledge base cost, in CPU seconds and as ratios in one run.

python experiments/bench/knowledge.py                   edits and openings of 50,000 x 384
python experiments/bench/knowledge.py --large           and the memory of 1,281,167 x 768: 13 GB of disk, minutes
python experiments/bench/knowledge.py --scratch FOLDER  where to write
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from itae.base.memory import peak_rss_mb
from itae.knowledge.base import create, open_knowledge
from itae.knowledge.disk.lance_files import names_of
from itae.knowledge.exchange.exchange import rows_from
from itae.knowledge.near.index import open_index, use_index
from itae.knowledge.near.neighbours import nearest
from itae.knowledge.records.rows import Rows
from itae.store.arrays import npy_header

ROUNDS = 15


def say(what: str, value: str) -> None:
    print(f"{what:78} {value}", flush=True)


def cpu(work: Callable[[], object]) -> float:
    """Return the CPU seconds of all threads that a work takes."""
    began = time.process_time()
    work()
    return time.process_time() - began


def told(seconds: list[float]) -> str:
    each = [1e3 * one for one in seconds]
    return f"{statistics.median(each):.1f} ms   ({min(each):.1f} to {max(each):.1f}, {len(each)} rounds)"


def ratio(a: list[float], b: list[float]) -> str:
    each = [x / y for x, y in zip(a, b, strict=True)]
    return f"{statistics.median(each):.2f}   ({min(each):.2f} to {max(each):.2f}, {len(each)} rounds)"


def drawn(count: int, width: int) -> Rows:
    draw = np.random.default_rng(0)
    ids = [f"web/{i:06d}.png" for i in range(count)]
    vectors = draw.standard_normal((count, width), dtype=np.float32)
    digests = draw.integers(0, 256, (count, 32), dtype=np.uint8)
    labels = [[f"class {i % 100}"] for i in range(count)]
    return Rows(ids, vectors, labels, "web", digests, places=[f"/data/{each}" for each in ids])


def small(scratch: Path) -> None:
    kb = create(scratch / "small", {"model": "drawn"}, {})
    rows = drawn(50_000, 384)
    say("50,000 x 384: added, CPU", f"{cpu(lambda: kb.commit(kb.add(rows))):.2f} s")
    openings(scratch / "small", "opened and verified")
    edits(kb, rows)
    openings(scratch / "small", "the same after these edits, which left small files and rows that are gone")


def edits(kb, rows: Rows) -> None:  # type: ignore[no-untyped-def]
    def one(i: int) -> float:
        began = time.process_time()
        kb.commit(kb.correct([rows.ids[i]], [f"right {i}"]))
        snapshot = kb.snapshot()
        assert snapshot.labels_of(snapshot.position[rows.ids[i]]) == (f"right {i}",)
        return time.process_time() - began

    one(0)
    say(
        "  one correction, in the next snapshot, CPU (at most 20 ms), forty in a row",
        told([one(37 * i) for i in range(1, 41)]),
    )
    say("  1,000 in one call, CPU (at most 500 ms)",
        told([cpu(lambda i=i: kb.commit(kb.correct(rows.ids[i::50], [f"r{i}"]))) for i in range(3)]))  # fmt: skip


def openings(path: Path, what: str) -> None:
    """Time an opening, all of it verified, beside reading its files, and beside what Lance takes to read them."""
    import lance

    store = open_knowledge(path).versions.newest().store
    files = [path / "rows.lance" / name for name in names_of(lance.dataset(path / "rows.lance", version=store))]
    opened, read, lances = [], [], []
    for _ in range(ROUNDS):
        opened.append(cpu(lambda: open_knowledge(path).snapshot()))
        read.append(cpu(lambda: [file.read_bytes() for file in files]))
        lances.append(cpu(lambda: lance.dataset(path / "rows.lance", version=store).to_table()))
    say(f"  {what}, CPU", told(opened))
    say("    against reading the bytes of its files (at most 4)", ratio(opened, read))
    say("    against reading it with Lance, unverified", ratio(opened, lances))


COUNT, WIDTH = 1_281_167, 768


def write_large(folder: Path) -> None:
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    with (folder / "vectors.npy").open("wb") as file:
        file.write(npy_header(COUNT, WIDTH))
        for i in range(0, COUNT, 8192):
            file.write(draw.standard_normal((min(8192, COUNT - i), WIDTH), dtype=np.float32).tobytes())
    ids = [f"train/n{i % 1000:08d}/{i:07d}.JPEG" for i in range(COUNT)]
    (folder / "ids.txt").write_text("".join(f"{each}\n" for each in ids), encoding="utf-8")
    lines = (f"{each},n{i % 1000:08d}\n" for i, each in enumerate(ids))
    (folder / "labels.csv").write_text("id,label\n" + "".join(lines), encoding="utf-8")


def peak(part: str, scratch: Path) -> None:
    """Do one part in this process, and say how much memory it took."""
    began = time.process_time()
    path = scratch / "large"
    if part == "add":
        kb = create(path, {"model": "drawn"}, {})
        kb.commit(kb.add(rows_from(scratch / "train")))
    elif part == "ask through an index":
        ask_beside(path, scratch / "cache")
    else:
        kb = open_knowledge(path)
        snapshot = kb.snapshot()
        kb.commit(kb.correct(snapshot.ids[5:1005], ["right"]))
        kb.commit(kb.delete(ids=snapshot.ids[2000:2010]))
        assert len(kb.snapshot()) == COUNT - 10
    print(peak_rss_mb(), time.process_time() - began)


def ask_beside(path: Path, cache: Path) -> None:
    """Answer from an index on the disk, made if it isn't there, with the vectors on the disk as well."""
    kb = open_knowledge(path)
    folder = kb.index_folder(cache)
    snapshot = kb.snapshot_beside(folder / "vectors")
    use_index(snapshot, open_index(snapshot, folder / "indexes", "IVF1024,PQ64"))
    queries = np.random.default_rng(1).standard_normal((100, WIDTH), dtype=np.float32)
    for some in (queries[:1], queries):
        began = time.perf_counter()
        found = nearest(snapshot, some / np.linalg.norm(some, axis=1, keepdims=True), 20)[0]
        print(f"  {len(found)} queries: {time.perf_counter() - began:.2f} s", file=sys.stderr)


def part_of(part: str, scratch: Path) -> tuple[float, float]:
    """Return the most memory in MB and the CPU seconds of a part, done in a process of its own."""
    command = [sys.executable, __file__, "--part", part, "--scratch", str(scratch)]
    most, seconds = subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8", check=True).stdout.split()
    return float(most), float(seconds)


def large(scratch: Path) -> None:
    write_large(scratch / "train")
    vectors = 4e-6 * COUNT * WIDTH
    for part in ("add", "open and edit"):
        most, seconds = part_of(part, scratch)
        say(f"{COUNT:,} x {WIDTH}: {part}, peak memory", f"{most:,.0f} MB, {seconds:.0f} s CPU")
        say("  less 400 MB, against its vectors (at most 1.3)", f"{(most - 400) / vectors:.2f}")
    for what in ("made", "there"):
        most, seconds = part_of("ask through an index", scratch)
        say(
            f"  asked through an index that is {what}, peak memory (at most 1,000 MB)",
            f"{most:,.0f} MB, {seconds:.0f} s CPU",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true", help="also 1,281,167 x 768")
    parser.add_argument("--scratch", type=Path, help="a folder to write into")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        return peak(args.part, args.scratch)
    with tempfile.TemporaryDirectory(prefix="itae-bench-", dir=args.scratch) as folder:
        small(Path(folder))
        if args.large:
            large(Path(folder))
    return None


if __name__ == "__main__":
    main()
