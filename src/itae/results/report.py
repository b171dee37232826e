"""The table at the end of a run, and the list of assignments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itae.measure.scores import told_interval

if TYPE_CHECKING:
    from itae.edits.bimodal import Fit

SHOWN = ("acc", "nmi", "ari", "ami", "knn")


def print_report(result: dict[str, Any], folder: Path) -> None:
    """Print what came out: baseline beside edited, the paired difference, and what to know about it."""
    from rich.console import Console
    from rich.table import Table

    # Where nobody looks (a pipe, a log file) nothing may be folded at 80 columns.
    console = Console(width=None if Console().is_terminal else 120, highlight=False)
    scored = result["delta"] is not None
    rows = shown(result) if scored else ("inertia",)
    seeds = len(result["baseline"]["seeds"])
    table = Table(title=title(result), title_justify="left", caption_justify="left")
    table.add_column("")
    for name in ("baseline", "edited", *(("delta (paired)", "95 %") if scored else ())):
        table.add_column(name, justify="right")
    for metric in rows:
        cells = [spread(result[side][metric]) for side in ("baseline", "edited")]
        change = result["delta"][metric] if scored else None
        cells += [spread(change, sign="+"), told_interval(change)] if change else []
        table.add_row(metric.upper() if scored else metric, *cells)
    table.caption = f"mean ± std over {seeds} seeds, selection: {result['selection']}"
    table.caption += f"; 95 % interval of the delta over images{' and seeds' * (seeds > 1)}" if scored else ""
    console.print(table)
    here = Path.cwd()
    place = folder.relative_to(here) if folder.is_relative_to(here) else folder
    for name, text in (*facts(result), ("results", str(place))):
        console.print(f"{name:10} {text}", soft_wrap=True, markup=False)


def shown(result: Mapping[str, Any]) -> list[str]:
    """Return the scores that a table of a labelled run has."""
    return [name for name in SHOWN if name in result["delta"]]


def title(result: Mapping[str, Any]) -> str:
    """Return what was clustered, and by what, in one line."""
    settings, images = result["settings"], result["images"]
    backbone = settings["backbone"]
    return (
        f"{settings['dataset']['name']} ({images['n']} images, k={result['baseline']['k']}), "
        f"{backbone['model_name']}, {backbone['pool']}, {backbone['precision']}"
    )


def facts(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what is told of a run beside its table: what was done, what was flagged, what moved, what to know."""
    timing, edit = result["timing"], result["edit"]
    found = []
    if edit:
        rates = [f"{layer}: {100 * rate:.2f} %" for layer, rate in result["artifact_rate"].items()]
        found.append(("edit", told(edit)))
        if rates:
            found.append(("artifacts", f"share of patches flagged, by block: {', '.join(rates)}"))
        found += _attention(result["layers"]) + _registers(result.get("registers"))
        far = "cosine distance of the embeddings: mean {mean:.4g}, 95 % below {p95:.4g}"
        found.append(("moved", far.format(**result["moved"])))
    if result["delta"]:
        low = [result[side]["lowest_inertia"]["acc"] for side in ("baseline", "edited")]
        choice = f"of lowest inertia, chosen without labels: ACC {low[0]:.4f} untouched, {low[1]:.4f} edited"
        found.append(("one seed", choice))
    found += [("note", note) for note in result["notes"]]
    speed = "all cached" if result["cached"] else f"{timing['images_per_s']:.1f} images/s"
    time = f"embeddings {timing['extract_s']:.2f} s ({speed}), clustering {timing['cluster_s']:.2f} s"
    return [*found, ("time", f"{time}, peak memory {timing['peak_rss_mb']:.0f} MB")]


def _attention(layers: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return a fact about the CLS token's attention on what is flagged, if it is known and there is some."""
    known = [row for row in layers if row["cls_attention_before"]]
    if not known:
        return []
    sides = [[row[f"cls_attention_{side}"] for row in known] for side in ("before", "after")]
    before, after = ("unknown" if None in side else f"{100 * sum(side) / len(side):.2f} %" for side in sides)
    blocks = ", ".join(str(row["layer"]) for row in known)
    text = f"of the CLS token on them: {before} before, {after} after (mean of block{'s' * (len(known) > 1)} {blocks})"
    return [("attention", text)]


def _registers(found: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Return facts about the register neurons that were found, and about the outliers that they make."""
    if not found or not found["neurons"]:
        return []
    layers = [layer for layer, *_ in found["neurons"]]
    blocks = ", ".join(f"{layer}: {layers.count(layer)}" for layer in sorted(set(layers)))
    left = "unknown" if found["outliers_left"] is None else f"{100 * found['outliers_left']:.2f} %"
    theta = f"norm >= {found['theta']:.4g}" if found["theta"] is not None else found["reason"]
    before = f"{100 * found['outlier_rate']:.2f} % of the patches of {found['images']} images ({theta})"
    return [
        ("registers", f"{len(layers)} neurons, by block: {blocks}"),
        ("outliers", f"{before}; with the register {left} of all"),
    ]


def told(edit: dict[str, Any]) -> str:
    """Return an edit's spec in a few words."""
    if "registers" in edit:
        return _call(edit["registers"])
    parts = [_call(edit[part]) for part in ("detector", "attenuator")]
    layers = ",".join(str(layer) for layer in edit["layers"])
    return f"{parts[0]} > {parts[1]} in blocks {layers}"


def _call(rule: Mapping[str, Any]) -> str:
    values = {key: value for key, value in rule.items() if key not in ("class", "source", "thetas", "fit")}
    words = (f"{key}={_call(value) if isinstance(value, Mapping) else value}" for key, value in values.items())
    return f"{rule['class'].rpartition('.')[2]}({', '.join(words)})"


def print_fits(fits: Mapping[int, Fit], path: Path) -> None:
    """Print a table of fitted thresholds, a row a block, and where they are."""
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for column in ("block", "threshold", "beyond it", "Gaussians", "valley", "why"):
        table.add_column(column, justify="left" if column == "why" else "right")
    for layer, fit in fits.items():
        numbers = (f"{fit.theta:.4g}", f"{100 * fit.minority:.2f} %", str(fit.components or ""), f"{fit.valley:.3f}")
        table.add_row(str(layer), *("" if "nan" in number else number for number in numbers), fit.reason)
    console = Console()
    console.print(table)
    console.print(f"thresholds {path}", soft_wrap=True, markup=False, highlight=False)


def spread(metric: Mapping[str, Any], sign: str = "") -> str:
    """Return mean and standard deviation as in ``0.9300 ± 0.0050``; ``none`` where there is none."""
    if metric["mean"] is None:
        return "none"
    digits = 4 if abs(metric["mean"]) < 100 else 1
    std = "" if metric["std"] is None else f" ± {metric['std']:.{digits}f}"
    return f"{metric['mean']:{sign}.{digits}f}{std}"
