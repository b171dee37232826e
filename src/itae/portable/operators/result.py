"""What is written beside the result of the study, the table and the guidelines, and what is printed at its end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from itae.base.console import console, say
from itae.portable.operators.table import CSV, as_csv, devices_in, percent

FILES = (CSV, "guidelines.md")
"""What is written beside ``result.json``."""


def texts(result: Mapping[str, Any]) -> dict[str, str]:
    """Return the table as CSV and the guidelines as text, by the names of their files."""
    lines = [f"- {one['text']}" for one in result["guidelines"]]
    return dict(zip(FILES, (as_csv(result), "\n".join(lines) + "\n"), strict=True))


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
