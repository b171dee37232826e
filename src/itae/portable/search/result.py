"""What is written beside the result of a search, and what is printed at its end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from itae.base.console import console, say
from itae.results.csv_text import csv_text

CSV = "search.csv"
FILES = (CSV, "front.json", "candidates.jsonl", "pictures/?_*.png", "nets/*")
"""What is written beside ``result.json``, as patterns."""
_OPTIONS = (
    "channels",
    "depth",
    "blocks",
    "kernel",
    "up",
    "skip",
    "down",
    "activation",
    "conv",
    "expansion",
    "unshuffle",
)
_COLUMNS = (
    "device", "net", "role", "on_front", "portable", "ms", "ms_low", "ms_high", "steady", "predicted_ms", "psnr",
    "psnr_low", "psnr_high", "ssim", "validation_psnr", "parity_db", "front_share", "macs", "parameters", *_OPTIONS,
)  # fmt: skip


def flat(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a flat row for each network on each device."""
    found, rows = result["search"], []
    for device, of in found["devices"].items():
        for name, cell in of["nets"].items():
            net = found["nets"][name]
            rows.append({
                "device": device, "net": name, "role": net["role"], "on_front": name in of["front"],
                "portable": name in found["portable"]["nets"],
                "ms": cell["ms"]["value"], "ms_low": cell["ms"]["low"], "ms_high": cell["ms"]["high"],
                "psnr": cell["psnr"]["value"], "psnr_low": cell["psnr"]["low"], "psnr_high": cell["psnr"]["high"],
                "ssim": cell["ssim"]["value"], "macs": net["macs"], "parameters": net["parameters"],
                **{key: cell[key] for key in ("steady", "predicted_ms", "validation_psnr", "parity_db", "front_share")},
                **{key: net["spec"].get(key) for key in _OPTIONS},
            })  # fmt: skip
    return rows


def texts(result: Mapping[str, Any]) -> dict[str, str]:
    """Return the table as CSV, by the name of its file."""
    return {CSV: csv_text(_COLUMNS, flat(result))}


def show(result: Mapping[str, Any], folder: Path) -> None:
    """Print the front of each device and the portable set, what they say, and where everything is."""
    found, out = result["search"], console(140)
    for device, of in found["devices"].items():
        out.print(_front(device, of, found))
    out.print(_portable(found))
    out.print("dB of sRGB test pictures after conversion; area: dB times halvings of the time of the slowest made by "
              "hand; ~ unsteady", soft_wrap=True, style="dim")  # fmt: skip
    for one in result["guidelines"]:
        say(f"{'guideline':10} {one['text']}")
    for note in result["notes"]:
        say(f"{'note':10} {note}")
    for name, why in {**result["not_run"], **found["left_out"]}.items():
        if why != "not asked for":
            say(f"{'not run':10} {name}: {why}")
    here = Path.cwd()
    say(f"{'results':10} {folder.relative_to(here) if folder.is_relative_to(here) else folder}")


def _front(device: str, of: Mapping[str, Any], found: Mapping[str, Any]) -> Any:
    """Return the table of a device: its front, and beneath it the best made by hand."""
    from rich.table import Table

    gain = of["hypervolume"]["gain"]
    told = "no area to compare with" if gain["value"] is None else f"{gain['value']:+z.0%} area over hand-made"
    if gain["low"] is not None:
        told += f" ({gain['low']:+z.0%} to {gain['high']:+z.0%})"
    table = Table(title=f"{device}: {told}", title_justify="left")
    for name in ("network", "ms", "PSNR", "95 %", "over blurred", "SSIM", "on the front in"):
        table.add_column(name, justify="left" if name == "network" else "right")
    for name in of["front"]:
        table.add_row(_called(name, found), *_cell(of["nets"][name], of))
    by_hand = [
        name for name, cell in of["nets"].items() if found["nets"][name]["role"] == "hand_made" and cell["steady"]
    ]
    if by_hand:
        best = max(by_hand, key=lambda name: of["nets"][name]["validation_psnr"])
        table.add_section()
        table.add_row(f"{best} (best by hand)", *_cell(of["nets"][best], of))
    return table


def _cell(cell: Mapping[str, Any], of: Mapping[str, Any]) -> list[str]:
    psnr, share = cell["psnr"], cell["front_share"]
    between = "" if psnr["low"] is None else f"{psnr['low']:.2f} to {psnr['high']:.2f}"
    mark = "" if cell["steady"] else "~"
    return [f"{mark}{cell['ms']['value']:.1f}", f"{psnr['value']:.2f}", between,
            f"{psnr['value'] - of['reference']['psnr']:+.2f}", f"{cell['ssim']['value']:.3f}",
            "" if share is None else f"{share:.0%}"]  # fmt: skip


def _portable(found: Mapping[str, Any]) -> Any:
    """Return the table of regrets: what each device's best, and the portable set, loses on each."""
    from rich.table import Table

    names = list(found["devices"])
    table = Table(title=f"area lost; portable: {', '.join(found['portable']['nets'])}", title_justify="left")
    table.add_column("best of, run on")
    for name in names:
        table.add_column(name, justify="right")
    share = {(one["best_of"], one["on"]): one["share"] for one in (*found["regret"], *found["portable"]["regret"])}
    for name in (*names, "portable"):
        cells = [share.get((name, on)) for on in names]
        if name == "portable":
            table.add_section()
        table.add_row(name, *("-" if each is None else f"{each:.0%}" for each in cells))
    return table


def _called(name: str, found: Mapping[str, Any]) -> str:
    """Return a network's name and what it is made of, in short."""
    spec = found["nets"][name]["spec"]
    words = [spec[key] for key in ("up", "skip", "down", "activation", "conv") if key in spec]
    sizes = "x".join(str(spec[key]) for key in ("channels", "depth", "blocks") if key in spec)
    shuffled = f", unshuffle {spec['unshuffle']}" if spec.get("unshuffle", 1) > 1 else ""
    return f"{name} ({sizes}, {', '.join(words)}{shuffled})"
