"""Rows in plain Python, for tests and for bases that go with the process: slow, and short enough to be believed.

It does what `itae.knowledge.disk.lance_store.LanceStore` does, and the same tests hold for both.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from itae.base.errors import UserError
from itae.knowledge.disk.vector_file import VectorFile
from itae.knowledge.records.digests import row_sums
from itae.knowledge.records.filed import FIELDS, Filed
from itae.knowledge.records.ranges import Range
from itae.knowledge.records.sealed import Damaged
from itae.knowledge.records.where import quoted

Row = dict[str, Any]


class MemoryStore:
    """Rows of a base in dictionaries, one for each version."""

    kind = "memory"

    def __init__(self) -> None:
        self._versions: dict[int, dict[int, Row]] = {0: {}}
        self._types: dict[str, pa.DataType] = {}
        self._width = 0

    def read(self, version: int, beside: Path | None = None) -> Filed:
        """Return all rows of a version, by number; their vectors stay in the file `beside`, if one is given."""
        rows = self._filed(self._at(version))
        if beside is None:
            return rows
        np.save(beside, rows.vectors_NE)
        return Filed(rows.columns, VectorFile(beside))  # type: ignore[arg-type]

    def rows(self, version: int, numbers: Iterable[Range]) -> tuple[Filed, list[bytes]]:
        """Return the rows of a version with some numbers, and their checksums."""
        asked = list(numbers)
        held = self._at(version).items()
        found = self._filed({number: row for number, row in held if any(a <= number <= b for a, b in asked)})
        return found, row_sums(found)

    def where(self, version: int, expression: str) -> np.ndarray:
        """Return the numbers of the rows of a version that a SQL condition holds for, ascending."""
        names = ["id", "number", "label", "labels", "group", "place", "source", "time", *sorted(self._types)]
        table = sqlite3.connect(":memory:")
        table.execute("PRAGMA case_sensitive_like = ON")
        table.create_function("array_has", 2, lambda labels, one: f"\0{one}\0" in labels)
        table.execute(f"CREATE TABLE rows ({', '.join(map(_name, names))})")
        marks = ", ".join("?" * len(names))
        table.executemany(
            f"INSERT INTO rows VALUES ({marks})", ([_sql(row, n) for n in names] for row in self._at(version).values())
        )
        try:
            found = table.execute(f"SELECT number FROM rows WHERE {_dialect(quoted(expression))}").fetchall()
        except sqlite3.Error as error:
            raise UserError(
                f"{expression!r} is no condition on {', '.join(names)} ({error}): write one of SQL's, such as "
                "label = 'cat' AND source LIKE 'web%'."
            ) from None
        return np.array(sorted(number for (number,) in found), np.int64)

    def write(self, version: int, put: Filed | None, removed: Iterable[Range]) -> int:
        """Take rows away by their numbers, and then put others in; return the version made."""
        gone = list(removed)
        rows = {n: row for n, row in self._at(version).items() if not any(a <= n <= b for a, b in gone)}
        if put is not None and len(put):
            self._types |= put.metadata
            self._width = put.vectors_NE.shape[1]
            for row, vector in zip(put.columns.to_pylist(), put.vectors_NE, strict=True):
                rows[row["number"]] = {**row, "vector": vector.copy()}
        made = max(self._versions) + 1
        self._versions[made] = rows
        return made

    def compact(self, version: int, all_of_it: bool) -> int:
        """Do nothing: there are no files."""
        return version

    def forget(self, version: int) -> None:
        """Remove every other version."""
        self._versions = {0: {}, version: self._at(version)}

    def ahead(self, version: int) -> bool:
        """Whether there is a later version than this one."""
        return max(self._versions) > version

    def small_files(self, version: int) -> int:
        """Return how many small files a version has."""
        return 0

    def files(self, version: int, known: bool = False) -> str | None:
        """Return a hash over the files of a version, which has none."""
        return None

    def _at(self, version: int) -> dict[int, Row]:
        if version not in self._versions:
            raise Damaged(f"version {version} is gone")
        return self._versions[version]

    def _filed(self, rows: dict[int, Row]) -> Filed:
        fields = [*FIELDS, *(pa.field(name, kind) for name, kind in sorted(self._types.items()))]
        held = [rows[number] for number in sorted(rows)]
        columns = {each.name: pa.array([row.get(each.name) for row in held], each.type) for each in fields}
        vectors = np.stack([row["vector"] for row in held]) if held else np.zeros((0, self._width), np.float32)
        return Filed(pa.table(columns, pa.schema(fields)), vectors)


def _name(name: str) -> str:
    return f"`{name}`"


def _sql(row: Row, name: str) -> Any:
    if name == "label":
        return row["labels"][0] if len(row["labels"]) == 1 else None
    value = row.get(name)
    if name == "labels":
        return "".join(f"\0{label}\0" for label in row["labels"])
    return _moment(value) if isinstance(value, datetime) else value


def _moment(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S.%f")


def _dialect(expression: str) -> str:
    """Return a condition of Lance's as SQLite takes it: a moment is a text there."""

    def text(found: re.Match[str]) -> str:
        return f"'{_moment(datetime.fromisoformat(found[1]))}'"

    return re.sub(r"\b(?:timestamp|date)\s*'([^']*)'", text, expression, flags=re.IGNORECASE)
