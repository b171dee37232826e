"""What a page says of one network that was trained and converted: what each device restores, and how long it takes.

The result may be a stranger's: all of it is told as text. It may be of another version, too: what it lacks is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from itae.look.page.compared_part import compared_part
from itae.look.page.data_part import data_part
from itae.look.page.portable_part import again, db, facts_told, machine_part, of, threads_told
from itae.look.page.quality_part import lengths_told, marks, with_interval
from itae.look.page.run_part import any_run, figures_of
from itae.results.run import Run

_OPTIONS = ("steps", "crop", "batch", "lr", "fft", "ema", "precision")


def deploy_part(run: Run) -> dict[str, Any]:
    """Return all that the page shows of such a run, as plain values; of one that failed, its error and settings."""
    result = run.result
    part = any_run(run, again(result.get("started") or {}))
    if not run.ok:
        return part
    devices = result.get("devices") or {}
    row: Mapping[str, Any] = next(iter(result.get("rows") or ()), {})
    cells = row.get("cells") or {}
    rows = [_row(name, of(about, "quality") or {}, cells.get(name) or {}) for name, about in devices.items()]
    return part | {
        "title": f"What does a network restore? {of(result, 'net', 'name') or 'one'} on {len(rows)} devices",
        "about": _about(result, row),
        "found": _found(rows),
        "marks": [
            _row(name, found, {}) | {"about": about} for name, about, found in marks(result.get("quality") or {})
        ],
        "rows": rows,
        "told": [(one["name"], one["verdict"], one["why"]) for one in rows if one["why"]],
        "figures": figures_of(run, None, set()) if result.get("figures") else [],
        "lengths": lengths_told(of(result, "quality", "by_length") or ()),
        "pictures": compared_part(result.get("pictures") or (), run.folder),
        "network": _network(result),
        "data": data_part(result.get("data") or {}),
        **machine_part(result),
    }


def _about(result: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    size = result.get("size")
    told = [
        f"{size[0]} x {size[1]} pixels" if size else "",
        f"{row['macs'] / 1e9:.3g} GMAC" if row.get("macs") is not None else "",
        f"{row['parameters']:,} parameters" if row.get("parameters") is not None else "",
        threads_told(result["threads"]) if result.get("threads") else "",
        result.get("statistic") or "",
    ]
    return ", ".join(filter(None, told))


def _found(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return in a sentence what all devices that are to be used come to; which of them is best is left to the table."""
    kept = [row for row in rows if row["verdict"] == "kept"]
    told = f"{len(kept)} of {len(rows)} devices are kept."
    gains = [row["gain_db"] for row in kept if row["gain_db"] is not None]
    times = [row["took_ms"] for row in kept if row["took_ms"] is not None and row["steady"]]
    if gains:
        told += f" These restore {_between(gains, '+.2f')} dB above the blurred input on photographs of the test"
        told += f", in {_between(times, '.1f')} ms." if times else "."
    return told


def _between(values: Sequence[float], places: str) -> str:
    least, most = format(min(values), places), format(max(values), places)
    return least if least == most else f"{least} to {most}"


def _row(name: str, quality: Mapping[str, Any], cell: Mapping[str, Any]) -> dict[str, Any]:
    ms, size, budget = cell.get("ms"), cell.get("bytes"), quality.get("budget_db")
    return {
        "name": name,
        "about": "",
        "verdict": str(quality.get("verdict") or ""),
        "why": str(quality.get("why") or cell.get("wrong") or cell.get("reason") or ""),
        "psnr": with_interval(quality.get("psnr"), ".2f"),
        "gain": with_interval(quality.get("gain_db"), "+.2f"),
        "gain_db": of(quality, "gain_db", "mean"),
        "ssim": with_interval(quality.get("ssim"), ".3f"),
        "drop": with_interval(quality.get("drop_db"), ".3f"),
        "parity": db(quality.get("parity_db")),
        "budget": "" if budget is None else f"of {budget:g}",
        "took_ms": ms,
        "ms": "" if ms is None else f"{ms:.1f}" if ms >= 10 else f"{ms:.2f}",
        "steady": bool(cell.get("steady", True)) and cell.get("wrong") is None,
        "title": _clocked(cell),
        "bytes": "" if size is None else f"{size / 1e6:.2f}",
    }


def _clocked(cell: Mapping[str, Any]) -> str:
    names = {"p50_ms": "p50 {:.2f} ms of wall time", "p95_ms": "p95 {:.2f} ms of wall time", "rounds": "{} rounds",
             "convert_s": "conversion {:.1f} s"}  # fmt: skip
    told = [words.format(cell[name]) for name, words in names.items() if cell.get(name) is not None]
    if cell.get("split_half") is not None:
        told.append(f"split-half error {100 * cell['split_half']:.1f} %")
    return ", ".join(told)


def _network(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what the network is, how it was trained and what was done to it then."""
    training, weights = result.get("training") or {}, of(result, "net", "weights") or {}
    options = training.get("options") or {}
    told = [
        ("network", facts_told({**(of(result, "net", "net") or {}), "weights": None})),  # these: below
        ("trained", facts_told({name: options.get(name) for name in _OPTIONS})),
        ("its teacher", _teacher(result.get("teacher"), bool(training.get("taught")))),
        ("the processor's seconds", "" if training.get("cpu_s") is None else f"{training['cpu_s']:,.0f}"),
        ("best on validation", "" if training.get("best_psnr") is None else f"{training['best_psnr']:.2f} dB"),
        ("blurred there", "" if training.get("blurred_psnr") is None else f"{training['blurred_psnr']:.2f} dB"),
        *((f"then {one.get('step', '')}", facts_told({name: value for name, value in one.items() if name != "step"}))
          for one in of(result, "net", "lineage") or ()),
        ("weights", " ".join(str(weights[name]) for name in ("file", "sha256") if weights.get(name))),
    ]  # fmt: skip
    return [(name, words) for name, words in told if words]


def _teacher(about: Mapping[str, Any] | None, taught: bool) -> str:
    """Return what the network was distilled from; empty if it learned from photographs alone."""
    if not about:
        return "a network that this result doesn't name" if taught else ""
    return facts_told(about)
