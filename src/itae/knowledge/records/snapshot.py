"""One version of a knowledge base in memory: what every answer is a function of.

A snapshot never changes; an edit makes another. The two share what the edit left as it was, the vectors first of all:
a row keeps its position, one that was deleted is dead, and new rows come behind. So an edit of a base of a million rows
costs what it changes.

Shapes: M positions, dead ones included, N live rows, E embedding width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itae.knowledge.records.filed import FIELDS, NO_IMAGE, OURS, Filed, Room, fixed_binary

NONE, SEVERAL = -1, -2
"""What stands for the label of a row that has none, and of one that has several."""


@dataclass(frozen=True, eq=False, repr=False)
class Snapshot:
    """One version of a base.

    Parameters
    ----------
    space
        What its vectors may be compared with: plain values, as `itae.store.entry.Key.space` has them.
    version
        How many edits made it; 0 is empty.
    root
        Hash of all that is in it, 64 hex digits.
    vectors_ME
        float32, of length 1.
    ids
        M different names among the live ones.
    alive_M
        bool: False where a row was deleted.
    labels_M
        int32: a position in `label_names`, or `NONE`, or `SEVERAL`.
    label_names
        Each once; some may have no row.
    several
        The labels of each row that has more than one, by its position.
    groups_M
        int64: equal for rows that belong together, by what was said of them or because they have the same bytes.
    digests_M32
        uint8, the sha256 of each image's bytes.
    table
        The columns ``group``, ``place``, ``source``, ``time`` and metadata, as they are on the disk, M rows.
    """

    space: dict[str, Any]
    version: int
    root: str
    vectors_ME: np.ndarray
    ids: Sequence[str]
    alive_M: np.ndarray
    labels_M: np.ndarray
    label_names: tuple[str, ...]
    several: Mapping[int, tuple[int, ...]]
    groups_M: np.ndarray
    digests_M32: np.ndarray
    table: pa.Table
    memo: dict[str, Any] = field(default_factory=dict)
    """What was found out about this version and takes long, by name."""
    numbers_M: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    """int64, the number of each row, by which the store knows it: given once, and kept while its bytes are the same."""
    next_number: int = 0
    """The first number that no row has had."""
    room: Room | None = field(default=None)
    """Where the vectors lie, with room for others behind."""

    def __len__(self) -> int:
        return len(self.live)

    def __repr__(self) -> str:
        return f"Snapshot(version={self.version}, rows={len(self)}, root={self.root[:16]!r})"

    @cached_property
    def live(self) -> np.ndarray:
        """The positions of the live rows, ascending, int64 [N]."""
        return np.flatnonzero(self.alive_M)

    @cached_property
    def position(self) -> dict[str, int]:
        """The position of each live row, by its id."""
        return {self.ids[i]: i for i in self.live.tolist()}

    @cached_property
    def rank_of_id(self) -> np.ndarray:
        """The place of each position's id among all, by which equal ones are put in order, int64 [M]."""
        rank_M = np.empty(len(self.ids), np.int64)
        rank_M[sorted(range(len(self.ids)), key=self.ids.__getitem__)] = np.arange(len(self.ids))
        return rank_M

    @cached_property
    def voters(self) -> np.ndarray:
        """The positions of the live rows that have a label, ascending: the others are found and never vote."""
        return self.live[self.labels_M[self.live] != NONE]

    @cached_property
    def label_counts(self) -> dict[str, int]:
        """How many live rows have each label that some have; a row with several counts in each."""
        codes_N = self.labels_M[self.live]
        rows = np.bincount(codes_N[codes_N >= 0], minlength=len(self.label_names))
        for i, some in self.several.items():
            rows[list(some)] += int(self.alive_M[i])
        return {name: int(n) for name, n in zip(self.label_names, rows, strict=True) if n}

    @cached_property
    def source_counts(self) -> dict[str, int]:
        """How many live rows are from each source."""
        counted = pc.value_counts(self.table.column("source").take(pa.array(self.live)))
        return {one["values"]: one["counts"] for one in counted.to_pylist()}

    def labels_of(self, i: int) -> tuple[str, ...]:
        """Return the labels of the row at position `i`, in the order of `label_names`."""
        code = int(self.labels_M[i])
        codes = self.several[i] if code == SEVERAL else (code,) if code >= 0 else ()
        return tuple(self.label_names[one] for one in codes)

    def column(self, name: str, i: int) -> Any:
        """Return what stands in a column of the table for the row at position `i`."""
        return self.table.column(name)[i].as_py()

    def filed(self, positions: np.ndarray) -> Filed:
        """Return some rows as they are kept."""
        where = pa.array(positions)
        columns = {
            "id": pa.array([self.ids[i] for i in positions.tolist()], pa.string()),
            "number": pa.array(self.numbers_M[positions]),
            "labels": pa.array([sorted(self.labels_of(i)) for i in positions.tolist()], pa.list_(pa.string())),
            "sha256": fixed_binary(self.digests_M32[positions]),
        } | {name: self.table.column(name).take(where) for name in self.table.column_names}
        order = [each.name for each in FIELDS] + [name for name in self.table.column_names if name not in OURS]
        types = {each.name: each for each in FIELDS}
        fields = [types.get(name) or self.table.schema.field(name) for name in order]
        return Filed(pa.table([columns[name] for name in order], pa.schema(fields)), self.vectors_ME[positions])


def empty(space: dict[str, Any], root: str) -> Snapshot:
    """Return version 0 of a base."""
    none, small = np.zeros(0, np.int64), np.zeros(0, np.int32)
    table = pa.schema([each for each in FIELDS if each.name in ("group", "place", "source", "time")]).empty_table()
    vectors, digests = np.zeros((0, 0), np.float32), np.zeros((0, 32), np.uint8)
    return Snapshot(space, 0, root, vectors, [], none.astype(bool), small, (), {}, none, digests, table)


def after(
    before: Snapshot,
    removed: np.ndarray,
    relabelled: Mapping[int, Sequence[str]],
    added: Filed | None,
    version: int,
    root: str = "",
) -> Snapshot:
    """Return the snapshot that an edit makes of another; what the edit left as it was is shared.

    Parameters
    ----------
    before
        The one in hand.
    removed
        Positions of rows that go.
    relabelled
        The labels, sorted, of rows that get others, by position.
    added
        Rows that come behind.
    version, root
        Of the new one.
    """
    alive, labels, several, names = before.alive_M, before.labels_M, dict(before.several), list(before.label_names)
    ids, numbers, digests = before.ids, before.numbers_M, before.digests_M32
    room, vectors, table, following = before.room, before.vectors_ME, before.table, before.next_number
    if len(removed):
        alive = alive.copy()
        alive[removed] = False
    if relabelled:
        labels = labels.copy()
        _label(labels, several, names, relabelled)
    if added is not None and len(added):
        table = _joined(before.table, added.columns)
        room, vectors = None, added.vectors_NE
        if isinstance(vectors, np.ndarray):  # others stay on the disk
            room = _room(before, added)
            vectors = room.first(len(before.vectors_ME) + len(added))
        alive = np.concatenate([alive, np.ones(len(added), bool)])
        labels = np.concatenate([labels, _coded(added.columns.column("labels"), names, several, len(labels))])
        ids = [*ids, *added.columns.column("id").to_pylist()]
        numbers = np.concatenate([numbers, added.columns.column("number").to_numpy()])
        digests = np.concatenate([digests, digests_of(added)])
        following = max(following, int(numbers.max()) + 1)
    stays = len(alive) == len(before.alive_M) and not len(removed)
    groups = before.groups_M if stays else joined(table.column("group"), digests, alive)
    made = Snapshot(
        before.space, version, root, vectors, ids, alive, labels, tuple(names), several, groups, digests, table,
        numbers_M=numbers, next_number=following, room=room,
    )  # fmt: skip
    if stays:
        share(before, made)
    return made


def share(before: Snapshot, made: Snapshot) -> None:
    """Give a snapshot what another of the same rows has found out about where they lie."""
    for name in ("live", "position"):
        if name in before.__dict__:
            made.__dict__[name] = before.__dict__[name]


def digests_of(rows: Filed) -> np.ndarray:
    """Return the sha256 of the images of some rows, uint8 [N, 32]."""
    column = whole(rows.columns.column("sha256"))
    return np.frombuffer(column.buffers()[1], np.uint8)[32 * column.offset :][: 32 * len(column)].reshape(-1, 32)


def whole(column: pa.ChunkedArray) -> pa.Array:
    """Return a column in one piece."""
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])


def _room(before: Snapshot, added: Filed) -> Room:
    held = len(before.vectors_ME)
    if not held:
        return added.room or Room(0, added.vectors_NE.shape[1]).behind(0, added.vectors_NE)
    room = before.room
    if room is None:  # a snapshot that somebody put together
        room = Room(0, before.vectors_ME.shape[1]).behind(0, before.vectors_ME)
    return room.behind(held, added.vectors_NE)


_MANY = 64  # chunks of a table, which are put together then: looking something up stays quick


def _joined(table: pa.Table, added: pa.Table) -> pa.Table:
    """Return a table with the columns of rows behind; where one of the two lacks a column, it holds nothing there."""
    ours = [name for name in added.column_names if name in table.column_names or name not in OURS]
    joined = pa.concat_tables([table, added.select(ours)], promote_options="default")
    return joined.combine_chunks() if joined.column(0).num_chunks > _MANY else joined


def _label(
    labels_M: np.ndarray, several: dict[int, tuple[int, ...]], names: list[str], given: Mapping[int, Sequence[str]]
) -> None:
    """Write the labels of some rows into the arrays, and new labels behind the names."""
    known = {name: code for code, name in enumerate(names)}
    for i, labels in given.items():
        several.pop(i, None)
        for label in labels:
            if label not in known:
                known[label] = len(names)
                names.append(label)
        codes = sorted(known[label] for label in labels)
        labels_M[i] = NONE if not codes else codes[0] if len(codes) == 1 else SEVERAL
        if len(codes) > 1:
            several[i] = tuple(codes)


def _coded(column: pa.ChunkedArray, names: list[str], several: dict[int, tuple[int, ...]], first: int) -> np.ndarray:
    """Return the codes of rows that lie from position `first` on; new labels come behind the names, sorted."""
    lists = whole(column)
    coded = lists.flatten().dictionary_encode()
    there = coded.dictionary.to_pylist()
    names += sorted(set(there) - set(names))
    known = {name: code for code, name in enumerate(names)}
    flat = np.array([known[name] for name in there], np.int32)[coded.indices.to_numpy()]
    counts = lists.value_lengths().to_numpy()
    ends = np.cumsum(counts)
    labels = np.full(len(lists), NONE, np.int32)
    labels[counts == 1] = flat[ends[counts == 1] - 1]
    labels[counts > 1] = SEVERAL
    for i in np.flatnonzero(counts > 1).tolist():
        several[first + i] = tuple(sorted(flat[ends[i] - counts[i] : ends[i]].tolist()))
    return labels


def joined(group: pa.ChunkedArray, digests_M32: np.ndarray, alive_M: np.ndarray) -> np.ndarray:
    """Return equal numbers for live rows that are joined by a group or by their bytes, through others if need be.

    Parameters
    ----------
    group
        The name of each row's group, or null.
    digests_M32, alive_M
        As a snapshot has them; a row that is dead is joined to none.
    """
    count = len(alive_M)
    alone = np.arange(count, dtype=np.int64)
    images = fixed_binary(digests_M32)
    known = pc.not_equal(images, pa.scalar(NO_IMAGE, pa.binary(32)))
    by_group, by_bytes = _first_of(whole(group), alive_M), _first_of(pc.if_else(known, images, None), alive_M)
    if (by_group == alone).all():
        return by_bytes
    if (by_bytes == alone).all():
        return by_group
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = np.concatenate([by_group, by_bytes]), np.concatenate([alone, alone])
    joined = coo_array((np.ones(2 * count, bool), ends), shape=(count, count))
    return connected_components(joined, directed=False)[1].astype(np.int64)


def _first_of(column: pa.Array, alive_M: np.ndarray) -> np.ndarray:
    """Return for each position the first live one that holds the same, its own where it holds nothing or is dead."""
    codes = column.dictionary_encode()
    indices = pc.fill_null(codes.indices, -1).to_numpy(zero_copy_only=False)
    found = np.arange(len(indices), dtype=np.int64)
    held = np.flatnonzero((indices >= 0) & alive_M)
    first = np.full(len(codes.dictionary), len(indices), np.int64)
    first[indices[held[::-1]]] = held[::-1]  # the first is written last
    found[held] = first[indices[held]]
    return found
