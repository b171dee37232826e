"""Rows: what is known of each image, and what of it may be kept.

`Rows` is what somebody hands over; `filed` makes of it what is kept, checked, of length 1 and numbered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from mmap import mmap
from typing import Any

import numpy as np
import pyarrow as pa

from itae.base.errors import UserError
from itae.knowledge.records.filed import FIELDS, OURS, Filed, Room, fixed_binary
from itae.knowledge.records.similarity import of_length_1

KINDS = {pa.string(): "text", pa.int64(): "whole numbers", pa.float64(): "numbers", pa.bool_(): "true or false"}
"""What metadata may be."""

_BLOCK = 8192  # rows at a time
_RESERVED = ("_rowid", "_rowaddr", "_distance", "_score", "_rowoffset")


@dataclass(frozen=True, eq=False)
class Rows:
    """What is to be added: columns in one order.

    Parameters
    ----------
    ids
        N names, each once.
    vectors_NE
        Numbers; each row is brought to length 1. It may be mapped from a file.
    labels
        The labels of each row: none, one, several.
    source
        Where all of them come from, or the source of each.
    digests_N32
        uint8, the sha256 of each image's bytes; None where there are no images.
    groups
        What belongs together, such as a patient, or None.
    places
        The absolute path or URL of each image, or None.
    metadata
        Further columns by name: text, whole numbers, numbers, or true and false; None where a row has no value.
    image
        Returns the bytes of the image of the n-th row, for a base that keeps them.
    """

    ids: Sequence[str]
    vectors_NE: np.ndarray
    labels: Sequence[Sequence[str]]
    source: str | Sequence[str]
    digests_N32: np.ndarray | None = None
    groups: Sequence[str | None] | None = None
    places: Sequence[str | None] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    image: Callable[[int], bytes] | None = None

    def __len__(self) -> int:
        return len(self.ids)


def filed(rows: Rows, number: int, time: Any, known: Mapping[str, pa.DataType]) -> Filed:
    """Return rows as they are kept; the first gets `number`, and the others those that follow.

    Parameters
    ----------
    rows
        What is to be added.
    number
        The first that no row of the base has had.
    time
        Of adding: a datetime with its zone.
    known
        The metadata columns of the base, and their types.

    Raises
    ------
    UserError
        For what can't be kept; the first row of that kind is named.
    """
    count = len(rows)
    _check_columns(rows)
    ids = _texts("id", rows.ids)
    twice = _first_twice(rows.ids)
    if twice is not None:
        raise UserError(f"The id {twice!r} is there twice among the rows to add: an id names one row.")
    digests = np.zeros((count, 32), np.uint8) if rows.digests_N32 is None else rows.digests_N32
    columns = {
        "id": ids,
        "number": pa.array(np.arange(number, number + count, dtype=np.int64)),
        "labels": pa.array(labels_kept(rows.labels), pa.list_(pa.string())),
        "group": _texts("group", rows.groups or [None] * count),
        "sha256": fixed_binary(np.ascontiguousarray(digests)),
        "place": _texts("place", rows.places or [None] * count),
        "source": _texts("source", [rows.source] * count if isinstance(rows.source, str) else rows.source),
        "time": pa.array([time], pa.timestamp("us", tz="UTC")).take(pa.array(np.zeros(count, np.int64))),
    } | {name: _metadata(name, values, known.get(name)) for name, values in sorted(rows.metadata.items())}
    table = pa.table(columns, pa.schema([*FIELDS, *(pa.field(n, columns[n].type) for n in sorted(rows.metadata))]))
    room = _in_room(rows.vectors_NE, rows.ids)
    return Filed(table, room.first(count), room)


def _check_columns(rows: Rows) -> None:
    """Raise unless all columns are equally long."""
    count = len(rows)
    given = {
        "vectors": rows.vectors_NE,
        "labels": rows.labels,
        "digests": rows.digests_N32,
        "groups": rows.groups,
        "places": rows.places,
        "sources": None if isinstance(rows.source, str) else rows.source,
        **rows.metadata,
    }
    for name, column in given.items():
        if column is not None and len(column) != count:
            raise UserError(f"There are {count:,} ids and {len(column):,} {name}: each row has one of each.")
    for name in rows.metadata:
        if not isinstance(name, str) or name in OURS or name in _RESERVED or not name or any(c in name for c in ".`"):
            raise UserError(
                f"A column of metadata can't be called {name!r}: any name will do that isn't one of "
                f"{', '.join((*OURS, *_RESERVED))} and holds neither a dot nor a backtick."
            )
    if np.ndim(rows.vectors_NE) != 2:
        raise UserError(f"Vectors come as an array of rows and not in {np.ndim(rows.vectors_NE)} dimensions.")


def _texts(what: str, texts: Iterable[str | None]) -> pa.Array:
    """Return a column of texts, or say which of them can't be kept."""
    texts = texts if isinstance(texts, Sequence) else list(texts)
    needed = what in ("id", "source", "label")
    for text in texts:
        if text is None and not needed:
            continue
        if not isinstance(text, str) or (needed and not text):
            raise UserError(f"{text!r} is no {what}: it must be a text that isn't empty.")
    try:
        return pa.array(texts, pa.string())
    except (UnicodeEncodeError, pa.ArrowInvalid):
        for text in texts:
            if text is not None and _half(text):
                raise UserError(
                    f"The {what} {text!r} isn't whole text (a name that is no UTF-8, perhaps): rename it."
                ) from None
        raise


def _half(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def labels_kept(labels_of_each: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the labels of each row as they are kept: sorted, each once.

    Raises
    ------
    UserError
        For one that can't be kept.
    """
    for labels in labels_of_each:
        if isinstance(labels, str):
            raise UserError(f"The labels of a row come as a list, and {labels!r} is a text: write [{labels!r}].")
    _texts("label", [label for labels in labels_of_each for label in labels])
    return [sorted(set(labels)) for labels in labels_of_each]


def _first_twice(ids: Sequence[str]) -> str | None:
    if len(set(ids)) == len(ids):
        return None
    seen: set[str] = set()
    return next(each for each in ids if each in seen or seen.add(each))  # type: ignore[func-returns-value]


def _metadata(name: str, values: Any, known: pa.DataType | None) -> pa.Array:
    """Return a column of metadata in the type that the base has for it, or in its own."""
    try:
        column = values if isinstance(values, pa.Array) else pa.array(values)
        column = column.cast(_kind(column.type)) if not pa.types.is_null(column.type) else column
        if known is not None and column.type != known:
            column = column.cast(known) if _widens(column.type, known) else column
        column = column.cast(pa.string()) if known is None and pa.types.is_null(column.type) else column
    except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
        raise UserError(
            f"The metadata {name!r} can't be kept ({error}): a column holds text, whole numbers, numbers, or true and "
            "false, and no two of them."
        ) from None
    if known is not None and column.type != known:
        raise UserError(
            f"The metadata {name!r} is {KINDS[known]} in this base, and the rows to add have {KINDS[column.type]}: "
            "give it in that kind, or under another name."
        )
    return column


def _kind(given: pa.DataType) -> pa.DataType:
    if pa.types.is_integer(given):
        return pa.int64()
    if pa.types.is_floating(given):
        return pa.float64()
    return pa.bool_() if pa.types.is_boolean(given) else pa.string()


def _widens(given: pa.DataType, known: pa.DataType) -> bool:
    # a file of codes such as 007 is text, and the next file may hold only 12
    return pa.types.is_null(given) or (given == pa.int64() and known in (pa.float64(), pa.string()))


def _in_room(vectors_NE: np.ndarray, ids: Sequence[str]) -> Room:
    """Return the vectors at length 1.

    Raises
    ------
    UserError
        For one that has no direction, by its id.
    """
    room = Room(*vectors_NE.shape)
    vectors = room.first(len(vectors_NE))
    for i, block in _blocks(vectors_NE):
        made, lost = of_length_1(block)
        if lost.any():
            first = int(lost.argmax())
            what = "zero" if np.isfinite(block[first]).all() else "not finite (NaN or inf)"
            more = f", and {lost.sum() - 1:,} more like it near by" if lost.sum() > 1 else ""
            raise UserError(
                f"The vector of {ids[i + first]!r} is {what}{more}: it has no direction, so nothing can be near it; "
                "leave it out or embed the image anew."
            )
        vectors[i : i + len(block)] = made
    return room


def _blocks(array: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield an array in blocks; of one that is mapped from a file, no more than a block is in memory at a time."""
    whole: Any = array
    mapped = isinstance(array, np.memmap) and isinstance(whole.base, mmap) and whole.flags.c_contiguous
    for i in range(0, len(array), _BLOCK):
        if mapped:
            shape = (min(_BLOCK, len(array) - i), *array.shape[1:])
            offset = whole.offset + i * whole.strides[0]
            yield i, np.memmap(whole.filename, whole.dtype, "r", offset, shape)
        else:
            yield i, array[i : i + _BLOCK]
