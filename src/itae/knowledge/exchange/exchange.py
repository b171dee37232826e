"""Rows to and from other programs: NumPy's and text files in a folder, or one Parquet file.

A folder has ``vectors.npy`` (float32 [N, E]), ``ids.txt`` (one a line, in the same order), ``digests.npy`` (uint8
[N, 32], the sha256 of the images; zeros where there is none) and ``labels.csv`` (``id,label``, a line for each label of
a row). A Parquet file has all columns. What is taken back has the same bits: ids, labels, vectors, digests, and from
Parquet also groups, places, sources and metadata. Numbers and times are given anew.
"""

from __future__ import annotations

import contextlib
import csv
import os
import shutil
import uuid
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from itae.base.errors import UserError
from itae.base.place import at_home
from itae.knowledge.records.filed import NO_IMAGE, OURS
from itae.knowledge.records.rows import Rows
from itae.knowledge.records.snapshot import Snapshot, whole
from itae.store.arrays import npy, npy_header

_BLOCK = 8192  # rows at a time


def export(snapshot: Snapshot, path: str | os.PathLike[str]) -> None:
    """Write the rows of a snapshot, at once or not at all: into a Parquet file if `path` ends so, else into a folder.

    Raises
    ------
    UserError
        When there are no rows, there is something already, the disk can't be written, or an id holds a line break and
        goes into a folder.
    """
    to = at_home(path)
    if os.path.lexists(to):
        raise UserError(f"{to} is there already: give another name.")
    if not len(snapshot):
        raise UserError(
            f"Version {snapshot.version} of the base has no rows to export: add some, or name a version that has rows."
        )
    write = _to_parquet if to.suffix == ".parquet" else _to_folder
    unfinished = to.with_name(f".{to.name}-{uuid.uuid4().hex[:8]}.tmp")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        write(snapshot, unfinished)
        unfinished.rename(to)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise UserError(f"{to} can't be written ({reason}): give another name.") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        with contextlib.suppress(OSError):
            unfinished.unlink()


def _to_folder(snapshot: Snapshot, folder: Path) -> None:
    ids = [snapshot.ids[i] for i in snapshot.live.tolist()]
    broken = next((each for each in ids if len(each.splitlines()) != 1), None)
    if broken is not None:
        raise UserError(
            f"The id {broken!r} holds a line break and can't stand in ids.txt: export into a .parquet file."
        )
    folder.mkdir()
    with (folder / "vectors.npy").open("wb") as file:
        file.write(npy_header(len(ids), snapshot.vectors_ME.shape[1]))
        for some in _blocks(snapshot):
            file.write(np.ascontiguousarray(snapshot.vectors_ME[some], "<f4").tobytes())
    (folder / "ids.txt").write_bytes("".join(f"{each}\n" for each in ids).encode())
    (folder / "digests.npy").write_bytes(npy(snapshot.digests_M32[snapshot.live]))
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as text:
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(["id", "label"])
        held = zip(ids, snapshot.live.tolist(), strict=True)
        lines.writerows([each, label] for each, i in held for label in sorted(snapshot.labels_of(i)))


def _to_parquet(snapshot: Snapshot, file: Path) -> None:
    from pyarrow import parquet

    with contextlib.ExitStack() as stack:
        writer = None
        for some in _blocks(snapshot):
            rows = snapshot.filed(some)
            flat = pa.array(np.ascontiguousarray(rows.vectors_NE).reshape(-1))
            vectors = pa.FixedSizeListArray.from_arrays(flat, snapshot.vectors_ME.shape[1])
            table = rows.columns.append_column("vector", vectors)
            writer = writer or stack.enter_context(parquet.ParquetWriter(file, table.schema))
            writer.write_table(table)


def _blocks(snapshot: Snapshot) -> Iterator[np.ndarray]:
    for i in range(0, len(snapshot.live), _BLOCK):
        yield snapshot.live[i : i + _BLOCK]


def rows_from(path: str | os.PathLike[str], source: str | None = None) -> Rows:
    """Return the rows that lie in a Parquet file, or in a folder; its vectors are mapped, and read as they are added.

    Parameters
    ----------
    path
        As `export` writes it, or somebody else: of a folder vectors and ids are needed, of a Parquet file ``id`` and
        ``vector``.
    source
        Of all rows; by default what Parquet says, or the name of the folder or file.

    Raises
    ------
    UserError
        When something is missing or doesn't fit together.
    """
    at = at_home(path)
    if not at.exists():
        raise UserError(f"There is nothing at {at}: give a folder with vectors.npy and ids.txt, or a .parquet file.")
    return _from_folder(at, source or at.name) if at.is_dir() else _from_parquet(at, source)


def _from_folder(folder: Path, source: str) -> Rows:
    for name in ("vectors.npy", "ids.txt"):
        if not (folder / name).is_file():
            raise UserError(f"{folder} has no {name}: rows are vectors.npy and ids.txt, one id a line.")
    vectors, digests = _array(folder / "vectors.npy", "r"), folder / "digests.npy"
    if vectors.ndim != 2 or vectors.dtype.kind != "f":
        raise UserError(f"{folder}/vectors.npy holds {vectors.dtype} {vectors.shape}: rows are numbers, [N, E].")
    ids = (folder / "ids.txt").read_bytes().decode().split("\n")
    ids = ids[:-1] if ids[-1] == "" else ids
    if len(ids) != len(vectors):
        raise UserError(f"{folder} has {len(vectors):,} vectors and {len(ids):,} ids: it takes as many of both.")
    labels = _labels(folder / "labels.csv", ids)
    return Rows(ids, vectors, labels, source, _array(digests) if digests.exists() else None)


def _array(file: Path, mode: Literal["r"] | None = None) -> np.ndarray:
    try:
        found: np.ndarray = np.load(file, mmap_mode=mode, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise UserError(
            f"{file} can't be read ({error}): it must be a file of NumPy's, without pickled objects."
        ) from None
    return found


def _labels(file: Path, ids: list[str]) -> list[list[str]]:
    if not file.exists():
        return [[] for _ in ids]
    with file.open(encoding="utf-8", newline="") as text:
        lines = csv.DictReader(text)
        if not {"id", "label"} <= set(lines.fieldnames or ()):
            raise UserError(f"{file} has the columns {lines.fieldnames}: it takes id and label.")
        found = defaultdict(list)
        for line in lines:
            found[line["id"]].append(line["label"])
    unknown = next(iter(found.keys() - set(ids)), None)
    if unknown is not None:
        raise UserError(f"{file} has the id {unknown!r}, which is not in ids.txt.")
    return [found.get(each, []) for each in ids]


def _from_parquet(file: Path, source: str | None) -> Rows:
    from pyarrow import parquet

    try:
        table = parquet.read_table(file).combine_chunks()
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{file} is no Parquet file ({str(error).splitlines()[0]}).") from None
    for name in ("id", "vector"):
        if name not in table.column_names:
            raise UserError(f"{file} has no column {name!r}: rows have an id and a vector, and what else is known.")
    count, names = len(table), set(table.column_names)
    vectors = whole(table.column("vector"))
    if vectors.null_count or not count or len(vectors.flatten()) % count:
        raise UserError(f"{file} has vectors of different widths, or none.")

    def told(name: str, other: object) -> list[Any]:
        return list(table.column(name).to_pylist()) if name in names else [other] * count

    digests = np.frombuffer(b"".join(each or NO_IMAGE for each in told("sha256", NO_IMAGE)), np.uint8)
    return Rows(
        told("id", None),
        vectors.flatten().to_numpy(zero_copy_only=False).reshape(count, -1),
        [labels or [] for labels in told("labels", None)],
        source or told("source", file.stem),
        digests.reshape(count, 32),
        told("group", None),
        told("place", None),
        {name: whole(table.column(name)) for name in table.column_names if name not in OURS},
    )
