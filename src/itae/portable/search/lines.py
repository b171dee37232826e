"""What was judged, a line of JSON for each network, written at once: what is killed has lost nothing but the last.

The first line says what the others are of. A last line that was not written whole is cut off.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from itae.base.disk import disk_trouble_told
from itae.base.errors import UserError
from itae.base.lock import Lock


def as_key(spec: Any) -> str:
    """Return what tells a network from others: its plain values as JSON, in the order of their names."""
    values = spec.architecture() if hasattr(spec, "architecture") else spec
    if dataclasses.is_dataclass(values) and not isinstance(values, type):
        values = dataclasses.asdict(values)
    return json.dumps(values, sort_keys=True)


class Lines:
    """A file of lines, open to read and to add to; held by one process at a time.

    Parameters
    ----------
    file
        In a folder that is there.
    header
        Plain values that the lines depend on.
    """

    def __init__(self, file: Path, header: Mapping[str, Any]) -> None:
        self.file, self.header = file, json.loads(json.dumps(header))
        self.known: dict[str, dict[str, Any]] = {}
        self._lock, self._open = Lock(file.with_name(f"{file.name}.lock")), contextlib.ExitStack()
        self._to: BinaryIO | None = None

    def __enter__(self) -> Lines:
        """Read what is there.

        Raises
        ------
        UserError
            If another process has it open, or its lines depend on something else.
        """
        with disk_trouble_told(self.file):
            if not self._lock.take():
                raise UserError(f"{self.file} is being written by another search; let that end.")
            self._open.callback(self._lock.release)
            try:
                self._read()
                self._to = self._open.enter_context(self.file.open("ab"))
                if self._to.tell() == 0:
                    self._write({"search": self.header})
            except BaseException:
                self._open.close()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Close it."""
        self._open.close()

    def add(self, key: str, values: Mapping[str, Any]) -> None:
        """Write one more network through to the disk."""
        with disk_trouble_told(self.file):
            self._write({"spec": json.loads(key), **values})
        self.known[key] = dict(values)

    def _write(self, values: Mapping[str, Any]) -> None:
        assert self._to is not None, "it is not open"
        self._to.write(json.dumps(values, allow_nan=False).encode() + b"\n")
        self._to.flush()
        os.fsync(self._to.fileno())

    def _read(self) -> None:
        if not self.file.exists():
            return
        data = self.file.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            os.truncate(self.file, len(whole))
        try:
            rows = [json.loads(line) for line in whole.splitlines()]
            of = rows[0]["search"] if rows else self.header
            self.known = {json.dumps(row.pop("spec"), sort_keys=True): row for row in rows[1:]}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{self.file} is damaged ({error}); remove it, and its candidates are judged anew."
            ) from error
        if of != self.header:
            other = sorted(name for name in of.keys() | self.header.keys() if of.get(name) != self.header.get(name))
            raise UserError(
                f"{self.file} is of a search with other settings ({', '.join(other)}); remove it, or set out=... to "
                "another folder."
            )
