"""What is written beside the result of the study, and what is printed at its end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from itae.base.console import console, say
from itae.results.csv_text import csv_text

CSV = "devices.csv"
FILES = (CSV, "net.safetensors", "pictures/?_*.png")
"""What is written beside ``result.json``, as patterns."""
_COLUMNS = (
    "device", "verdict", "psnr", "psnr_low", "psnr_high", "ssim", "gain_db", "gain_low", "gain_high", "drop_db",
    "parity_db", "ms", "steady", "statistic", "rounds", "split_half", "bytes", "why",
)  # fmt: skip


def flat(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a flat row for each device: what it restores, and how long that takes."""
    cells = result["rows"][0]["cells"] if result["rows"] else {}
    rows = []
    for name, device in result["devices"].items():
        one, cell = device["quality"], cells.get(name, {})
        means = {key: one.get(key) or {} for key in ("psnr", "ssim", "gain_db", "drop_db")}
        rows.append({
            "device": name, "verdict": one["verdict"], "psnr": means["psnr"].get("mean"),
            "psnr_low": means["psnr"].get("low"), "psnr_high": means["psnr"].get("high"),
            "ssim": means["ssim"].get("mean"), "gain_db": means["gain_db"].get("mean"),
            "gain_low": means["gain_db"].get("low"), "gain_high": means["gain_db"].get("high"),
            "drop_db": means["drop_db"].get("mean"), "parity_db": one["parity_db"], "ms": cell.get("ms"),
            "steady": cell.get("steady"), "statistic": cell.get("statistic"), "rounds": cell.get("rounds"),
            "split_half": cell.get("split_half"), "bytes": cell.get("bytes"),
            "why": one["why"] or cell.get("wrong") or cell.get("reason"),
        })  # fmt: skip
    return rows


def texts(result: Mapping[str, Any]) -> dict[str, str]:
    """Return the table as CSV, by the name of its file."""
    return {CSV: csv_text(_COLUMNS, flat(result))}


def show(result: Mapping[str, Any], folder: Path) -> None:
    """Print what each device restores and how long it takes, what to know about it, and where everything is."""
    from rich.table import Table

    table = Table("device", title=None)
    for name in ("PSNR", "95 %", "over blurred", "SSIM", "drop", "parity", "ms", "verdict"):
        table.add_column(name, justify="right")
    quality = result["quality"]
    table.add_row("blurred", *_means(quality["blurred"]), "", "", "", "")
    if quality["wiener"] is not None:
        table.add_row("Wiener, told the PSF", *_means(quality["wiener"]), "", "", "", "")
    for row in flat(result):
        one = result["devices"][row["device"]]["quality"]
        dash = ["-"] * 4 if one["psnr"] is None else _means(one)
        ms = ("" if row["steady"] in (None, True) else "~") + _number(row["ms"], 1)
        drop, parity = _number(row["drop_db"], 3), _number(row["parity_db"], 0)
        table.add_row(row["device"], *dash, drop, parity, ms, row["verdict"])
    out = console(140)
    net, size = result["net"], result.get("size")
    about = f"{net['name']}, {size[0]} x {size[1]} pixels, {result['statistic']}" if size else net["name"]
    out.print(about, soft_wrap=True, style="italic")
    out.print(table)
    out.print("dB of sRGB pictures; drop: what a conversion lost; ~ unsteady, - not run", soft_wrap=True, style="dim")
    for row in flat(result):
        if row["why"]:
            say(f"{row['verdict']:10} {row['why']}")
    for note in result["notes"]:
        say(f"{'note':10} {note}")
    for name, why in result["not_run"].items():
        if name not in result["devices"] and why != "not asked for":
            say(f"{'not run':10} {name}: {why}")
    here = Path.cwd()
    say(f"{'results':10} {folder.relative_to(here) if folder.is_relative_to(here) else folder}")


def _means(one: Mapping[str, Any]) -> list[str]:
    psnr, gain = one["psnr"], one.get("gain_db")
    between = "" if psnr["low"] is None else f"{psnr['low']:.2f} to {psnr['high']:.2f}"
    return [
        f"{psnr['mean']:.2f}",
        between,
        "" if gain is None else f"{gain['mean']:+.2f}",
        f"{one['ssim']['mean']:.3f}",
    ]


def _number(value: float | None, places: int) -> str:
    return "-" if value is None else f"{value:z.{places}f}"
