"""The table of the study: what each network takes on each device, and against the base."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from itae.results.csv_text import csv_text

CSV = "operators.csv"
_OF_A_CELL = (
    "ms", "ratio", "low", "high", "noise", "steady", "statistic", "rounds", "split_half", "p50_ms", "p95_ms",
    "wall_min_ms", "cpu_min_ms", "first_ms", "parity_db", "fallbacks", "convert_s", "bytes", "reason",
)  # fmt: skip


def compared(row: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the cells of a row, by device, whose ratio to the base has an interval."""
    return {device: cell for device, cell in row["cells"].items() if cell.get("low") is not None}


def devices_in(result: Mapping[str, Any]) -> list[str]:
    """Return the devices of a result that have at least one measured cell, in their order."""
    return [name for name in result["devices"] if any("ms" in row["cells"].get(name, {}) for row in result["rows"])]


def flat(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one flat row for each cell, of what is measured and of what isn't."""
    return list(_flat(result))


def _flat(result: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    base = next(row for row in result["rows"] if row["name"] == result["base"])
    for row in result["rows"]:
        about = {
            "change": row["name"],
            "gmac": row["macs"] / 1e9,
            "macs_ratio": row["macs"] / base["macs"],
            "parameters": row["parameters"],
        }
        for device, cell in row["cells"].items():
            told = {name: cell.get(name) for name in _OF_A_CELL}
            told["fallbacks"] = " ".join(cell.get("fallbacks") or ())
            told["reason"] = cell.get("wrong") or cell.get("reason")
            yield {"device": device, **about, **told}


def as_csv(result: Mapping[str, Any]) -> str:
    """Return the table as CSV: a line for each cell."""
    return csv_text(["device", "change", "gmac", "macs_ratio", "parameters", *_OF_A_CELL], flat(result))


def percent(ratio: float, sign: bool = True) -> str:
    """Return a ratio as a difference in percent, as in ``+72 %``; ``sign=False``: as a share, as in ``172 %``."""
    return f"{_rounded(100 * (ratio - 1)):+d} %" if sign else f"{_rounded(100 * ratio)} %"


def between(cell: Mapping[str, Any]) -> str:
    """Return the interval of a cell's ratio as differences in percent, as in ``+68 to +75 %``."""
    return f"{_rounded(100 * (cell['low'] - 1)):+d} to {percent(cell['high'])}"


def _rounded(value: float) -> int:
    return round(value) + 0
