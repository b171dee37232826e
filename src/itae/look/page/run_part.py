"""What a page says of one run: its scores, its pictures, its clusters, and how to make it again."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from itae.base.errors import UserError
from itae.look.page.gallery_part import gallery_part
from itae.look.page.pictures import address
from itae.look.run_figures import Seen, draw
from itae.measure.scores import told_interval
from itae.results.report import facts, shown, spread, title

if TYPE_CHECKING:
    from itae.images.image_set import ImageSet
    from itae.results.run import Run

_LIVELIER = "embeddings"  # the figure that the gallery shows better
_CAPTIONS = {
    "norms": "How long queries, keys, values and tokens are in every block of the untouched model, in some of the "
    "images (a sixteenth, of many): the darker, the more of the block's patches. Artifacts, where there are any, are a "
    "band of their own, apart from the rest.",
    "signal": "The detector's signal in each edited block: all patches in blue, flagged ones in orange, the threshold "
    "dashed.",
    "layers": "The share of patches that each edited block flags, and the CLS token's attention on them: what they "
    "would get without the edit of that block, and what they do get, in the same images.",
    "artifacts": "What was flagged in some images, and the CLS token's attention before and after the edit.",
    "embeddings": "Both sets of embeddings on the same two axes.",
    "clusters": "The share of each class in each cluster, of the seed of lowest inertia. A clean diagonal would be a "
    "perfect clustering.",
}


def run_part(run: Run, most: int, images: ImageSet | None = None, trust: bool = False) -> dict[str, Any]:
    """Return all that a page shows of a run, as plain values.

    Parameters
    ----------
    run
        The run; of one that failed there is its error, its settings and how to run it again.
    most
        Images in the gallery, at most.
    images
        The run's images, if they are at hand; else they are looked for where they were.
    trust
        As of `itae.results.run.Run.open_images`.
    """
    result = run.result
    part: dict[str, Any] = {
        "title": f"A run that ended with status {result['status']}",
        "folder": str(run.folder),
        "ok": run.ok,
        "error": result.get("error"),
        "again": _again(result),
        "settings": _yaml(result.get("settings")),
        "versions": {name: version for name, version in (result.get("versions") or {}).items() if version},
        "figures": [],
        "gallery": None,
        "missing": [],
    }
    if not run.ok:
        return part
    part |= {
        "title": title(result),
        "selection": result["selection"],
        "seeds": len(result["baseline"]["seeds"]),
        "scores": _scores(result),
        "facts": facts(result),
    }
    try:
        clusters = run.read_assignments()
    except UserError as error:
        return part | {"figures": _figures(run, None), "missing": [f"There is no gallery: {error}"]}
    try:
        images = images or run.open_images(trust)
    except UserError as error:
        part["missing"].append(f"There are no pictures of the images: {error}")
    seen, edited = Seen.of(run, images), run.edited
    spherical = bool(run.settings["clusterer"].get("spherical"))
    gallery = gallery_part(seen, clusters, images, spherical, most)
    return part | {
        "identity": _yaml({"dataset": edited.meta["dataset"], "space": edited.meta["space"]}),
        "figures": [one for one in _figures(run, seen) if one["name"] != _LIVELIER],
        "gallery": gallery,
    }


def _yaml(values: Any) -> str:
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _again(result: Mapping[str, Any]) -> str:
    """Return what a shell runs it again with."""
    started = result.get("started") or {}
    if started.get("overrides") is None or "cwd" not in started:
        return "# started from Python, with the settings below: itae.run(settings)"
    return commands(started["cwd"], started["overrides"])


def commands(cwd: str, words: Sequence[str]) -> str:
    """Return the lines of a shell that start ``itae`` with these words in that folder."""
    return f"cd {shlex.quote(cwd)}\n{shlex.join(['itae', *words])}"


def _scores(result: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the rows of the table of scores: with labels their metrics, without them what needs none."""
    labelled = bool(result["delta"])
    rows = []
    for metric in shown(result) if labelled else ("inertia", "silhouette"):
        row = {side: spread(result[side][metric]) for side in ("baseline", "edited")}
        row["metric"] = metric.upper() if labelled else metric
        if labelled:
            row["delta"] = spread(result["delta"][metric], "+")
            row["interval"] = told_interval(result["delta"][metric])
        rows.append(row)
    return rows


def _figures(run: Run, seen: Seen | None) -> list[dict[str, str]]:
    """Return the figures in the run's folder, or, of a sweep's job, which has one, all of them drawn now."""
    # By name alone: a stranger's result must not choose which of the reader's files are put into a page.
    there = [run.folder / "figures" / Path(name).name for name in run.result["figures"]]
    with tempfile.TemporaryDirectory() as folder:
        paths = there
        if seen is not None and len(there) < 2:
            paths = draw(seen, Path(folder), _CAPTIONS.keys() - {_LIVELIER}, svg=False)
        found = {path.stem: path.read_bytes() for path in paths if path.is_file()}
    return [
        {"name": name, "caption": caption, "source": address(found[name], "png")}
        for name, caption in _CAPTIONS.items()
        if name in found
    ]
