"""What is written of a run, ``result.json`` and the table, and what is printed at its end."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from itae.base.console import console, say
from itae.base.errors import UserError
from itae.base.versions import versions
from itae.portable.devices.library import versions_of
from itae.portable.operators.table import CSV, as_csv, devices_in, percent
from itae.results.find import RESULT
from itae.results.run import ALONE, write_result

FILES = (CSV, "guidelines.md")
"""What is written beside ``result.json``."""
_PACKAGES = ("onnx", "onnxruntime", "openvino", "nncf", "ncnn", "pnnx", "MNN", "spandrel")


def begun(settings: Mapping[str, Any], started: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result of a run that has begun: if it is killed, this is what it leaves."""
    return {
        "status": "running",
        "error": "The run did not end, or has not yet.",
        "kind": ALONE,
        "started": dict(started),
        "versions": dict(versions()) | versions_of(*_PACKAGES),
        "settings": dict(settings),
    }


def of_another_kind(folder: Path) -> str | None:
    """Return what a folder's ``result.json`` is of, in words, if it is no run of ``itae portable``; else None."""
    if not (file := folder / RESULT).is_file():
        return None
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if json.loads(file.read_text(encoding="utf-8")).get("kind") == ALONE:
            return None
    return f"the {RESULT} of something else than a run of itae portable"


def write(folder: Path, result: dict[str, Any]) -> None:
    """Write ``result.json``, whole or not at all."""
    try:
        write_result(folder, result)
    except UserError as error:
        told = str(error).partition(";")[0]
        raise UserError(f"{told}; make room, or set out=... to another folder.") from error


def write_tables(folder: Path, result: Mapping[str, Any]) -> list[str]:
    """Write the table as CSV and the guidelines as text; return their names."""
    lines = [f"- {one['text']}" for one in result["guidelines"]]
    texts = dict(zip(FILES, (as_csv(result), "\n".join(lines) + "\n"), strict=True))
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


def show(result: Mapping[str, Any], folder: Path) -> None:
    """Print the table, what it says, what to know about it, and where everything is."""
    from rich.table import Table

    devices = devices_in(result)
    table = Table("change", title=None)
    for name in ("GMAC", *devices):
        table.add_column(name, justify="right")
    for row in result["rows"]:
        cells = [_cell(row["cells"].get(device), row["name"] == result["base"]) for device in devices]
        table.add_row(row["told"], f"{row['macs'] / 1e9:.2f}", *cells)
    out = console(40 + 18 * (len(devices) + 2))
    height, width = result["size"]
    about = f"{result['net']['name']}, {height} x {width} pixels, {result['threads']} thread(s), {result['statistic']}"
    out.print(about, soft_wrap=True, style="italic")
    out.print(table)
    out.print("ms, and the difference to base; ~ unsteady, ! wrong output, - not measured", soft_wrap=True, style="dim")
    for one in result["guidelines"]:
        if one["kind"] != "cost":
            say(f"{'guideline' if one['kind'] != 'noise' else 'note':10} {one['text']}")
    for note in result["notes"]:
        say(f"{'note':10} {note}")
    for name, why in result["not_run"].items():
        if why != "not asked for":
            say(f"{'not run':10} {name}: {why}")
    here = Path.cwd()
    say(f"{'results':10} {folder.relative_to(here) if folder.is_relative_to(here) else folder}")


def _cell(cell: Mapping[str, Any] | None, is_base: bool) -> str:
    if cell is None or "ms" not in cell:
        return "-"
    mark = "!" if cell["wrong"] is not None else "" if cell["steady"] else "~"
    ratio = "" if is_base or cell.get("ratio") is None else f" {percent(cell['ratio']):>7}"
    return f"{mark}{cell['ms']:.1f}{ratio}"
