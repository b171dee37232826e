"""Past memory: an index on the disk that says which rows may be near, and vectors that stay on the disk.

An index (FAISS's, by a factory string such as ``IVF1024,PQ64``; or whatever else has `Candidates`) gives candidates;
`itae.knowledge.neighbours` computes their similarities anew from the vectors themselves and puts them in order, so what
is found is told exactly, and only what is missed is the index's doing. How much that is has been measured: the recall
against exact search on a fixed draw of rows stands in the index and in every answer.

An index belongs to one content of a base, its root, and one order of its rows; for any other it is refused.

Shapes: M positions of a snapshot, N live rows, Q queries, L candidates, E embedding width.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import logging
import os
import shutil
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from itae.base.errors import UserError
from itae.base.progress import progress
from itae.knowledge.held_out import draw
from itae.knowledge.neighbours import INDEX, MISSING, Candidates, Excluded, nearest
from itae.knowledge.snapshot import Snapshot
from itae.measure.faiss_backend import load_faiss, threads

log = logging.getLogger(__name__)

_FORMAT = 1
_INDEX, _LISTS, _ABOUT = "index.faiss", "lists.ivfdata", "index.json"
_ROWS = 32_768  # at a time
_TRAINED_ON = 65_536  # rows at most
_CODES = 2**28  # bytes of codes in memory as the lists of an IVF are made
_RECALL_OF, _RECALL_AT = 100, 20  # queries and neighbours


@dataclass
class DiskIndex:
    """FAISS's index of a snapshot's live rows, on the disk; its lists are mapped and read as they are looked at.

    Parameters
    ----------
    index
        FAISS's.
    rows
        The position of each of its rows, int64 [N].
    about
        What stands beside it: root, factory, search, and ``recall`` with ``k``, ``queries``, ``recall`` and seconds.
    """

    index: Any
    rows: np.ndarray
    about: dict[str, Any]

    def candidates(self, queries_QE: np.ndarray, count: int) -> np.ndarray:
        """Return the positions of `count` rows that may be near each query, `MISSING` where it found fewer."""
        faiss = load_faiss()
        with threads(faiss):
            _, at_QL = self.index.search(np.ascontiguousarray(queries_QE, np.float32), min(count, len(self.rows)))
        return np.where(at_QL < 0, MISSING, self.rows[at_QL])

    @property
    def note(self) -> str:
        """How many of the nearest it finds, in words."""
        seen = self.about["recall"]
        return (
            f"found by the index {self.about['factory']} ({self.about['search'] or 'all of it'}), which has "
            f"{seen['recall']:.1%} of the {seen['k']} nearest that exact search finds, seen on {seen['queries']} rows"
        )


def use_index(snapshot: Snapshot, index: Candidates) -> None:
    """Have all answers of a snapshot look for neighbours among what an index gives."""
    snapshot.memo[INDEX] = index


def open_index(snapshot: Snapshot, folder: Path, factory: str, search: str | None = None) -> DiskIndex:
    """Return the index of a snapshot in a folder, made anew where there is none that fits.

    Parameters
    ----------
    snapshot
        The base; its vectors may be an `itae.knowledge.vector_file.VectorFile`.
    folder
        Where indexes of this base are: each in a folder named by root and factory. Those of other roots go once a new
        one stands.
    factory
        FAISS's index factory string, as ``IVF1024,PQ64``.
    search
        FAISS's parameters of a search, as ``nprobe=32``. By default an IVF looks into an eighth of its lists, at
        least 8.

    Raises
    ------
    UserError
        When FAISS knows no such index; when there are too few rows for it.
    """
    place = folder / f"{snapshot.root[:16]}-{hashlib.sha256(f'{factory}|{search}'.encode()).hexdigest()[:8]}"
    why = why_not(snapshot, place)
    if why:
        log.info("The index in %s %s: it is made anew.", place, why)
        build(snapshot, place, factory, search)
        for other in folder.iterdir():
            if other != place:
                shutil.rmtree(other, ignore_errors=True)
    about = json.loads((place / _ABOUT).read_text(encoding="utf-8"))
    return DiskIndex(_read(place, about["search"]), snapshot.live, about)


def why_not(snapshot: Snapshot, place: Path) -> str | None:
    """Return why an index can't be used for a snapshot, as "is of another root"; None if it can."""
    try:
        about = json.loads((place / _ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "isn't there"
    if about.get("format") != _FORMAT or about.get("faiss") != load_faiss().__version__:
        return "is of another version of itae or FAISS"
    if about["root"] != snapshot.root:
        return "is of another version of the base"
    if about["order"] != _order(snapshot):
        return "has the rows in another order"
    damaged = [name for name, digest in about["files"].items() if _digest(place / name) != digest]
    return f"is damaged ({', '.join(damaged)})" if damaged else None


def build(snapshot: Snapshot, place: Path, factory: str, search: str | None = None) -> None:
    """Make an index of a snapshot's live rows in the folder `place`, with less memory than the vectors take."""
    faiss = load_faiss()
    unfinished = place.with_name(f".{place.name}-{uuid.uuid4().hex}")
    unfinished.mkdir(parents=True)
    try:
        with threads(faiss):
            index = _trained(faiss, snapshot, factory)
            _fill(faiss, snapshot, index, unfinished)
        search = search or _default_search(faiss, index)
        about = {"format": _FORMAT, "faiss": faiss.__version__, "root": snapshot.root, "order": _order(snapshot)}
        about |= {"factory": factory, "search": search, "rows": len(snapshot)}
        made = DiskIndex(_read(unfinished, search), snapshot.live, about)
        about["recall"] = recall(snapshot, made)
        del made
        about["files"] = {path.name: _digest(path) for path in sorted(unfinished.iterdir())}
        (unfinished / _ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")
        shutil.rmtree(place, ignore_errors=True)
        unfinished.rename(place)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def recall(snapshot: Snapshot, index: Candidates, queries: int = _RECALL_OF, k: int = _RECALL_AT) -> dict[str, Any]:
    """Return how many of the `k` nearest rows an index has, of a fixed draw of rows, each one left out itself.

    ``{recall, k, queries, seconds, exact_seconds}``: the mean share over `queries`, and what a search took.
    """
    drawn = draw(snapshot, snapshot.live, queries)
    itself = Excluded(np.arange(len(snapshot.alive_M)), drawn)
    vectors, found, seconds = snapshot.vectors_ME[drawn], [], []
    for some in (index, None):
        began = time.perf_counter()
        found.append(nearest(snapshot, vectors, k, excluded=itself, index=some)[0])
        seconds.append(time.perf_counter() - began)
    same = [len(set(a) & set(b) - {MISSING}) / max(1, (b != MISSING).sum()) for a, b in zip(*found, strict=True)]
    share = float(np.mean(same)) if len(drawn) > 1 else 1.0
    told = {"recall": share, "k": k, "queries": len(drawn)}
    return told | {"seconds": round(seconds[0], 3), "exact_seconds": round(seconds[1], 3)}


def _trained(faiss: Any, snapshot: Snapshot, factory: str) -> Any:
    try:
        index = faiss.index_factory(snapshot.vectors_ME.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise UserError(
            f"knowledge.index={factory!r} is no index that FAISS makes of {snapshot.vectors_ME.shape[1]} numbers a row "
            f"({_first_line(error)}); write one such as IVF1024,PQ64."
        ) from error
    rows = draw(snapshot, snapshot.live, _TRAINED_ON)
    try:
        index.train(np.ascontiguousarray(snapshot.vectors_ME[rows], np.float32))
    except RuntimeError as error:
        raise UserError(
            f"knowledge.index={factory!r} can't be made of {len(snapshot)} rows ({_first_line(error)}); take fewer "
            "lists or smaller codes, or knowledge.index=null, which is exact."
        ) from error
    return index


def _fill(faiss: Any, snapshot: Snapshot, index: Any, folder: Path) -> None:
    """Write an index of all live rows; lists of an IVF that are too large for memory are put together on the disk."""
    ivf = _ivf(faiss, index)
    step = len(snapshot) if ivf is None else max(_ROWS, _CODES // max(1, int(ivf.code_size)))
    if step >= len(snapshot):
        for _, vectors in _blocks(snapshot, 0, len(snapshot)):
            index.add(vectors)
        faiss.write_index(index, str(folder / _INDEX))
        return
    from faiss.contrib.ondisk import merge_ondisk

    empty, parts = faiss.serialize_index(index), []
    for start in range(0, len(snapshot), step):
        part = faiss.deserialize_index(empty)
        for rows, vectors in _blocks(snapshot, start, min(start + step, len(snapshot))):
            part.add_with_ids(vectors, rows)
        parts.append(str(folder / f"part{start}"))
        faiss.write_index(part, parts[-1])
        del part
    with _stdout_to_stderr():
        merge_ondisk(index, parts, str(folder / _LISTS))
    faiss.write_index(index, str(folder / _INDEX))
    for name in parts:
        os.unlink(name)


@contextlib.contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Have what a library prints go to stderr: stdout may be a program's JSON."""
    libc = ctypes.CDLL(None)
    sys.stdout.flush()
    libc.fflush(None)
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        libc.fflush(None)
        os.dup2(kept, 1)
        os.close(kept)


def _blocks(snapshot: Snapshot, start: int, end: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    with progress(len(snapshot), "index", "images", start) as advance:
        for first in range(start, end, _ROWS):
            rows = np.arange(first, min(first + _ROWS, end))
            yield rows, np.ascontiguousarray(snapshot.vectors_ME[snapshot.live[rows]], np.float32)
            advance(len(rows))


def _read(place: Path, search: str) -> Any:
    faiss = load_faiss()
    apart = (place / _LISTS).exists()
    index = faiss.read_index(str(place / _INDEX), faiss.IO_FLAG_SKIP_IVF_DATA if apart else faiss.IO_FLAG_MMAP)
    if apart:  # it names the file of its lists in the folder in which it was made
        lists = faiss.downcast_InvertedLists(_ivf(faiss, index).invlists)
        lists.filename, lists.read_only = str(place / _LISTS), True
        lists.do_mmap()
    try:
        for one in filter(None, search.split(",")):
            faiss.ParameterSpace().set_index_parameters(index, one)
    except RuntimeError as error:
        raise UserError(f"{search!r} is no search of this index ({_first_line(error)}); one is nprobe=32.") from error
    return index


def _default_search(faiss: Any, index: Any) -> str:
    ivf = _ivf(faiss, index)
    return "" if ivf is None else f"nprobe={min(ivf.nlist, max(8, ivf.nlist // 8))}"


def _ivf(faiss: Any, index: Any) -> Any:
    try:
        return faiss.extract_index_ivf(index)
    except RuntimeError:
        return None


def _order(snapshot: Snapshot) -> str:
    """Return a hash of the ids of the live rows in their order, by which an index counts them."""
    hashed = hashlib.sha256()
    ids: Sequence[str] = snapshot.ids
    for start in range(0, len(snapshot), _ROWS):
        hashed.update("\0".join(ids[i] for i in snapshot.live[start : start + _ROWS].tolist()).encode() + b"\0")
    return hashed.hexdigest()


def _digest(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1].strip()[:160] if str(error).strip() else type(error).__name__
