"""What devices made of networks, kept by content: converted once, and never taken half-written or damaged.

An export is a folder, ``portable/exports/KEY`` in the cache: what the device wrote, and ``export.json`` with the size
and sha256 of each file. Its key is a hash of all that it depends on: the network's class, settings and weights, the
size of the pictures, the device's class, settings, versions and precision, and the calibration pictures.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itae.base.disk import disk_trouble_told, flush_folder, free_bytes, replace_file, trouble
from itae.base.errors import UserError
from itae.base.identity import identity
from itae.base.lock import Lock, this_process
from itae.portable.devices.device import Device, Net

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

log = logging.getLogger(__name__)

METHOD = 2
"""How this package converts; a mend that makes other files raises it."""
MANIFEST = "export.json"
_PLACE, _LOCKS = Path("portable", "exports"), "locks"
_LITTLE = 1 << 16  # free bytes below which a converter may have written half of what it would, and not said so


def check_root(store_root: Path) -> None:
    """Raise a `UserError` if exports can't be kept in a cache, before anything is converted for it.

    One that may be read only, and has exports, will do: what it has needs no writing.
    """
    above = next(folder for folder in (store_root, *store_root.parents) if os.path.lexists(folder))
    if not above.is_dir():
        raise UserError(f"paths.cache={store_root}: {above} is a file; the cache needs a folder.")
    locks = store_root / _PLACE / _LOCKS
    with disk_trouble_told(store_root):
        try:
            locks.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=locks) as file:
                file.write(b"x")
        except OSError:
            if not any(locks.parent.glob(f"*/{MANIFEST}")):
                raise


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
    root = store_root / _PLACE
    folder = root / key
    with disk_trouble_told(root):
        if not _damage(folder):
            return folder
        (root / _LOCKS).mkdir(parents=True, exist_ok=True)
        with Lock(root / _LOCKS / key).held(f"the export of {net.name} for {device.name} by another process"):
            if bad := _damage(folder):  # or another has made it meanwhile
                if folder.is_dir():
                    log.warning("The export %s is damaged (%s) and is made anew.", folder, bad)
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
        _convert(device, net, built, size, draft, calibration)
        spent = time.perf_counter() - began
        files = {str(path.relative_to(draft)): _file(path) for path in sorted(draft.rglob("*")) if path.is_file()}
        total = sum(each["bytes"] for each in files.values())
        about = {"device": device.name, "net": net.name, "convert_s": spent, "bytes": total, "by": this_process()}
        replace_file(draft / MANIFEST, json.dumps(about | {"files": files}, indent=1).encode())
        flush_folder(draft)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _convert(
    device: Device, net: Net, built: nn.Module, size: tuple[int, int], draft: Path, calibration: Sequence[np.ndarray]
) -> None:
    """Have the device write its files; what it fails of is its own, but for want of room, which many say in their way.

    Raises
    ------
    OSError
        If the disk is full.
    """
    try:
        device.convert(built, size, draft, calibration)
    except Exception as error:
        if free_bytes(draft) < _LITTLE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        if isinstance(error, OSError) and trouble(error) != "room":  # no file of the cache's: it would be told as such
            raise UserError(f"{device.name} can't convert {net.name} ({error}); leave {device.name} out.") from error
        raise
    if free_bytes(draft) < _LITTLE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _damage(folder: Path) -> str:
    """Return what of an export isn't what was written, or not there; empty if it is whole."""
    if not folder.is_dir():
        return "it is not there"
    try:
        files = facts_of(folder)["files"]
        bad = [name for name, was in files.items() if _file(folder / name) != was]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        bad = [f"{MANIFEST} ({error})"]
    return ", ".join(bad)


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
        "device": {**identity(device), "settings": settings_of(device), "facts": device.facts()},
        "calibration": [_array(each) for each in calibration],
    }
    return hashlib.sha256(json.dumps(depends, sort_keys=True, default=str).encode()).hexdigest()


def settings_of(device: Any) -> dict[str, Any]:
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
