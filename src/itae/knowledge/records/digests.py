"""The checksums of a base: one a row, one a block of rows, one for all.

A row's ``sum`` is the BLAKE2b of 16 bytes over its fields, each with its length (8 bytes, little-endian) before it:
id; number (8 bytes); each label, after how many there are; vector (float32); group, place, source as texts, an absent
one as a length of 2^64 - 1; sha256; time (microseconds since 1970, 8 bytes); then name and value of each metadata
column that has one: a text, 8 bytes of a whole number or a number, 1 of true or false.

The digest of a block is a sha256 over the columns of its live rows, which are those with ``number // 1024`` in common,
by number: name, type and length of each column, then its bytes, as `_cut` has them. Nothing in it depends on where a
row lies, so opening a base takes a hash of its bytes and no loop over rows. A metadata column without a value in the
block is left out, so a new one leaves older blocks as they are. ``label`` and ``sum``
are not in it: both follow from the rest.

The root of a version is the sha256 of its space and its blocks' digests as JSON.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itae.knowledge.records.filed import OURS, Filed
from itae.knowledge.records.snapshot import NONE, SEVERAL, Snapshot
from itae.store.entry import canonical

SHIFT = 10
"""A block is 2 to the power of this many rows."""

_AT_A_TIME = 8  # blocks whose columns are brought to bytes together
_ABSENT = (2**64 - 1).to_bytes(8, "little")
Blocks = dict[int, str]


def root_of(space: Mapping[str, object], blocks: Blocks) -> str:
    """Return the hash of all that is in a version, 64 hex digits."""
    told = {"space": dict(space), "blocks": {str(block): digest for block, digest in blocks.items()}}
    return hashlib.sha256(canonical(told).encode("ascii")).hexdigest()


def block_digests(snapshot: Snapshot, blocks: np.ndarray | None = None) -> Blocks:
    """Return the digest of each block of a snapshot that has live rows, or of some `blocks`; 64 hex digits."""
    live = snapshot.live
    keys = snapshot.numbers_M[live] >> SHIFT
    if blocks is not None:
        chosen = np.isin(keys, blocks)
        live, keys = live[chosen], keys[chosen]
    numbers = snapshot.numbers_M[live]
    if (np.diff(numbers) < 0).any():
        order = np.argsort(numbers, kind="stable")
        live, keys = live[order], keys[order]
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    ends = np.append(starts[1:], len(keys))
    names = pa.array([_list([name]) for name in snapshot.label_names], pa.string())
    found: Blocks = {}
    for i in range(0, len(starts) if len(keys) else 0, _AT_A_TIME):
        some = slice(i, i + _AT_A_TIME)
        first = starts[i]
        columns = list(_columns(snapshot, live[first : ends[some][-1]], names))
        for start, end in zip(starts[some], ends[some], strict=True):
            found[int(keys[start])] = _digest(columns, start - first, end - first)
    return found


def _digest(columns: Iterable[_Column], start: int, end: int) -> str:
    checksum = hashlib.sha256()
    for column in columns:
        if (parts := column.cut(start, end)) is None:
            continue
        head = f"{column.name}\0{column.kind}\0{sum(part.nbytes for part in parts)}\0"
        checksum.update(len(head).to_bytes(8, "little") + head.encode())
        for part in parts:
            checksum.update(part)  # type: ignore[arg-type]
    return checksum.hexdigest()


@dataclass(frozen=True)
class _Column:
    """A column of some rows, and the bytes of the rows from one to another: None where it holds nothing there."""

    name: str
    kind: str
    cut: Callable[[int, int], list[np.ndarray] | None]


def _columns(snapshot: Snapshot, positions: np.ndarray, names: pa.Array) -> Iterator[_Column]:
    """Yield the columns of some rows."""
    first, count = int(positions[0]), len(positions)
    together = int(positions[-1]) - first + 1 == count and bool((np.diff(positions) == 1).all())
    where = slice(first, first + count) if together else positions

    def plain(array: np.ndarray) -> Callable[[int, int], list[np.ndarray]]:
        rows = array[where]
        return lambda start, end: [np.ascontiguousarray(rows[start:end])]

    yield _Column("number", "int64", plain(snapshot.numbers_M))
    ids = snapshot.ids[where] if isinstance(where, slice) else [snapshot.ids[i] for i in positions.tolist()]
    yield _Column("id", "string", _cut(pa.array(ids, pa.string()), True))
    yield _Column("labels", "list", _cut(_labels(snapshot, snapshot.labels_M[where], positions, names), True))
    yield _Column("vector", "float32", plain(snapshot.vectors_ME))
    yield _Column("sha256", "binary", plain(snapshot.digests_M32))
    for name in ("group", "place", "source", "time", *sorted(set(snapshot.table.column_names) - set(OURS))):
        column = snapshot.table.column(name)
        some = column.slice(first, count) if together else column.take(pa.array(where))
        yield _Column(name, str(some.type), _cut(some.combine_chunks(), name in OURS))


def _labels(snapshot: Snapshot, codes: np.ndarray, positions: np.ndarray, names: pa.Array) -> pa.Array:
    """Return the labels of some rows, each row's as a JSON list."""
    if (codes == SEVERAL).any():
        return pa.array([_list(snapshot.labels_of(i)) for i in positions.tolist()], pa.string())
    return pc.fill_null(names.take(pa.array(codes, mask=codes == NONE)), "[]")


def _list(labels: object) -> str:
    return json.dumps(sorted(labels), ensure_ascii=False, separators=(",", ":"))  # type: ignore[call-overload]


def _cut(column: pa.Array, always: bool) -> Callable[[int, int], list[np.ndarray] | None]:
    """Return what gives the bytes of a column from one row to another, None where all is null unless `always`.

    They are lengths of texts (int32, -1: none) and the texts; or which are there, as bits, and what, 0 where none is.
    """
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_string(column.type):
        lengths = np.ascontiguousarray(pc.fill_null(pc.binary_length(column), -1).to_numpy(zero_copy_only=False))
        texts = _bytes_of(column.drop_null() if column.null_count else column)
        bounds = np.concatenate([[0], np.cumsum(np.maximum(lengths, 0), dtype=np.int64)])
        there = lengths >= 0

        def parts(start: int, end: int) -> list[np.ndarray]:
            return [lengths[start:end], texts[bounds[start] : bounds[end]]]
    else:
        there = pc.is_valid(column).to_numpy(zero_copy_only=False)
        kind = pa.uint8() if pa.types.is_boolean(column.type) else column.type
        plain = column.cast(pa.int64()) if pa.types.is_timestamp(kind) else column.cast(kind)
        values = np.ascontiguousarray(pc.fill_null(plain, 0).to_numpy(zero_copy_only=False))

        def parts(start: int, end: int) -> list[np.ndarray]:
            return [np.packbits(there[start:end]), values[start:end]]

    return lambda start, end: parts(start, end) if always or there[start:end].any() else None


def _bytes_of(texts: pa.Array) -> np.ndarray:
    """Return the characters of a column of texts without a null, one after the other."""
    _, offsets, data = texts.buffers()
    if data is None or not len(texts):
        return np.zeros(0, np.uint8)
    bounds = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return np.frombuffer(data, np.uint8)[bounds[0] : bounds[-1]]


def row_sums(rows: Filed) -> list[bytes]:
    """Return the checksum of each row, 16 bytes."""
    columns = {name: rows.columns.column(name) for name in rows.columns.column_names}
    columns["time"] = columns["time"].cast(pa.int64())
    extra = [(name.encode(), columns[name].to_pylist()) for name in sorted(rows.metadata)]
    names = ("id", "number", "labels", "group", "sha256", "place", "source", "time")
    found = []
    for i, (each, number, labels, group, digest, place, source, time) in enumerate(
        zip(*(columns[name].to_pylist() for name in names), strict=True)
    ):
        fields = [_text(each), _whole(number), len(labels).to_bytes(8, "little"), *map(_text, labels)]
        fields += [_sized(rows.vectors_NE[i].tobytes()), _text(group), _text(place), _text(source), _sized(digest)]
        fields.append(_whole(time))
        fields += [_sized(name) + _sized(_value(values[i])) for name, values in extra if values[i] is not None]
        found.append(hashlib.blake2b(b"".join(fields), digest_size=16).digest())
    return found


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(8, "little") + data


def _text(text: str | None) -> bytes:
    return _ABSENT if text is None else _sized(text.encode())


def _whole(number: int) -> bytes:
    return _sized(number.to_bytes(8, "little", signed=True))


def _value(value: str | bool | int | float) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bool):
        return b"\1" if value else b"\0"
    if isinstance(value, int):
        return value.to_bytes(8, "little", signed=True)
    return np.float64(value).tobytes()
