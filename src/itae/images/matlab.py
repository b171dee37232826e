"""Struct arrays of numbers and texts, and lists of texts, from MATLAB files of level 5: ImageNet's and Cars196's.

`scipy.io.loadmat` reads such files and runs no code of theirs, but takes what they say of themselves on trust: a type
of data that there isn't ends Python with a segmentation fault (scipy 1.17.1), which no caller can make a sentence of.
Here every length is held against what is there.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator

import numpy as np

MOST = 1 << 26
"""How many bytes a compressed variable may unpack to: the largest official one has 16,185 rows of some 500 bytes."""

# MATLAB's codes: of an element's data, and of an array's class.
_COMPRESSED, _MATRIX = 15, 14
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {1: "latin-1", 2: "latin-1", 16: "utf-8", 4: "utf-16", 17: "utf-16"}
_CELL, _STRUCT, _CHAR, _NUMERIC = 1, 2, 4, range(6, 16)

Value = str | int | float | None


def struct_array(data: bytes, name: str) -> list[dict[str, Value]]:
    """Return the rows of a struct array: of each field its text or number, None for anything else.

    Parameters
    ----------
    data
        The content of the file.
    name
        What the array is called in it.

    Raises
    ------
    ValueError
        If it is no such file, is damaged, or has no such array.
    """
    order, size, parts = _variable(data, name, _STRUCT, "struct array")
    return _rows(size, parts, order)


def texts(data: bytes, name: str) -> list[str]:
    """Return the texts of a cell array.

    Parameters
    ----------
    data
        The content of the file.
    name
        What the array is called in it.

    Raises
    ------
    ValueError
        If it is no such file, is damaged, has no such array, or one that holds anything else.
    """
    order, size, parts = _variable(data, name, _CELL, "cell array")
    values = [_value(part, order) for kind, part in parts if kind == _MATRIX]
    found = [value for value in values if isinstance(value, str)]
    if not len(found) == len(values) == size:
        raise ValueError(f"'{name}' has {len(found)} texts in {size} cells")
    return found


def _variable(data: bytes, name: str, wanted: int, what: str) -> tuple[str, int, Iterator[tuple[int, memoryview]]]:
    """Return the order of bytes, and of an array of that name and class how many entries it has and what lies in it."""
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None or data[124:126] != struct.pack(f"{order}H", 0x0100):
        raise ValueError("it is no MATLAB file of level 5")
    for kind, part in _elements(memoryview(data)[128:], order):
        if kind == _COMPRESSED:
            kind, part = next(_elements(_unpacked(part), order), (0, part))
        if kind == _MATRIX:
            class_, size, called, parts = _array(part, order)
            if called == name and class_ == wanted:
                return order, size, parts
    raise ValueError(f"it has no {what} '{name}'")


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Yield the type and the bytes of the elements that lie one after the other."""
    at = 0
    while at < len(data):
        if len(data) - at < 8:
            raise ValueError("it is cut short")
        kind, size = struct.unpack(f"{order}II", data[at : at + 8])
        start = at + 8
        end = start + size + (0 if kind == _COMPRESSED else -size % 8)
        if kind >> 16:  # up to four bytes lie in the element's head
            kind, size, start, end = kind & 0xFFFF, kind >> 16, at + 4, at + 8
        if start + size > min(end, len(data)):
            raise ValueError("it is cut short")
        yield kind, data[start : start + size]
        at = end


def _unpacked(part: memoryview) -> memoryview:
    try:
        data = zlib.decompressobj().decompress(part, MOST + 1)
    except zlib.error as error:
        raise ValueError(f"it can't be unpacked ({error})") from None
    if len(data) > MOST:
        raise ValueError(f"it unpacks to more than {MOST} bytes")
    return memoryview(data)


def _array(part: memoryview, order: str) -> tuple[int, int, str, Iterator[tuple[int, memoryview]]]:
    """Return the class of an array, how many entries it has, its name, and the elements behind these."""
    parts = _elements(part, order)
    flags, shape, name = _wholes(parts, order), _wholes(parts, order), _text(parts, order)
    size = math.prod(shape)
    if not flags or size < 0:
        raise ValueError("the head of an array is damaged")
    return flags[0] & 0xFF, size, name, parts


def _rows(size: int, parts: Iterator[tuple[int, memoryview]], order: str) -> list[dict[str, Value]]:
    (width, *_), names = _wholes(parts, order) or [0], _text(parts, order)
    if width < 1 or len(names) % width:
        raise ValueError("the names of its fields are damaged")
    fields = [names[i : i + width].rstrip("\0") for i in range(0, len(names), width)]
    values = [_value(part, order) for kind, part in parts if kind == _MATRIX]
    if len(values) != size * len(fields):
        raise ValueError(f"it has {len(values)} values for {size} rows of {len(fields)} fields")
    return [
        dict(zip(fields, values[i : i + len(fields)], strict=True)) for i in range(0, len(values), len(fields) or 1)
    ]


def _value(part: memoryview, order: str) -> Value:
    if not part:
        return None
    class_, size, _, parts = _array(part, order)
    if class_ == _CHAR:
        return _text(parts, order) if size else ""
    if class_ in _NUMERIC and size == 1:
        return _number(parts, order)
    return None


def _number(parts: Iterator[tuple[int, memoryview]], order: str) -> int | float:
    found = _numbers(parts, order)
    if not len(found):
        raise ValueError("a number is missing")
    number = float(found[0])
    return int(number) if number.is_integer() else number


def _wholes(parts: Iterator[tuple[int, memoryview]], order: str) -> list[int]:
    found = _numbers(parts, order)
    if found.dtype.kind == "f":
        raise ValueError("the head of an array is damaged")
    return [int(number) for number in found]


def _numbers(parts: Iterator[tuple[int, memoryview]], order: str) -> np.ndarray:
    kind, data = next(parts, (0, memoryview(b"")))
    if kind not in _NUMBERS:
        raise ValueError(f"there are no numbers of type {kind}")
    return np.frombuffer(data, f"{order}{_NUMBERS[kind]}")


def _text(parts: Iterator[tuple[int, memoryview]], order: str) -> str:
    kind, data = next(parts, (0, memoryview(b"")))
    if kind not in _TEXTS:
        raise ValueError(f"there is no text of type {kind}")
    wide = {"<": "-le", ">": "-be"}[order] if _TEXTS[kind] == "utf-16" else ""
    return str(data, f"{_TEXTS[kind]}{wide}")
