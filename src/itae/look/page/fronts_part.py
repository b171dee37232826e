"""The front of each device as a page tells it: its area against that of networks made by hand, and each network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from itae.look.page.portable_part import db, of
from itae.look.page.quality_part import number, with_interval

_SIZES = ("channels", "depth", "blocks")
_WORDS = ("up", "skip", "down", "activation", "conv")


def fronts_part(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what a page tells of each device.

    Parameters
    ----------
    found
        As `itae.portable.search.summary.summary` returns it.
    """
    nets, portable = found.get("nets") or {}, of(found, "portable", "nets") or ()
    return [_device(name, about, nets, portable) for name, about in (found.get("devices") or {}).items()]


def spec_told(net: Mapping[str, Any]) -> str:
    """Return what a network is made of, in short."""
    spec = net.get("spec") or {}
    sizes = "x".join(str(spec[key]) for key in _SIZES if key in spec)
    kernel = f"kernel {spec['kernel']}" if "kernel" in spec else ""
    shuffled = f"unshuffle {spec['unshuffle']}" if spec.get("unshuffle", 1) != 1 else ""
    return ", ".join(filter(None, (sizes, *(str(spec[key]) for key in _WORDS if key in spec), kernel, shuffled)))


def _device(name: str, about: Mapping[str, Any], nets: Mapping[str, Any], portable: Sequence[str]) -> dict[str, Any]:
    cells, front = about.get("nets") or {}, about.get("front") or ()
    blurred = of(about, "reference", "psnr")
    rows = [_net(net, cell, nets.get(net) or {}, blurred, net in front, net in portable) for net, cell in cells.items()]
    areas, above = about.get("hypervolume") or {}, of(about, "hypervolume", "above")
    on = [cells[net] for net in front if net in cells]
    return {
        "name": name,
        "count": len(front),
        "ms": _ends([of(cell, "ms", "value") for cell in on], ".1f"),
        "psnr": _ends([of(cell, "psnr", "value") for cell in on], ".2f"),
        "searched": with_interval(areas.get("searched"), ".2f"),
        "hand_made": with_interval(areas.get("hand_made"), ".2f"),
        "gain": with_interval(areas.get("gain"), "+z.0%"),
        "above": number(above, ".0%"),
        "ahead": list(about.get("hand_made_ahead") or ()),
        "slowest": number(of(about, "reference", "ms"), ".1f"),
        "rows": sorted(rows, key=lambda row: row["order"]),
    }


def _ends(values: Sequence[float | None], places: str) -> str:
    known = [value for value in values if value is not None]
    ends = dict.fromkeys(number(value, places) for value in (min(known), max(known))) if known else ()
    return " to ".join(ends)


def _net(
    name: str, cell: Mapping[str, Any], net: Mapping[str, Any], blurred: float | None, on: bool, everywhere: bool
) -> dict[str, Any]:
    psnr, macs = of(cell, "psnr", "value"), net.get("macs")
    over = None if psnr is None or blurred is None else psnr - blurred
    return {
        "name": name,
        "spec": spec_told(net),
        "by_hand": net.get("role") == "hand_made",
        "on": on,
        "portable": everywhere,
        "order": of(cell, "ms", "value") or 0.0,
        "gmac": "" if macs is None else f"{macs / 1e9:.3g}",
        "ms": with_interval(cell.get("ms"), ".2f"),
        "steady": bool(cell.get("steady", True)),
        "predicted": number(cell.get("predicted_ms"), ".2f"),
        "psnr": with_interval(cell.get("psnr"), ".2f"),
        "over": with_interval(cell.get("gain_db") or {"value": over}, "+.2f"),
        "ssim": with_interval(cell.get("ssim"), ".3f"),
        "parity": db(cell.get("parity_db")),
        "share": number(cell.get("front_share"), ".0%"),
    }
