"""The table at the end of a run, of whatever task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itae.base.console import console, say
from itae.measure.scores import told_interval
from itae.results import before
from itae.results.shown import kind_of, shown_of

if TYPE_CHECKING:
    from itae.edits.bimodal import Fit


def print_report(result: Mapping[str, Any], folder: Path) -> None:
    """Print what came out: baseline beside edited, the delta where there is one, and what to know about it."""
    from rich.table import Table

    out = console(120)
    rows = score_rows(result)
    table = Table("")
    heads = {"baseline": "baseline", "edited": "edited", "delta": "delta (paired)", "interval": "95 %"}
    shown = [name for name in heads if any(row[name] for row in rows)]
    for name in shown:
        table.add_column(heads[name], justify="right")
    for row in rows:
        table.add_row(*(row[name] for name in ("metric", *shown)))
    # A table's own title and caption would be folded to its width.
    out.print(title(result), soft_wrap=True, style="italic")
    out.print(table)
    out.print(_caption(result, "interval" in shown), soft_wrap=True, style="dim")
    here = Path.cwd()
    place = folder.relative_to(here) if folder.is_relative_to(here) else folder
    for name, text in (*details(result), ("results", str(place))):
        say(f"{name:10} {text}")


def score_rows(result: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the rows of a run's table, in words.

    Returns
    -------
    list of dict
        ``metric``, its title; ``baseline`` and ``edited``; ``delta`` and its ``interval``, empty where there is none.
    """
    shown, delta = shown_of(result), result.get("delta") or {}
    return [
        {
            "metric": shown.metrics[name].title,
            **{side: with_std(result[side][name]) for side in ("baseline", "edited")},
            "delta": with_std(delta.get(name), "+"),
            "interval": told_interval(delta.get(name)),
        }
        for name in shown.table
    ]


def _caption(result: Mapping[str, Any], intervals: bool) -> str:
    shown = shown_of(result)
    parts = ["baseline: the untouched backbone", f"selection: {result['selection']}"]
    if shown.over:
        parts.insert(1, f"mean ± std over {shown.over}")
    if intervals:
        parts.append(f"95 % interval of the delta over images{' and ' + shown.unit if shown.over else ''}")
    return "; ".join(parts)


def title(result: Mapping[str, Any]) -> str:
    """Return what was measured, and by what, in one line."""
    settings = result["settings"]
    backbone = settings["backbone"]
    about = ", ".join(filter(None, (f"{result['images']['n']} images", shown_of(result).about)))
    return (
        f"{settings['dataset']['name']} ({about}), {backbone['model_name']}, {backbone['pool']}, "
        f"{backbone['precision']}"
    )


def details(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what is told of a run beside its table: what was done, what was flagged, what moved, what to know."""
    edit = result["edit"]
    found = []
    if edit:
        rates = [f"{layer}: {100 * rate:.2f} %" for layer, rate in result["artifact_rate"].items()]
        found.append(("edit", told(edit)))
        if (passes := result.get("passes", 1)) > 1:
            found.append(("cost", f"{passes} forward passes an image"))
        if rates:
            found.append(("artifacts", f"share of patches flagged, by block: {', '.join(rates)}"))
        found += _attention(result["layers"]) + _sinks(result.get("sinks") or {}) + _registers(result.get("registers"))
        found += _gathered(result.get("gathered"))
        far = "cosine distance of the embeddings: mean {mean:.4g}, 95 % below {p95:.4g}"
        found.append(("moved", far.format(**result["moved"])))
    found += before.details(result) if result.get("shown") is None else [(str(a), str(b)) for a, b in result["details"]]
    found += [("note", note) for note in result["notes"]]
    return [*found, ("time", _time(result))]


def _time(result: Mapping[str, Any]) -> str:
    timing = result["timing"]
    passed, images = timing.get("passed"), timing.get("images")  # results of before don't say it
    some = "" if passed == images else f"{passed} of {images} images passed"
    rate = "" if timing["images_per_s"] is None else f"{timing['images_per_s']:.1f} images/s"
    speed = "all cached" if result["cached"] else ", ".join(filter(None, (some, rate)))
    device = f", computed on {result['device']}" if result.get("device") else ""  # results of before don't say it
    parts = [f"embeddings {timing['extract_s']:.2f} s ({speed}{device})"]
    if (seconds := timing.get("task_s", timing.get("cluster_s"))) is not None:
        parts.append(f"{kind_of(result)} {seconds:.2f} s")
    return f"{', '.join(parts)}, peak memory {timing['peak_rss_mb']:.0f} MB"


def _attention(layers: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return a detail about the CLS token's attention on what is flagged, if it is known and there is some."""
    known = [row for row in layers if row["cls_attention_before"]]
    if not known:
        return []
    sides = [[row[f"cls_attention_{side}"] for row in known] for side in ("before", "after")]
    before, after = ("unknown" if None in side else f"{100 * sum(side) / len(side):.2f} %" for side in sides)
    blocks = ", ".join(str(row["layer"]) for row in known)
    text = f"of the CLS token on them: {before} before, {after} after (mean of block{'s' * (len(known) > 1)} {blocks})"
    return [("attention", text)]


def _sinks(found: Mapping[str, Mapping[str, float]]) -> list[tuple[str, str]]:
    """Return a detail about the values of what is flagged, and the attention that it draws, if they are known."""
    parts = []
    for name, text in (
        ("values_flagged", "of flagged patches {} times as long as of the others"),
        ("attention_flagged", "all tokens attend to them {} times as much"),
    ):
        if known := {block: row[name] for block, row in found.items() if name in row}:
            least, most = min(known.values()), max(known.values())
            parts.append(text.format(f"{least:.2g}" if len(known) == 1 else f"{least:.2g} to {most:.2g}"))
    return [("values", "; ".join(parts) + " (medians)")] if parts else []


def _registers(found: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Return details about the register neurons that were found, and about the outliers that they make."""
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


def _gathered(found: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Return a detail about what was taken from calibration images, if anything was."""
    if not found:
        return []
    if found["values"] is None:
        return [("calibration", f"means over {found['images']} images, digest {found['digest'][:8]}")]
    blocks = ", ".join(f"{layer}: {count}" for layer, count in found["values"].items())
    return [("calibration", f"values of flagged patches of {found['images']} images, by block: {blocks}")]


def told(edit: dict[str, Any]) -> str:
    """Return an edit's spec in a few words."""
    for part in ("registers", "register_mean"):
        if part in edit:
            return _call(edit[part])
    if "augment" in edit:
        return _views(edit["augment"])
    parts = [_call(edit[part]) for part in ("detector", "attenuator", "neighbour_mean") if part in edit]
    layers = ",".join(str(layer) for layer in edit["layers"])
    return f"{parts[0]} > {parts[1]} in blocks {layers}"


def _views(augment: Mapping[str, Any]) -> str:
    views = augment["views"]
    far = max(abs(pixels) for down, right, _ in views for pixels in (down, right))
    how = [f"moved by {far} pixels"] if far else []
    how += ["mirrored"] if any(mirrored for *_, mirrored in views) else []
    return f"{augment['class'].rpartition('.')[2]}({len(views)} views: the image, {', '.join(how)})"


def _call(rule: Mapping[str, Any]) -> str:
    values = {key: value for key, value in rule.items() if key not in ("class", "source", "thetas", "fit")}
    words = (f"{key}={_call(value) if isinstance(value, Mapping) else value}" for key, value in values.items())
    return f"{rule['class'].rpartition('.')[2]}({', '.join(words)})"


def print_fits(fits: Mapping[int, Fit], path: Path) -> None:
    """Print a table of fitted thresholds, a row a block, and where they are."""
    from rich.table import Table

    table = Table()
    for column in ("block", "threshold", "beyond it", "Gaussians", "valley", "why"):
        table.add_column(column, justify="left" if column == "why" else "right")
    for layer, fit in fits.items():
        numbers = (f"{fit.theta:.4g}", f"{100 * fit.minority:.2f} %", str(fit.components or ""), f"{fit.valley:.3f}")
        table.add_row(str(layer), *("" if "nan" in number else number for number in numbers), fit.reason)
    console().print(table)
    say(f"thresholds {path}")


def with_std(value: Any, sign: str = "") -> str:
    """Return mean and standard deviation as in ``0.9300 ± 0.0050``, or what there is of it.

    Parameters
    ----------
    value
        ``{"mean", "std"}``, a number, words; None where there is nothing. What is a whole number in each of
        ``per_seed`` was counted, and has no decimals, or one where there are several counts.
    sign
        ``+`` for one before positive numbers.

    Returns
    -------
    str
        ``none`` for a mean that is none, as of a silhouette of one cluster.
    """
    if not isinstance(value, Mapping):
        return _number(value, sign) if isinstance(value, int | float) else "" if value is None else str(value)
    if value.get("mean") is None:
        return "none"
    mean, std = value["mean"], value.get("std")
    if (each := value.get("per_seed")) and all(type(one) is int for one in each):
        return f"{mean:{sign}.0f}" if std is None else f"{mean:{sign}.1f} ± {std:.1f}"
    return _number(mean, sign) + ("" if std is None else f" ± {_number(std, '', mean)}")


def _number(value: float, sign: str, like: float | None = None) -> str:
    digits = 4 if abs(value if like is None else like) < 100 else 1
    return f"{value:{sign}.{digits}f}"
