"""The table at the end of a run, and the list of assignments."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

SHOWN = ("acc", "nmi", "ari", "ami")


def print_report(result: dict[str, Any], folder: Path) -> None:
    """Print what came out: baseline beside edited, the paired difference, and what to know about it."""
    from rich.console import Console
    from rich.table import Table

    # Where nobody looks (a pipe, a log file) nothing may be folded at 80 columns.
    console = Console(width=None if Console().is_terminal else 120, highlight=False)
    scored = result["delta"] is not None
    rows = SHOWN if scored else ("inertia",)
    seeds = len(result["baseline"]["seeds"])
    table = Table(title=_title(result), title_justify="left", caption_justify="left")
    table.add_column("")
    for name in ("baseline", "edited", *(("delta (paired)",) if scored else ())):
        table.add_column(name, justify="right")
    for metric in rows:
        cells = [spread(result[side][metric]) for side in ("baseline", "edited")]
        cells += [spread(result["delta"][metric], sign="+")] if scored else []
        table.add_row(metric.upper() if scored else metric, *cells)
    table.caption = f"mean ± std over {seeds} seeds, selection: {result['selection']}"
    console.print(table)
    for line in _lines(result, folder):
        console.print(line, soft_wrap=True, markup=False)


def _title(result: dict[str, Any]) -> str:
    settings, images = result["settings"], result["images"]
    backbone = settings["backbone"]
    return (
        f"{settings['dataset']['name']} ({images['n']} images, k={result['baseline']['k']}), "
        f"{backbone['model_name']}, {backbone['pool']}, {backbone['precision']}"
    )


def _lines(result: dict[str, Any], folder: Path) -> list[str]:
    timing, edit = result["timing"], result["edit"]
    lines = []
    if edit:
        rates = [f"{layer}: {100 * rate:.2f} %" for layer, rate in result["artifact_rate"].items()]
        lines.append(f"edit       {told(edit)}")
        lines.append(f"artifacts  share of patches flagged, by block: {', '.join(rates)}")
        lines += _attention(result["layers"])
        lines.append(
            "moved      cosine distance of the embeddings: mean {mean:.4f}, 95 % below {p95:.4f}".format(
                **result["moved"]
            )
        )
    if result["delta"]:
        low = [result[side]["lowest_inertia"]["acc"] for side in ("baseline", "edited")]
        lines.append(
            f"lowest     ACC of the seed of lowest inertia, a choice without labels: {low[0]:.4f}, {low[1]:.4f}"
        )
    lines += [f"note       {note}" for note in result["notes"]]
    speed = "all cached" if result["cached"] else f"{timing['images_per_s']:.1f} images/s"
    lines.append(
        f"time       embeddings {timing['extract_s']:.2f} s ({speed}), clustering {timing['cluster_s']:.2f} s, "
        f"peak memory {timing['peak_rss_mb']:.0f} MB"
    )
    here = Path.cwd()
    lines.append(f"results    {folder.relative_to(here) if folder.is_relative_to(here) else folder}")
    return lines


def _attention(layers: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line about the CLS token's attention on what is flagged, if it is known and there is some."""
    known = [row for row in layers if row["cls_attention_before"]]
    if not known:
        return []
    sides = [[row[f"cls_attention_{side}"] for row in known] for side in ("before", "after")]
    before, after = ("unknown" if None in side else f"{100 * sum(side) / len(side):.2f} %" for side in sides)
    return [f"attention  of the CLS token on them: {before} before, {after} after (mean of {len(known)} blocks)"]


def told(edit: dict[str, Any]) -> str:
    """Return an edit's spec in a few words."""
    parts = []
    for part in ("detector", "attenuator"):
        values = {key: value for key, value in edit[part].items() if key not in ("class", "source")}
        words = ", ".join(f"{key}={value}" for key, value in values.items())
        parts.append(f"{edit[part]['class'].rpartition('.')[2]}({words})")
    layers = ",".join(str(layer) for layer in edit["layers"])
    return f"{parts[0]} > {parts[1]} in blocks {layers}"


def spread(metric: Mapping[str, Any], sign: str = "") -> str:
    """Return mean and standard deviation as in ``0.9300 ± 0.0050``."""
    std = "" if metric["std"] is None else f" ± {metric['std']:.4f}"
    return f"{metric['mean']:{sign}.4f}{std}"


def write_assignments(
    path: Path,
    ids: Sequence[str],
    labels: Sequence[str] | None,
    baseline: np.ndarray,
    edited: np.ndarray,
    moved: np.ndarray,
) -> None:
    """Write one row an image: its id, its label if there is one, its cluster before and after the edit.

    Both clusterings are the ones of the lowest inertia; their cluster numbers have nothing to do with each
    other. `moved` is the cosine distance between the image's two embeddings.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", *(["label"] if labels is not None else []), "baseline", "edited", "moved"])
        for i, name in enumerate(ids):
            label = [labels[i]] if labels is not None else []
            writer.writerow([name, *label, int(baseline[i]), int(edited[i]), f"{moved[i]:.6f}"])
