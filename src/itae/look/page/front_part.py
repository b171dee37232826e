"""The files of a search as a page tells them: ``front.json``, exports and weights with their checksums, and their use.

They are read from the run's folder, which may be a stranger's: nothing outside of it is read, and nothing large.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FRONT = "front.json"
_MOST = 32_000_000  # bytes of front.json
_MOST_USE = 20_000  # and of a script


def front_part(folder: Path) -> dict[str, Any] | None:
    """Return what a page tells of a search's files; None where ``front.json`` isn't there or can't be read.

    Returns
    -------
    dict
        ``bytes`` and ``sha256`` of ``front.json``; ``devices``, of each its ``name``, ``use``, ``script`` and
        ``exports``: network, folder, bytes and files, each with bytes and sha256; ``weights``, files as those.
    """
    data = _read(folder, FRONT, _MOST)
    if data is None:
        return None
    with contextlib.suppress(ValueError, RecursionError, AttributeError, TypeError, KeyError):
        found = json.loads(data)
        devices = [_device(name, about, folder) for name, about in (found.get("devices") or {}).items()]
        weights = {f"nets/{name}.safetensors": was for name, was in (found.get("weights") or {}).items()}
        return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "devices": devices,
                "weights": _files(weights)}  # fmt: skip
    return None


def _device(name: str, about: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    exports = about.get("exports") or {}
    use = about.get("use")
    script = _read(folder, use, _MOST_USE) if isinstance(use, str) else None
    return {
        "name": name,
        "use": use,
        "script": None if script is None else script.decode("utf-8", "replace"),
        "exports": [
            {"net": net, "folder": str(one.get("folder", "")), "bytes": _size(one.get("bytes")),
             "files": _files(one.get("files") or {})}
            for net, one in exports.items()
        ],
    }  # fmt: skip


def _files(files: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    return [(name, _size(was.get("bytes")), str(was.get("sha256", ""))) for name, was in files.items()]


def _size(count: int | None) -> str:
    return "" if count is None else f"{count / 1e6:.2f} MB" if count >= 10_000 else f"{count:,} bytes"


def _read(folder: Path, name: str, most: int) -> bytes | None:
    """Return a file of the folder; None if it isn't there, is elsewhere, or too large."""
    path = folder / name
    with contextlib.suppress(OSError, ValueError):
        if path.resolve().is_relative_to(folder.resolve()) and path.is_file() and path.stat().st_size <= most:
            return path.read_bytes()
    return None
