"""FAISS's index of a snapshot's live rows, on the disk; its lists are mapped and read as they are looked at."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from itae.base.errors import UserError
from itae.knowledge.near.held_out import draw
from itae.knowledge.near.index_kind import ROWS, Search, blocks
from itae.knowledge.records.snapshot import Snapshot
from itae.measure.faiss_backend import load_faiss, threads

_INDEX, _LISTS = "index.faiss", "lists.ivfdata"
_TRAINED_ON, _TRAINED_BYTES = 65_536, 2**27  # rows and bytes at most: FAISS takes three times as many
_CODES = 2**28  # bytes of codes in memory as the lists of an IVF are made


@dataclass(frozen=True)
class FaissIndex:
    """An index by FAISS's factory string, as ``IVF1024,PQ64``; an `itae.knowledge.near.index_kind.Kind`.

    By default an IVF looks into an eighth of its lists, at least 8. A search is FAISS's, as ``nprobe=32``.
    """

    factory: str

    @property
    def version(self) -> str:
        """FAISS and its version."""
        return f"FAISS {load_faiss().__version__}"

    def make(self, snapshot: Snapshot, folder: Path) -> str:
        """Train an index on a draw of rows, and write it with all of them."""
        faiss = load_faiss()
        with threads(faiss):
            index = _trained(faiss, snapshot, self.factory)
            _fill(faiss, snapshot, index, folder)
        return _default_search(faiss, index)

    def read(self, folder: Path, search: str) -> Search:
        """Open an index without reading its lists."""
        faiss = load_faiss()
        index = _read(faiss, folder, search)

        def numbers(queries_QE: np.ndarray, count: int) -> np.ndarray:
            with threads(faiss):
                return np.asarray(index.search(queries_QE, count)[1])

        return numbers


def _trained(faiss: Any, snapshot: Snapshot, factory: str) -> Any:
    try:
        index = faiss.index_factory(snapshot.vectors_ME.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise UserError(
            f"knowledge.index={factory!r} is no index that FAISS makes of {snapshot.vectors_ME.shape[1]} numbers a row "
            f"({_said(error)}); write one such as IVF1024,PQ64, or lance:IVF_PQ."
        ) from error
    rows = draw(snapshot, snapshot.live, min(_TRAINED_ON, _TRAINED_BYTES // (4 * snapshot.vectors_ME.shape[1])))
    try:
        index.train(np.ascontiguousarray(snapshot.vectors_ME[rows], np.float32))
    except RuntimeError as error:
        raise UserError(
            f"knowledge.index={factory!r} can't be made of {len(snapshot)} rows ({_said(error)}); take fewer "
            "lists or smaller codes, or knowledge.index=null, which is exact."
        ) from error
    return index


def _fill(faiss: Any, snapshot: Snapshot, index: Any, folder: Path) -> None:
    """Write an index of all live rows; lists of an IVF that are too large for memory are put together on the disk."""
    ivf = _ivf(faiss, index)
    step = len(snapshot) if ivf is None else max(ROWS, _CODES // max(1, int(ivf.code_size)))
    if step >= len(snapshot):
        for _, vectors in blocks(snapshot, 0, len(snapshot)):
            index.add(vectors)
        faiss.write_index(index, str(folder / _INDEX))
        return
    from faiss.contrib.ondisk import merge_ondisk

    empty, parts = faiss.serialize_index(index), []
    for start in range(0, len(snapshot), step):
        part = faiss.deserialize_index(empty)
        for rows, vectors in blocks(snapshot, start, min(start + step, len(snapshot))):
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


def _read(faiss: Any, place: Path, search: str) -> Any:
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
        raise UserError(f"{search!r} is no search of this index ({_said(error)}); one is nprobe=32.") from error
    return index


def _default_search(faiss: Any, index: Any) -> str:
    ivf = _ivf(faiss, index)
    return "" if ivf is None else f"nprobe={min(ivf.nlist, max(8, ivf.nlist // 8))}"


def _ivf(faiss: Any, index: Any) -> Any:
    try:
        return faiss.extract_index_ivf(index)
    except RuntimeError:
        return None


def _said(error: Exception) -> str:
    """Return what FAISS says, without where in its own code."""
    said = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
    return re.sub(r"^Error in .* at \S+:\d+: (Error: '.*' failed: )?", "", said).strip()[:160]
