"""What devices made of networks, kept by content: converted once, and never taken half-written or damaged.

An export is a folder, ``portable/exports/KEY`` in the cache: what the device wrote, and ``export.json`` with the size
and sha256 of each file. Its key is a hash of all that it depends on: the network's class, settings and weights, the
size of the pictures, the device's class, settings, versions and precision, and the calibration pictures.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import shutil
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itae.base.disk import disk_trouble_told, flush_folder, replace_file
from itae.base.identity import identity
from itae.base.lock import Lock, this_process
from itae.portable.devices.device import Device, Net

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

log = logging.getLogger(__name__)

METHOD = 1
"""How this package converts; a mend that makes other files raises it."""
MANIFEST = "export.json"


def exported(
    store_root: Path, device: Device, net: Net, size: tuple[int, int], calibration: Sequence[np.ndarray] = ()
) -> Path:
    """Return the folder of a network for a device, which converts it if that wasn't done before.

    Parameters
    ----------
    store_root
        Of the cache (paths.cache).
    device
        Its `missing()` is None.
    net
        Is built to know its weights.
    size
        Height and width of the pictures.
    calibration
        Float32 [1, 3, H, W] each, for what is quantised.

    Raises
    ------
    UserError
        If the device lacks an operator of it, or the disk is in trouble.
    """
    built = net.build()
    key = _key(device, net, built, size, calibration)
    root = store_root / "portable" / "exports"
    folder = root / key
    with disk_trouble_told(root):
        if _whole(folder):
            return folder
        (root / "locks").mkdir(parents=True, exist_ok=True)
        with Lock(root / "locks" / key).held(f"the export of {net.name} for {device.name} by another process"):
            if not _whole(folder):  # another may have made it meanwhile
                _clear(root, key)
                _make(folder, device, net, built, size, calibration)
    return folder


def facts_of(folder: Path) -> Mapping[str, Any]:
    """Return what is known of an export: device, net, convert_s, bytes in all, and the files' sizes and sha256."""
    return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))


def _make(
    folder: Path, device: Device, net: Net, built: nn.Module, size: tuple[int, int], calibration: Sequence[np.ndarray]
) -> None:
    draft = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}.tmp")
    draft.mkdir(parents=True)
    try:
        began = time.perf_counter()
        device.convert(built, size, draft, calibration)
        spent = time.perf_counter() - began
        files = {str(path.relative_to(draft)): _file(path) for path in sorted(draft.rglob("*")) if path.is_file()}
        total = sum(each["bytes"] for each in files.values())
        about = {"device": device.name, "net": net.name, "convert_s": spent, "bytes": total, "by": this_process()}
        replace_file(draft / MANIFEST, json.dumps(about | {"files": files}, indent=1).encode())
        flush_folder(draft)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _whole(folder: Path) -> bool:
    """Whether an export is there, and each of its files is what was written."""
    if not folder.is_dir():
        return False
    try:
        files = facts_of(folder)["files"]
        bad = [name for name, was in files.items() if _file(folder / name) != was]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        bad = [f"{MANIFEST} ({error})"]
    if bad:
        log.warning("The export %s is damaged (%s) and is made anew.", folder, ", ".join(bad))
    return not bad


def _clear(root: Path, key: str) -> None:
    """Remove a damaged export, and what a process that was killed had begun; who is here holds the lock."""
    left = [*root.glob(f".{key}-*.tmp"), *([root / key] if (root / key).exists() else [])]
    for folder in left:
        aside = root / f".{key}-{uuid.uuid4().hex}.tmp"
        folder.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def _file(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _key(device: Device, net: Net, built: nn.Module, size: tuple[int, int], calibration: Sequence[np.ndarray]) -> str:
    depends = {
        "method": METHOD,
        "net": {**identity(net), "settings": net.settings(), "weights": _weights(built)},
        "size": list(size),
        "device": {**identity(device), "settings": _settings(device), "facts": device.facts()},
        "calibration": [_array(each) for each in calibration],
    }
    return hashlib.sha256(json.dumps(depends, sort_keys=True, default=str).encode()).hexdigest()


def _settings(device: Any) -> dict[str, Any]:
    """Return a device's options: fields of a dataclass, or attributes, but for its name, which is for tables."""
    if dataclasses.is_dataclass(device):
        return {each.name: getattr(device, each.name) for each in dataclasses.fields(device) if each.name != "name"}
    return {name: value for name, value in vars(device).items() if name != "name"}


def _weights(built: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(built.state_dict().items()):
        digest.update(name.encode() + b"\0" + _array(tensor.detach().cpu().numpy()).encode())
    return digest.hexdigest()


def _array(array: np.ndarray) -> str:
    import numpy as np

    digest = hashlib.sha256(f"{array.dtype.str} {array.shape} ".encode())
    digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
