"""``front.json``: all that a search found, with the networks of its fronts beside it, each file with its checksum.

Beside it lie ``nets/NET.safetensors``, a network's weights, ``nets/DEVICE/NET/``, what a device made of it, and
``nets/use_DEVICE.py``, which uses that.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from itae.base.disk import disk_trouble_told, replace_file
from itae.base.errors import UserError
from itae.portable.devices.exports import MANIFEST
from itae.portable.search.summary import Known
from itae.portable.search.uses import use_of

FILE, NETS = "front.json", "nets"
KIND = "portable fronts"


def write_front(
    folder: Path,
    found: Mapping[str, Any],
    nets: Sequence[Known],
    size: tuple[int, int],
    facts: Mapping[str, Mapping[str, Any]],
    about: Mapping[str, Any],
    weights: Mapping[str, Path] | None = None,
) -> Path:
    """Write ``front.json``, the networks of all fronts and of the portable set, and how to use them; return the file.

    Parameters
    ----------
    folder
        Is there. What another run left in its ``nets`` is removed.
    found
        What `itae.portable.search.summary.summary` returned.
    nets
        The same that it was given.
    size
        Height and width of the pictures that they were exported for.
    facts
        Of each device: runtime, versions, precision.
    about
        Plain values: the data, their split and key, statistic of the clock, machine, load, versions.
    weights
        Files of those networks' weights, by name. Default: none.

    Raises
    ------
    UserError
        If an export isn't what its device wrote, or the disk is in trouble.
    """
    by_name = {net.name: net for net in nets}
    written = {"kind": KIND, "about": dict(about), "size": list(size), **found}
    written["devices"] = {name: dict(of) for name, of in found["devices"].items()}
    with disk_trouble_told(folder):
        shutil.rmtree(folder / NETS, ignore_errors=True)
        (folder / NETS).mkdir()
        for device, of in written["devices"].items():
            of["facts"] = dict(facts.get(device, {}))
            wanted = dict.fromkeys([*of["front"], *found["portable"]["nets"]])
            cells = {name: by_name[name].on[device] for name in wanted if device in by_name[name].on}
            exports = {name: cell.export for name, cell in cells.items() if cell.export is not None}
            of["exports"] = {name: _copied(export, folder, device, name) for name, export in exports.items()}
            of["use"] = _use(folder, device, next(iter(exports.values()), None), size, of["facts"])
        on = {name for of in found["devices"].values() for name in of["front"]} | {*found["portable"]["nets"]}
        written["weights"] = {
            name: _weights(folder, name, file) for name, file in (weights or {}).items() if name in on
        }
        replace_file(folder / FILE, json.dumps(written, indent=1, allow_nan=False).encode())
    return folder / FILE


def read_front(file: Path) -> dict[str, Any]:
    """Return what ``front.json`` has, once each of its files is what it was.

    Raises
    ------
    UserError
        If it, or one of the networks' files, is not there, damaged, or another.
    """
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if found["kind"] != KIND:
            raise UserError(f"{file} is of something else than a search of networks ({found['kind']}).")
        every = [one for of in found["devices"].values() for one in of["exports"].values()]
        every += [{"folder": NETS, "files": {f"{name}.safetensors": was}} for name, was in found["weights"].items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file} can't be read ({error}); run the search again.") from error
    for one in every:
        for name, was in one["files"].items():
            path = file.parent / one["folder"] / name
            if not path.is_file() or _file(path) != was:
                raise UserError(f"{path} is not the file that {file} tells of; run the search again.")
    return found


def _copied(export: Path, folder: Path, device: str, net: str) -> dict[str, Any]:
    """Copy an export, and return where it is, its bytes, and size and sha256 of each file."""
    manifest = json.loads((export / MANIFEST).read_text(encoding="utf-8"))["files"]
    place = Path(NETS) / device / net
    for name, was in manifest.items():
        to = folder / place / name
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(export / name, to)
        if _file(to) != was:
            raise UserError(f"{export / name} is not what {device} wrote; remove {export}, and run the search again.")
    return {"folder": str(place), "bytes": sum(was["bytes"] for was in manifest.values()), "files": manifest}


def _weights(folder: Path, net: str, file: Path) -> dict[str, Any]:
    """Copy the weights of a network, and return their size and sha256."""
    to = folder / NETS / f"{net}.safetensors"
    shutil.copyfile(file, to)
    return _file(to)


def _use(folder: Path, device: str, export: Path | None, size: tuple[int, int], facts: Mapping[str, Any]) -> str | None:
    """Write how to use a device's networks, and return where that is; None where nobody knows."""
    made = None if export is None else use_of(device, export, size, facts)
    if made is None:
        return None
    name, text = made
    (folder / NETS / name).write_text(text, encoding="utf-8")
    return str(Path(NETS) / name)


def _file(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
