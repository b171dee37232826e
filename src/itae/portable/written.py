"""What is written of a run of ``itae portable``, whichever study it is: ``result.json``, and texts beside it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from itae.base.errors import UserError
from itae.base.versions import versions
from itae.portable.devices.library import versions_of
from itae.results.find import RESULT
from itae.results.run import ALONE, write_result

_PACKAGES = ("onnx", "onnxruntime", "openvino", "nncf", "ncnn", "pnnx", "MNN", "spandrel")


def begun(study: str, settings: Mapping[str, Any], started: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result of a run of a study that has begun: if it is killed, this is what it leaves."""
    return {
        "status": "running",
        "error": "The run did not end, or has not yet.",
        "kind": study,
        "started": dict(started),
        "versions": dict(versions()) | versions_of(*_PACKAGES),
        "settings": dict(settings),
    }


def of_another_kind(folder: Path, study: str, files: Sequence[str]) -> str | None:
    """Return what a folder holds, in words, that a run of a study would write over and didn't write itself; else None.

    Parameters
    ----------
    folder
        Of the run.
    study
        Its kind.
    files
        Patterns of what it writes beside ``result.json``.
    """
    if not (folder / RESULT).is_file():
        found = next((file for pattern in files for file in sorted(folder.glob(pattern))), None)
        return None if found is None else f"{found.relative_to(folder)}, which is of no run of itae portable"
    kind = None
    with contextlib.suppress(OSError, ValueError, AttributeError):
        kind = json.loads((folder / RESULT).read_text(encoding="utf-8")).get("kind")
    if kind == study:
        return None
    what = f"a run of study={kind}" if kind in ALONE else "something else than a run of itae portable"
    return f"the {RESULT} of {what}"


def write(folder: Path, result: dict[str, Any]) -> None:
    """Write ``result.json``, whole or not at all."""
    try:
        write_result(folder, result)
    except UserError as error:
        told = str(error).partition(";")[0]
        raise UserError(f"{told}; make room, or set out=... to another folder.") from error


def write_texts(folder: Path, texts: Mapping[str, str]) -> list[str]:
    """Write texts into files of these names, each whole or not at all; return the names."""
    for name, text in texts.items():
        unfinished = folder / f".{name}.tmp"
        try:
            unfinished.write_text(text, encoding="utf-8")
            unfinished.replace(folder / name)
        except OSError as error:
            raise UserError(
                f"{folder / name} can't be written ({error.strerror}); make room, or set out=... to another folder."
            ) from error
    return list(texts)
