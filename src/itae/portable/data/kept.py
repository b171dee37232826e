"""Arrays that were made once, kept by a key: there whole or not at all, and made anew where they were damaged.

A set is a folder, ``portable/data/KEY`` in the cache: an ``.npy`` for each array, and ``set.json`` with what is known
of it, and the size and sha256 of each file.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from itae.base.disk import disk_trouble_told, flush_folder, replace_file
from itae.base.errors import UserError
from itae.base.lock import Lock

log = logging.getLogger(__name__)

MANIFEST = "set.json"
_PLACE, _LOCKS = Path("portable", "data"), "locks"


class Kept(NamedTuple):
    """A set: arrays by name, what is known of it as plain values, and a sha256 of the arrays' files."""

    arrays: Mapping[str, np.ndarray]
    facts: Mapping[str, Any]
    sha256: str


def kept(cache: Path, key: str, make: Callable[[], tuple[Mapping[str, np.ndarray], Mapping[str, Any]]]) -> Kept:
    """Return a set from the cache, and have it made and kept if it isn't there, or isn't whole.

    Who comes second waits for the first.

    Raises
    ------
    DiskError
        If the disk is in trouble.
    """
    root = cache / _PLACE
    with disk_trouble_told(root):
        if (found := _read(root / key)) is not None:
            return found
        (root / _LOCKS).mkdir(parents=True, exist_ok=True)
        with Lock(root / _LOCKS / key).held("the same pairs by another process"):
            if (found := _read(root / key, tell=True)) is None:  # or another has made it meanwhile
                _clear(root, key)
                _write(root / key, *make())
                found = _read(root / key, tell=True)
    if found is None:
        raise UserError(f"What was just written to {root / key} reads otherwise: see to the disk of the cache.")
    return found


def _read(folder: Path, tell: bool = False) -> Kept | None:
    """Return a set; None if it isn't there, or damaged, and `tell` of that."""
    if not folder.is_dir():
        return None
    try:
        about = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        bad = [name for name, was in about["files"].items() if _file(folder / name) != was]
        if not bad:
            arrays = {Path(name).stem: np.load(folder / name, allow_pickle=False) for name in about["files"]}
            files = json.dumps(about["files"], sort_keys=True)
            return Kept(arrays, about["facts"], hashlib.sha256(files.encode()).hexdigest())
        why = ", ".join(bad)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"{MANIFEST}: {error}"
    if tell:
        log.warning("The pairs in %s are damaged (%s) and are made anew.", folder, why)
    return None


def _write(folder: Path, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> None:
    draft = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}.tmp")
    draft.mkdir(parents=True)
    try:
        for name, array in arrays.items():
            with (draft / f"{name}.npy").open("wb") as file:
                np.save(file, array, allow_pickle=False)
                file.flush()
        files = {path.name: _file(path) for path in sorted(draft.iterdir())}
        replace_file(draft / MANIFEST, json.dumps({"facts": facts, "files": files}, indent=1).encode())
        flush_folder(draft)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _clear(root: Path, key: str) -> None:
    """Remove a damaged set, and what a process that was killed had begun; who is here holds the lock."""
    for folder in (*root.glob(f".{key}-*.tmp"), *([root / key] if (root / key).exists() else [])):
        aside = root / f".{key}-{uuid.uuid4().hex}.tmp"
        folder.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def _file(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
