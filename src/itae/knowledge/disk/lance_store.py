"""Rows in a Lance dataset, which LanceDB's own client opens as well.

Lance has versions and no checksums. So every file of a version is hashed when it is written, its manifest too, and
again before anything of it is used (`LanceStore.files`); what was read is held against the journal's digests besides.
A damaged file may end in an error or in a panic of a Rust thread: both are `Damaged` here. A Lance version that no edit
in the journal names is what a writer left that died: `write` goes back to the one that it is given first.

Lance's threads don't survive a fork: processes that use a base are spawned.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import xxhash

from itae.base.disk import disk_trouble_told
from itae.base.errors import UserError
from itae.knowledge.disk.addresses import Addresses
from itae.knowledge.disk.folder import is_url
from itae.knowledge.disk.lance_files import (
    first_line,
    hash_of,
    lance_here,
    names_of,
    remove_unneeded,
    settle,
    trouble_in,
    trouble_of_lance,
)
from itae.knowledge.disk.lance_rows import BATCH, check_labels, metadata_of, reader_of, schema_of, vectors_of
from itae.knowledge.disk.vector_file import VectorFile
from itae.knowledge.records.filed import FIELDS, Filed, Room
from itae.knowledge.records.ranges import Range
from itae.knowledge.records.sealed import Damaged
from itae.knowledge.records.snapshot import whole
from itae.knowledge.records.where import quoted

if TYPE_CHECKING:
    import lance

log = logging.getLogger(__name__)

_VECTORS = 2048  # vectors read at a time, of which Lance holds several times as many
_FILE = 262_144  # rows in a file, at most
_SMALL = 4096  # rows in a file below which it is put together with others
_BY_ADDRESS = 1000  # rows to take away; of more, conditions on numbers are shorter
_READ_AHEAD = 16 * 2**20  # bytes; Lance's own bound is 2 GiB


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
        self._addresses: Addresses | None = None

    def read(self, version: int, beside: Path | None = None) -> Filed:
        """Return all rows of a version, by number.

        Parameters
        ----------
        version
            Of the store.
        beside
            A file in which vectors are, or are to be put, and stay; by default they come into memory.

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
            room: Room | None = None
            if beside is None:
                vectors, room = _in_memory(dataset, len(numbers), place)
            else:
                vectors = _in_file(dataset, len(numbers), place, beside)  # type: ignore[assignment]
            columns = _columns(dataset, len(numbers))
            columns = columns.combine_chunks() if order is None else columns.take(pa.array(order)).combine_chunks()
            check_labels(columns)
        return Filed(columns.drop_columns(["label"]), vectors, room)

    def rows(self, version: int, numbers: Iterable[Range]) -> tuple[Filed, list[bytes]]:
        """Return the rows of a version with some numbers, and the checksums that stand beside them."""
        with trouble_of_lance():
            dataset = self._at(version)
            found = dataset.to_table(
                filter=_within(list(numbers)), io_buffer_size=_READ_AHEAD, batch_size=BATCH
            ).combine_chunks()
            found.validate(full=True)
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
        """Take rows away by their numbers, and then put others in; return the version made.

        Parameters
        ----------
        version
            The one to start from, 0 for none: what was written after it goes.

        Raises
        ------
        UserError
            When another process has written in between, which the base's lock forbids where there is one.
        """
        with trouble_of_lance():
            dataset = self._back_to(version)
            expected = dataset.version if dataset is not None else None
            removed = list(removed)
            addresses = self._addresses_of(dataset, bool(removed))
            for some in _chunks(removed):
                assert dataset is not None, "there are rows to take away"
                assert expected is not None
                assert addresses is not None
                _delete(dataset, some, addresses)
                expected += 1
            if put is not None and len(put) and dataset is not None and expected is not None:
                expected += self._widened(dataset, put) + 1
                dataset.insert(reader_of(put, dataset.schema), mode="append", max_rows_per_file=_FILE)
            elif put is not None and len(put):
                rows, schema = reader_of(put, schema_of(put)), schema_of(put)
                dataset = lance_here().write_dataset(rows, self.uri, schema, "overwrite", max_rows_per_file=_FILE)
            assert dataset is not None, "an edit changes something"
            if expected not in (None, dataset.version):
                raise UserError(f"Somebody else writes into {self.uri} in this moment: nothing of this edit counts.")
            self._open, self._addresses = dataset, addresses
            if addresses is not None:
                addresses.follow(dataset, put)
            settle(dataset, self._hashes)
            return int(dataset.version)

    def _addresses_of(self, dataset: lance.LanceDataset | None, needed: bool) -> Addresses | None:
        """Return where rows lie before an edit, None where that is neither known nor needed."""
        known = self._addresses
        if dataset is not None and known is not None and known.version == dataset.version:
            return known
        return Addresses(dataset) if dataset is not None and needed else None

    def _widened(self, dataset: lance.LanceDataset, put: Filed) -> int:
        """Give a dataset the columns of metadata that are new in some rows; return how many versions that made."""
        new = [pa.field(name, kind) for name, kind in put.metadata.items() if name not in dataset.schema.names]
        if new:
            dataset.add_columns(new)
        return int(bool(new))

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
            settle(dataset, self._hashes)
            return int(dataset.version)

    def forget(self, version: int) -> None:
        """Remove every other version, and all files that this one doesn't need."""
        with trouble_of_lance():
            dataset = self._back_to(version)
            if dataset is None:
                return
            dataset.cleanup_old_versions(timedelta(0), delete_unverified=True, error_if_tagged_old_versions=False)
            if self._local is not None:
                remove_unneeded(self._local, set(names_of(dataset)))
            self._hashes.clear()

    def ahead(self, version: int) -> bool:
        """Whether there is a later version than this one; on a disk it is told by the names of files, unread."""
        if self._local is None:
            with trouble_of_lance():
                return bool(version and self._at(version).latest_version != version)
        names = (path.stem for path in self._local.glob("_versions/*.manifest"))
        return any(name.isdecimal() and 2**64 - 1 - int(name) > version for name in names)

    def small_files(self, version: int) -> int:
        """Return how many small files a version has."""
        if not version:
            return 0
        return sum(fragment.physical_rows < _SMALL for fragment in self._at(version).get_fragments())

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
            names = names_of(self._at(version))
            for name in names:
                if name not in self._hashes:
                    self._hashes[name] = hash_of(self._local / name)
        told = "\n".join(f"{name} {self._hashes[name]}" for name in names)
        return xxhash.xxh3_128_hexdigest(told.encode())

    def _at(self, version: int) -> lance.LanceDataset:
        """Return the dataset at a version."""
        if self._open is None or self._open.version != version:
            lance = lance_here()
            with trouble_of_lance():
                try:
                    self._open = lance.dataset(self.uri, version=version)
                except ValueError as error:  # also where the files are gone
                    if trouble_in(error) is not None:
                        raise
                    raise Damaged(f"version {version} of rows.lance is gone ({first_line(error)})") from error
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


def _columns(dataset: lance.LanceDataset, count: int) -> pa.Table:
    """Read all but the vectors, in a scan of its own: a column of a batch holds the memory of all of them."""
    names = [*(each.name for each in FIELDS), *metadata_of(dataset.schema), "label"]
    columns = dataset.to_table(names, io_buffer_size=_READ_AHEAD, batch_size=BATCH)
    if len(columns) != count:
        raise Damaged(f"{len(columns):,} rows were read, and {count:,} counted")
    columns.validate(full=True)  # Lance doesn't: texts that are none would be found where nobody looks for damage
    return columns


def _vectors(
    dataset: lance.LanceDataset, count: int, place: np.ndarray | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Read the vectors, some at a time, each with the position where it belongs."""
    done = 0
    scan = dataset.scanner(
        ["vector"], batch_size=_VECTORS, io_buffer_size=_READ_AHEAD, batch_readahead=1, fragment_readahead=1
    )
    for batch in scan.to_batches():
        where = np.arange(done, done + len(batch))
        yield where if place is None else place[where], vectors_of(batch.column("vector"))
        done += len(batch)
    if done != count:
        raise Damaged(f"{done:,} vectors were read, and {count:,} rows counted")


def _in_memory(dataset: lance.LanceDataset, count: int, place: np.ndarray | None) -> tuple[np.ndarray, Room]:
    room = Room(count, dataset.schema.field("vector").type.list_size)
    vectors = room.first(count)
    for where, some in _vectors(dataset, count, place):
        together = where[-1] - where[0] == len(where) - 1 and (np.diff(where) == 1).all()
        vectors[slice(where[0], where[-1] + 1) if together else where] = some  # twice as fast where they lie together
    return vectors, room


def _in_file(dataset: lance.LanceDataset, count: int, place: np.ndarray | None, file: Path) -> VectorFile:
    if file.exists():
        return VectorFile(file)
    width = dataset.schema.field("vector").type.list_size
    with disk_trouble_told(file.parent):
        return VectorFile.written(file, count, width, _vectors(dataset, count, place))


def _delete(dataset: lance.LanceDataset, numbers: list[Range], addresses: Addresses) -> None:
    """Take rows away by their numbers: few by their addresses, which is quicker."""
    count = sum(last - first + 1 for first, last in numbers)
    rows = dataset.count_rows()
    if count <= _BY_ADDRESS:
        dataset.delete(f"_rowaddr IN ({', '.join(map(str, addresses.of(numbers)))})")
    else:
        dataset.delete(_within(numbers))
    if dataset.count_rows() != rows - count:
        raise Damaged(f"{count:,} rows were to go of {rows:,}, and {dataset.count_rows():,} are left")


def _chunks(ranges: list[Range], size: int = 1000) -> Iterator[list[Range]]:
    """Yield some ranges at a time: a condition may not be endless."""
    for i in range(0, len(ranges), size):
        yield ranges[i : i + size]


def _within(ranges: list[Range]) -> str:
    """Return the condition that a row's number lies in one of some ranges."""
    alone = ", ".join(str(first) for first, last in ranges if first == last)
    asked = [f"number IN ({alone})"] if alone else []
    asked += [f"(number BETWEEN {first} AND {last})" for first, last in ranges if first < last]
    return " OR ".join(asked) or "false"


def _reason(error: Exception) -> str:
    """Return what Lance says of a condition, without where in its own code."""
    text = re.sub(r",?\s*/?[^\s]*\.rs:\d+:\d+.*", "", first_line(error))
    text = re.sub(r"\. Valid fields are .*", "", text)  # its own among them; those of a row are told beside this
    return re.sub(r"^LanceError\(\w+\):\s*", "", text).rstrip(". ") or "it can't be read"
