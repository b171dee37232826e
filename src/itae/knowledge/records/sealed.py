"""Small files that begin with a seal: the sha256 of the bytes after it."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

FORMAT = 1
"""Of a base; one that a later itae wrote is refused."""

_HEAD = b'{"seal": "'

_AFTER = b'",\n'


class Damaged(Exception):  # noqa: N818  a finding, which becomes a sentence where it is known what can be done
    """A file is not what was written; the message says which and how."""


def now() -> datetime:
    """Return the time, in whole microseconds and UTC."""
    return datetime.now(UTC)


def sealed(told: dict[str, Any]) -> tuple[bytes, str]:
    """Return the bytes of a sealed file, and its seal."""
    lines = (f"{json.dumps(name)}: {_json(told[name])}" for name in sorted(told))
    rest = (",\n".join(lines) + "\n}\n").encode()
    seal = hashlib.sha256(rest).hexdigest()
    return _HEAD + seal.encode("ascii") + _AFTER + rest, seal


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)


def unsealed(data: bytes, name: str) -> tuple[dict[str, Any], str]:
    """Return what a sealed file says, and its seal.

    Raises
    ------
    Damaged
        When it isn't as it was written.
    """
    start = len(_HEAD)
    seal, rest = data[start : start + 64], data[start + 64 + len(_AFTER) :]
    whole = data[:start] == _HEAD and data[start + 64 : start + 64 + len(_AFTER)] == _AFTER
    if not whole or hashlib.sha256(rest).hexdigest().encode("ascii") != seal:
        raise Damaged(f"{name} is not as it was written")
    told: dict[str, Any] = json.loads(b"{" + rest)
    return told, seal.decode("ascii")
