"""What was gathered of calibration images is kept, as safetensors files in the store (`itae.edits.gathered`).

As with what was fitted (`itae.embed.kept`), a file is found by all that it depends on, and appears by rename. Beside
the arrays it holds their digest: a file that was damaged is gathered anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from itae.base.disk import disk_trouble_told, replace_file
from itae.edits.gathered import Gathered
from itae.store.entry import canonical

log = logging.getLogger(__name__)

_FOLDER = ".gathered"
_FORMAT = "itae gathered 1"


def _path(root: Path, key: Mapping[str, Any]) -> Path:
    return root / _FOLDER / f"{hashlib.sha256(canonical(key).encode('ascii')).hexdigest()[:16]}.safetensors"


def remember(root: Path, key: Mapping[str, Any], found: Gathered) -> None:
    """Write what was gathered, whole or not at all.

    Raises
    ------
    UserError
        If the disk is full or can't be written.
    """
    path = _path(root, key)
    told = {"format": _FORMAT, "key": canonical(key), "summary": json.dumps(found.summary())}
    arrays = {name: np.ascontiguousarray(array) for name, array in found.arrays.items()}
    with disk_trouble_told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, save(arrays, told))


def recall(root: Path, key: Mapping[str, Any]) -> Gathered | None:
    """Return what was gathered before, or None; a damaged file counts as none."""
    path = _path(root, key)
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            told = file.metadata() or {}
            if told.get("format") != _FORMAT or told.get("key") != canonical(key):
                raise ValueError("of something else")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
        summary = json.loads(told["summary"])
        values = None if summary["values"] is None else {int(name): n for name, n in summary["values"].items()}
        found = Gathered(arrays, int(summary["images"]), values)
        if found.digest != summary["digest"]:
            raise ValueError("other numbers than were written")
        return found
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, AttributeError) as error:
        log.warning("%s can't be read (%s); what it held is gathered anew.", path, error)
        return None


def forget(root: Path, digests: Collection[bytes]) -> list[Path]:
    """Remove the files that hold values of images of these digests, and those that can't be read; return them."""
    gone = []
    for path in sorted((root / _FOLDER).glob("*.safetensors")):
        try:
            with safe_open(path, framework="numpy") as file:
                owners = [file.get_tensor(name) for name in file.keys() if name.startswith("owners.")]  # noqa: SIM118
        except (OSError, SafetensorError):
            owners = None
        if owners is None or any(row.tobytes() in digests for some in owners for row in some.reshape(-1, 32)):
            path.unlink(missing_ok=True)
            gone.append(path)
    return gone
