"""What a page says of a search: which networks are worth their time on each device, and what one set for all costs.

The result may be a stranger's: all of it is told as text. It may be of another version, too: what it lacks is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from itae.look.page.compared_part import compared_part
from itae.look.page.data_part import data_part
from itae.look.page.front_part import front_part
from itae.look.page.fronts_part import fronts_part, spec_told
from itae.look.page.portable_part import again, facts_told, grouped, machine_part, of, threads_told, word
from itae.look.page.quality_part import lengths_told, marks, number, with_interval
from itae.look.page.run_part import any_run, figures_of
from itae.results.run import Run

_KINDS = {
    "gain": "What was gained over networks made by hand",
    "portable": "One set for all devices",
    "regret": "What is lost on another device",
    "disagree": "Where fronts differ",
    "front": "What networks of a front have in common",
}
"""Of guidelines, in the order of the page."""
_COUNTS = {
    "judged": "networks judged", "judge": "by", "trials": "asked for", "repeated": "asked for again",
    "hopeless": "not judged, since slower on every device than any made by hand", "read": "judged by a run before",
    "failed": "judgements or predictions that failed", "why": "as", "file": "each in",
}  # fmt: skip
_SELDOM = ("read", "failed", "why")
"""Of these, what is told only if there are any."""
_STRONGEST = 75.0
"""How much of a colour, in percent, a cell has where all is lost."""
_TABLED = {"regret"}
"""Figures that the page has as a table."""


def search_part(run: Run) -> dict[str, Any]:
    """Return all that the page shows of such a run, as plain values; of one that failed, its error and settings."""
    result = run.result
    part = any_run(run, again(result.get("started") or {}))
    if not run.ok:
        return part
    found = result.get("search") or {}
    devices, nets = found.get("devices") or {}, found.get("nets") or {}
    by_hand = sum(net.get("role") == "hand_made" for net in nets.values())
    figures = figures_of(run, None, _TABLED) if result.get("figures") else []
    return part | {
        "title": f"Which network for which device? {len(nets)} measured on {len(devices)} devices",
        "about": _about(result),
        "found": _found(devices, found.get("portable") or {}),
        "by_hand": by_hand,
        "marks": [_mark(*one) for one in marks(result.get("quality") or {})],
        "fronts": fronts_part(found),
        "left_out": list((found.get("left_out") or {}).items()),
        "matrix": _matrix(found, list(devices)),
        "portable": _portable(found, nets),
        "predictor": [_predictor(name, about) for name, about in (found.get("predictor") or {}).items()],
        "ranks": _ranks(result.get("ranks")),
        "supernet": _supernet(of(result, "supernet", "facts") or {}),
        "candidates": _candidates(result.get("candidates") or {}),
        "figures": {one["name"]: one for one in figures},
        "lengths": lengths_told(of(result, "quality", "by_length") or ()),
        "pictured": result.get("pictured"),
        "pictures": compared_part(result.get("pictures") or (), run.folder),
        "guidelines": grouped(result.get("guidelines") or (), _KINDS),
        "files": front_part(run.folder),
        "data": data_part(result.get("data") or {}),
        **machine_part(result),
    }


def _about(result: Mapping[str, Any]) -> str:
    size = result.get("size")
    threads = threads_told(result["threads"]) if result.get("threads") else ""
    told = (f"{size[0]} x {size[1]} pixels" if size else "", threads, result.get("statistic") or "")
    return ", ".join(filter(None, told))


def _found(devices: Mapping[str, Any], portable: Mapping[str, Any]) -> list[str]:
    """Return in sentences on how many devices the search won, and what the portable set costs."""
    gains = [of(about, "hypervolume", "gain") or {} for about in devices.values()]
    known = [gain for gain in gains if gain.get("value") is not None]
    sure = sum((gain.get("low") or 0) > 0 for gain in known)
    tenth = sum(gain["value"] >= 0.1 for gain in known)
    told = []
    if known:
        told.append(
            f"On {sure} of {len(devices)} devices the front of the search has more area than the networks made by "
            f"hand, the whole interval above nothing; on {tenth} it has at least 10 % more."
        )
    if portable.get("worst") is not None:
        count = len(portable.get("nets") or ())
        nets = "One network" if count == 1 else f"One set of {count} networks"
        told.append(f"{nets} for all devices loses at most {number(portable['worst'], '.0%')} of a device's own area.")
    return told


def _mark(name: str, about: str, quality: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "about": about,
        "psnr": with_interval(quality.get("psnr"), ".2f"),
        "gain": with_interval(quality.get("gain_db"), "+.2f"),
        "ssim": with_interval(quality.get("ssim"), ".3f"),
    }


def _matrix(found: Mapping[str, Any], devices: Sequence[str]) -> list[dict[str, Any]]:
    """Return what the best of each device, and the portable set, loses on each: rows of cells."""
    told = [*(found.get("regret") or ()), *(of(found, "portable", "regret") or ())]
    cells = {(one.get("best_of"), one.get("on")): one for one in told}
    rows = [*devices, *(["portable"] if ("portable" not in devices and found.get("portable")) else [])]
    return [
        {"name": "the portable set" if name not in devices else name, "portable": name not in devices,
         "cells": [_lost(cells.get((name, on), {})) for on in devices]}
        for name in rows
    ] if cells else []  # fmt: skip


def _lost(cell: Mapping[str, Any]) -> dict[str, Any]:
    share, times, db = cell.get("share"), cell.get("times"), cell.get("db")
    told = {"loss": number(share, ".0%"), "times": "" if times is None else f"x{times:.2f}"}
    worst = cell.get("worst_times")
    title = [f"{db:+.2f} dB lost at equal time" if db is not None else "",
             f"at worst {worst:.2f} times as long at equal PSNR" if worst is not None else ""]  # fmt: skip
    strong = 0.0 if share is None else min(1.0, max(0.0, float(share))) * _STRONGEST
    return told | {"title": ", ".join(filter(None, title)), "share": round(strong, 1)}


def _portable(found: Mapping[str, Any], nets: Mapping[str, Any]) -> dict[str, Any] | None:
    one = found.get("portable")
    if not one:
        return None
    return {
        "nets": [(name, spec_told(nets.get(name) or {})) for name in one.get("nets") or ()],
        "worst": number(one.get("worst"), ".0%"),
        "chosen_worst": number(one.get("chosen_worst"), ".0%"),
        "exact": bool(one.get("exact")),
    }


def _predictor(name: str, about: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "held_out": _errors(about), "afterwards": _errors(about.get("afterwards") or {})}


def _errors(about: Mapping[str, Any]) -> dict[str, Any]:
    of_it = {key: dict(zip(("value", "low", "high"), about.get(key) or (), strict=False))
             for key in ("mean_error", "spearman")}  # fmt: skip
    within = about.get("within")
    return {
        "nets": len(about.get("measured_ms") or ()),
        "mean": with_interval(of_it["mean_error"], ".1%"),
        "spearman": with_interval(of_it["spearman"], ".2f"),
        "within": "" if within is None else f"{within:.2f}",
    }


def _ranks(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return whether the supernet puts networks in the order of their trainings."""
    if not found:
        return None
    nets = [
        {"net": spec_told({"spec": one.get("spec") or {}}), "ours": number(one.get("by_supernet"), ".2f"),
         "theirs": number(one.get("by_training"), ".2f")}
        for one in found.get("nets") or ()
    ]  # fmt: skip
    rho, between = with_interval({**found, "value": found.get("spearman")}, ".2f")
    return {"rho": rho, "between": between, "enough": number(found.get("enough"), "g"), "nets": nets,
            "holds": bool(found.get("holds"))}  # fmt: skip


def _supernet(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    told = [
        ("networks in it", f"{facts['networks']:,}" if facts.get("networks") is not None else ""),
        ("parameters", f"{facts['parameters']:,}" if facts.get("parameters") is not None else ""),
        ("a batch teaches", facts_told(facts.get("sandwich") or {})),
        ("steps", word(of(facts, "options", "steps") or "")),
        ("the processor's seconds", f"{facts['cpu_s']:,.0f}" if facts.get("cpu_s") is not None else ""),
        ("weights", str(facts.get("sha256") or "")),
    ]
    return [(name, words) for name, words in told if words]


def _candidates(counts: Mapping[str, Any]) -> list[tuple[str, str]]:
    there = {name: value for name, value in counts.items() if value is not None and (value or name not in _SELDOM)}
    told = [(words, word(there[name])) for name, words in _COUNTS.items() if name in there]
    seconds = counts.get("seconds")
    return told if seconds is None else [*told, ("in", f"{seconds:,.1f} s")]
