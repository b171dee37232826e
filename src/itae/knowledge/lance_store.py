"""Rows in a Lance dataset, which LanceDB's own client opens as well: the only module that imports `lance`.

Lance has versions and no checksums. So every file of a version is hashed when it is written, its manifest too, and
again before anything of it is used (`LanceStore.files`); what was read is held against the journal's digests besides.
A damaged file may end in an error or in a panic of a Rust thread: both are `Damaged` here. A Lance version that no edit
in the journal names is what a writer left that died: `write` goes back to the one that it is given first.

Lance's threads don't survive a fork: processes that use a base are spawned.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from itae.base.errors import UserError
from itae.knowledge.filed import FIELDS, Filed, Room
from itae.knowledge.folder import is_url
from itae.knowledge.lance_rows import BATCH, check_labels, metadata_of, reader_of, schema_of, vectors_of
from itae.knowledge.ranges import Range
from itae.knowledge.sealed import Damaged
from itae.knowledge.snapshot import whole
from itae.knowledge.where import quoted

if TYPE_CHECKING:
    import lance

log = logging.getLogger(__name__)

_VECTORS = 2048  # vectors read at a time, of which Lance holds several times as many
_WRITE = 65_536  # rows written at a time
_FILE = 262_144  # rows in a file, at most
_SMALL = 4096  # rows in a file below which it is put together with others
_READ_AHEAD = 16 * 2**20  # bytes; Lance's own bound is 2 GiB
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL)  # of a name that is damaged
_OS_ERROR = re.compile(r"os error (\d+)")


def lance_here() -> Any:
    """Import Lance, which is optional, and have it keep its warnings to itself."""
    os.environ.setdefault("LANCE_LOG", "error")
    try:
        import lance
    except ImportError:
        raise UserError(
            "A knowledge base on a disk needs pylance, which is not installed: pip install 'itae[knowledge]'."
        ) from None
    return lance


@contextlib.contextmanager
def trouble_of_lance() -> Iterator[None]:
    """Raise what the disk can't do as OSError with its number, and what Lance makes of damage as `Damaged`."""
    try:
        yield
    except (UserError, Damaged, KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
        raise
    except BaseException as error:  # a panic of Rust's is no Exception
        found = _OS_ERROR.search(str(error))
        number = error.errno if isinstance(error, OSError) else None
        number = int(found[1]) if number is None and found else number
        if number is not None and number not in _NOT_THERE:
            raise OSError(number, os.strerror(number)) from error
        raise Damaged(f"Lance can't read it: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


class LanceStore:
    """Rows of a base in ``rows.lance``, in versions.

    Parameters
    ----------
    where
        The base's folder, or its URL.
    """

    kind = "lance"

    def __init__(self, where: str) -> None:
        lance_here()
        self.uri = f"{where}/rows.lance"
        self._local = None if is_url(where) else Path(self.uri)
        self._open: lance.LanceDataset | None = None
        self._hashes: dict[str, str] = {}

    def read(self, version: int) -> Filed:
        """Return all rows of a version, by number.

        Raises
        ------
        Damaged
            When Lance can't read it.
        """
        with trouble_of_lance():
            dataset = self._at(version)
            numbers = whole(dataset.to_table(columns=["number"]).column("number")).to_numpy()
            order = np.argsort(numbers, kind="stable") if (np.diff(numbers) < 0).any() else None
            place = None if order is None else np.argsort(order)
            columns, room = _filled(dataset, len(numbers), place)
        columns = columns.combine_chunks() if order is None else columns.take(pa.array(order)).combine_chunks()
        check_labels(columns)
        return Filed(columns.drop_columns(["label"]), room.first(len(columns)), room)

    def rows(self, version: int, numbers: Iterable[Range]) -> tuple[Filed, list[bytes]]:
        """Return the rows of a version with some numbers, and the checksums that stand beside them."""
        asked = " OR ".join(f"(number BETWEEN {first} AND {last})" for first, last in numbers) or "false"
        with trouble_of_lance():
            dataset = self._at(version)
            found = dataset.to_table(filter=asked, io_buffer_size=_READ_AHEAD, batch_size=BATCH).combine_chunks()
        sums = found.column("sum").to_pylist()
        columns = found.select([each.name for each in FIELDS] + metadata_of(found.schema))
        return Filed(columns, vectors_of(found.column("vector"))), sums

    def where(self, version: int, expression: str) -> np.ndarray:
        """Return the numbers of the rows of a version that a SQL condition holds for, ascending.

        Raises
        ------
        UserError
            When it is no condition on these columns.
        """
        dataset = self._at(version)
        columns = [name for name in dataset.schema.names if name not in ("vector", "sum")]
        try:
            found = dataset.to_table(columns=["number"], filter=quoted(expression))
        except Exception as error:
            raise UserError(
                f"{expression!r} is no condition on {', '.join(columns)} ({_reason(error)}): write one of SQL's, "
                "such as label = 'cat' AND source LIKE 'web%'."
            ) from None
        return np.sort(whole(found.column("number")).to_numpy())

    def write(self, version: int, put: Filed | None, removed: Iterable[Range]) -> int:
        """Put rows in, over those of the same ids, and take others away by their numbers; return the version made.

        Parameters
        ----------
        version
            The one to start from, 0 for none: what was written after it goes.
        """
        with trouble_of_lance():
            dataset = self._back_to(version)
            for first, last in _chunks(list(removed)):
                assert dataset is not None, "there are rows to take away"
                dataset.delete(" OR ".join(f"(number BETWEEN {a} AND {b})" for a, b in zip(first, last, strict=True)))
            if put is not None and len(put):
                dataset = self._put(dataset, put)
            assert dataset is not None, "an edit changes something"
            self._open = dataset
            self._flush(dataset)
            return int(dataset.version)

    def _put(self, dataset: lance.LanceDataset | None, put: Filed) -> lance.LanceDataset:
        schema = schema_of(put)
        if dataset is None:
            rows = reader_of(put, schema)
            return lance_here().write_dataset(rows, self.uri, schema, "overwrite", max_rows_per_file=_FILE)
        new = [schema.field(name) for name in put.metadata if name not in dataset.schema.names]
        if new:
            dataset.add_columns(new)
        schema = dataset.schema
        for i in range(0, len(put), _WRITE):
            some = Filed(put.columns.slice(i, _WRITE), put.vectors_NE[i : i + _WRITE])
            merge = dataset.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().use_index(False)
            merge.execute(reader_of(some, schema))
        return dataset

    def compact(self, version: int, all_of_it: bool) -> int:
        """Put small files together, or all; return the version made, the same one if there was nothing to do."""
        with trouble_of_lance():
            dataset = self._back_to(version)
            if dataset is None:
                return version
            dataset.optimize.compact_files(
                target_rows_per_fragment=_FILE if all_of_it else _SMALL,
                materialize_deletions_threshold=0.0 if all_of_it else 0.5,  # share of a file's rows that are gone
                num_threads=1,
                batch_size=1024,
            )
            self._open = dataset
            self._flush(dataset)
            return int(dataset.version)

    def forget(self, version: int) -> None:
        """Remove every other version, and all files that this one doesn't need."""
        with trouble_of_lance():
            dataset = self._back_to(version)
            if dataset is None:
                return
            dataset.cleanup_old_versions(timedelta(0), delete_unverified=True, error_if_tagged_old_versions=False)
            if self._local is not None:
                _remove_unneeded(self._local, set(self._names(dataset)))
            self._hashes.clear()

    def small_files(self, version: int) -> int:
        """Return how many small files a version has."""
        dataset = self._at(version)
        return sum(fragment.physical_rows < _SMALL for fragment in dataset.get_fragments()) if version else 0

    def files(self, version: int, known: bool = False) -> str | None:
        """Return a hash over the files of a version, None in an object store, which has checksums of its own.

        Parameters
        ----------
        known
            Whether a file that this object has hashed before may be taken as it was.
        """
        if self._local is None or not version:
            return None
        if not known:
            self._hashes.clear()
        with trouble_of_lance():
            names = self._names(self._at(version))
            for name in names:
                if name not in self._hashes:
                    with (self._local / name).open("rb") as file:
                        self._hashes[name] = hashlib.file_digest(file, "sha256").hexdigest()
        told = "\n".join(f"{name} {self._hashes[name]}" for name in names)
        return hashlib.sha256(told.encode()).hexdigest()

    def _names(self, dataset: lance.LanceDataset) -> list[str]:
        """Return the files of a version, within its folder."""
        found = [f"_versions/{2**64 - 1 - dataset.version:020d}.manifest"]
        for fragment in dataset.get_fragments():
            found += [f"data/{each.path}" for each in fragment.data_files()]
            deleted = fragment.deletion_file()
            found += [deleted] if deleted else []
        return sorted(found)

    def _flush(self, dataset: lance.LanceDataset) -> None:
        """Bring the new files of a version through to the disk: Lance doesn't."""
        if self._local is None:
            return
        new = [self._local / name for name in self._names(dataset) if name not in self._hashes]
        folders = {path.parent for path in new}
        with ThreadPoolExecutor(max(1, min(8, len(new)))) as pool:
            list(pool.map(_synced, [*new, *folders]))

    def _at(self, version: int) -> lance.LanceDataset:
        """Return the dataset at a version."""
        if self._open is None or self._open.version != version:
            lance = lance_here()
            with trouble_of_lance():
                try:
                    self._open = lance.dataset(self.uri, version=version)
                except ValueError as error:  # also where the files are gone
                    raise Damaged(f"version {version} of rows.lance is gone ({_first_line(error)})") from error
        return self._open

    def _back_to(self, version: int) -> lance.LanceDataset | None:
        """Return the dataset at a version which is its latest: what a dead writer left behind that one goes."""
        if not version:
            return None
        dataset = self._at(version)
        if dataset.latest_version != version:
            log.warning("%s has changes of a writer that died before its edit was one; they are left out.", self.uri)
            dataset.restore()
        return dataset


def _synced(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a folder, on some disks
            os.fsync(handle)
    finally:
        os.close(handle)


def _remove_unneeded(root: Path, needed: set[str]) -> None:
    """Remove what Lance's own cleaning leaves: files of writers that died, and transactions."""
    for name in ("data", "_deletions", "_transactions", "_versions"):
        folder = root / name
        for path in folder.iterdir() if folder.is_dir() else ():
            if f"{name}/{path.name}" not in needed and path.name != "latest_version_hint.json":
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _filled(dataset: lance.LanceDataset, count: int, place: np.ndarray | None) -> tuple[pa.Table, Room]:
    """Read a dataset: its columns as they come, and its vectors into one array, each where it belongs."""
    width = dataset.schema.field("vector").type.list_size
    names = [*(each.name for each in FIELDS), *metadata_of(dataset.schema), "label"]
    room, done = Room(count, width), 0
    vectors = room.first(count)
    # In two scans: a column of a batch holds the memory of all of them.
    columns = dataset.to_table(names, io_buffer_size=_READ_AHEAD, batch_size=BATCH)
    scan = dataset.scanner(
        ["vector"], batch_size=_VECTORS, io_buffer_size=_READ_AHEAD, batch_readahead=1, fragment_readahead=1
    )
    for batch in scan.to_batches():
        where = slice(done, done + len(batch)) if place is None else place[done : done + len(batch)]
        vectors[where] = vectors_of(batch.column("vector"))
        done += len(batch)
    if not done == len(columns) == count:
        raise Damaged(f"{done:,} vectors and {len(columns):,} rows were read, and {count:,} counted")
    return columns, room


def _chunks(ranges: list[Range], size: int = 500) -> Iterator[tuple[list[int], list[int]]]:
    """Yield the firsts and the lasts of some ranges at a time: a condition may not be endless."""
    for i in range(0, len(ranges), size):
        some = ranges[i : i + size]
        yield [first for first, _ in some], [last for _, last in some]


def _reason(error: Exception) -> str:
    """Return what Lance says of a condition, without where in its own code."""
    text = re.sub(r",?\s*/?[^\s]*\.rs:\d+:\d+.*", "", _first_line(error))
    return re.sub(r"^LanceError\(\w+\):\s*", "", text).rstrip(". ") or "it can't be read"
