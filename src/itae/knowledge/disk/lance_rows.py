"""Rows as Lance takes and gives them: batches of Arrow, with vectors, single labels and checksums among the columns."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itae.knowledge.records.digests import row_sums
from itae.knowledge.records.filed import FIELDS, OURS, Filed, fixed_binary
from itae.knowledge.records.sealed import Damaged
from itae.knowledge.records.snapshot import whole

BATCH = 8192
"""Rows at a time."""

_KEY = {"lance-schema:unenforced-primary-key": "true"}  # without it two who add one id at once both do (lancedb#3377)


def schema_of(rows: Filed) -> pa.Schema:
    """Return the schema of a dataset for such rows."""
    width = rows.vectors_NE.shape[1]
    by_name = {each.name: each for each in FIELDS}
    label, vector = pa.field("label", pa.string()), pa.field("vector", pa.list_(pa.float32(), width), nullable=False)
    ours = [by_name["id"].with_metadata(_KEY), by_name["number"], label, by_name["labels"], vector]
    ours += [by_name[name] for name in ("group", "sha256", "place", "source", "time")]
    extra = [pa.field(name, kind) for name, kind in sorted(rows.metadata.items())]
    return pa.schema([*ours, *extra, pa.field("sum", pa.binary(16), nullable=False)])


def reader_of(rows: Filed, schema: pa.Schema) -> pa.RecordBatchReader:
    """Return rows as Lance takes them, a few thousand at a time."""
    return pa.RecordBatchReader.from_batches(schema, _batches(rows, schema))


def _batches(rows: Filed, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for i in range(0, len(rows), BATCH):
        some = Filed(rows.columns.slice(i, BATCH), rows.vectors_NE[i : i + BATCH])
        columns = {name: whole(some.columns.column(name)) for name in some.columns.column_names}
        sums = np.frombuffer(b"".join(row_sums(some)), np.uint8).reshape(-1, 16)
        flat = pa.array(np.ascontiguousarray(some.vectors_NE).reshape(-1))
        columns |= {
            "label": only(columns["labels"]),
            "vector": pa.FixedSizeListArray.from_arrays(flat, rows.vectors_NE.shape[1]),
            "sum": fixed_binary(sums),
        }
        absent = {each.name: pa.nulls(len(some), each.type) for each in schema if each.name not in columns}
        columns |= absent
        yield pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


def only(labels: pa.Array) -> pa.Array:
    """Return the label of each row that has exactly one, else nothing."""
    counts = labels.value_lengths()
    first = np.cumsum(counts.to_numpy()) - counts.to_numpy()
    one = counts.to_numpy() == 1
    return labels.flatten().take(pa.array(np.where(one, first, 0), mask=~one)) if one.any() else _none(len(labels))


def _none(count: int) -> pa.Array:
    return pa.nulls(count, pa.string())


def vectors_of(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Return a column of vectors as an array, float32 [N, E]."""
    width = column.type.list_size
    if isinstance(column, pa.ChunkedArray):
        column = whole(column)
    if column.null_count:
        raise Damaged("a vector is missing")
    return column.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)


def metadata_of(schema: pa.Schema) -> list[str]:
    """Return the names of the metadata columns."""
    return [name for name in schema.names if name not in OURS]


def check_labels(columns: pa.Table) -> None:
    """Raise unless ``label``, which conditions are asked of, says what ``labels`` does."""
    told, meant = whole(columns.column("label")), only(whole(columns.column("labels")))
    if not told.equals(meant):
        differs = pc.fill_null(pc.not_equal(told, meant), True)
        bad = pc.and_(differs, pc.invert(pc.and_(pc.is_null(told), pc.is_null(meant))))
        ids = columns.column("id").filter(bad).to_pylist()
        raise Damaged(f"the label of {ids[:3]} isn't the one among its labels")
