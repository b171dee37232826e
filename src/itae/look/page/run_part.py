"""What a page says of one run: its scores, its pictures, its clusters, and how to make it again."""

from __future__ import annotations

import contextlib
import re
import shlex
import tempfile
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from itae.base.errors import UserError
from itae.embed.about import told_seen
from itae.look.page.gallery_part import SIDES, gallery_part
from itae.look.page.pictures import address
from itae.look.run_figures import Seen, draw_run
from itae.results.report import details, score_rows, title, with_std
from itae.results.shown import shown_of

if TYPE_CHECKING:
    from itae.images.image_set import ImageSet
    from itae.results.run import Run

_LIVELIER = "embeddings"  # the figure that the gallery shows better
_CAPTIONS = {
    "norms": "Norms of queries, keys, values and tokens in every block of the untouched model, in some of the images "
    "(a sixteenth, of many): the darker, the more of the block's patches. Artifacts, where there are any, are a band "
    "of their own, apart from the rest.",
    "signal": "The detector's signal in each edited block: all patches in blue, flagged ones in orange, the threshold "
    "dashed.",
    "layers": "By block, from left to right: the share of patches that are flagged; the CLS token's attention on them, "
    "before the edit of that block and after it; and, in the untouched model, how flagged patches compare with the "
    "median of the others: their value norm (blue), and the attention that they get from all tokens (orange; dashed: "
    "the patch that gets most, flagged or not). Much attention on values of nearly no norm is an attention sink: "
    "the head says nothing there.",
    "artifacts": "What was flagged in some images, and the CLS token's attention before and after the edit.",
    "embeddings": "Both sets of embeddings on the same two axes.",
    "clusters": "The share of each class in each cluster, of the clustering that was chosen without labels. A clean "
    "diagonal would be a perfect clustering.",
}
"""Of the figures that are the same for every task; those of a task's own come with their captions."""
_KINDS = ("clusters", "table", "text")


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
    part = any_run(run, _again(result)) | {"figures": [], "parts": [], "gallery": None, "missing": []}
    if not run.ok:
        return part
    shown, parts = shown_of(result), run.parts
    part |= {
        "title": title(result),
        "selection": result["selection"],
        "over": shown.over,
        "unit": shown.unit if shown.over else "",
        "scores": score_rows(result),
        "details": details(result),
        "parts": [told for one in parts if (told := _plain(one)) is not None],
    }
    part["missing"] += [f"There is a part of kind {str(one.get('kind'))[:80]!r}, which this version of itae can't show."
                        for one in parts if one.get("kind") not in _KINDS]  # fmt: skip
    clusters = next((one for one in parts if one.get("kind") == "clusters"), None)
    return part | (_without_clusters(run, images, trust) if clusters is None else
                   _with_clusters(run, images, trust, clusters, most, part["missing"]))  # fmt: skip


def any_run(run: Run, again: str) -> dict[str, Any]:
    """Return what a page shows of every run, of whatever kind, and of one that failed; `again` is what starts it."""
    result = run.result
    return {
        "title": f"A run that ended with status {result['status']}",
        "folder": str(run.folder),
        "ok": run.ok,
        "error": result.get("error"),
        "again": again,
        "settings": as_yaml(result.get("settings")),
        "versions": {name: version for name, version in (result.get("versions") or {}).items() if version},
    }


def _with_clusters(
    run: Run, images: ImageSet | None, trust: bool, about: Mapping[str, Any], most: int, missing: list[str]
) -> dict[str, Any]:
    """Return figures and gallery, as far as what they are made of is still there; what isn't is told in `missing`."""
    try:
        clusters = run.read_assignments()
    except UserError as error:
        missing.append(f"There is no gallery: {error}")
        return {"figures": figures_of(run, None, set())}
    try:
        images = images or run.open_images(trust)
    except UserError as error:
        missing.append(f"There are no pictures of the images: {error}")
    seen, edited = Seen.of(run, images, clustered=True), run.edited
    spherical = bool(about.get("spherical", (run.settings.get("clusterer") or {}).get("spherical")))
    return {
        "identity": as_yaml({"dataset": edited.meta["dataset"], "space": edited.meta["space"]}),
        "figures": figures_of(run, seen, {_LIVELIER}),
        "gallery": _with_words(gallery_part(seen, clusters, images, spherical, most), about.get("words")),
        "clusters": str(about.get("title", "Clusters")),
    }


def _with_words(gallery: dict[str, Any], words: Any) -> dict[str, Any]:
    """Put beside each cluster the words that it is named by, if it is; whatever a result has there is shown as text."""
    for side in SIDES if isinstance(words, Mapping) else ():
        told = words.get(side)
        for cluster in gallery[side]["clusters"]:
            own = told.get(str(cluster["number"])) if isinstance(told, Mapping) else None
            cluster["words"] = [str(word) for word in own] if isinstance(own, list) else []
    return gallery


def _without_clusters(run: Run, images: ImageSet | None, trust: bool) -> dict[str, Any]:
    """Return the figures, those of a sweep's job drawn now if its embeddings and images are still there."""
    seen = None
    with contextlib.suppress(UserError):
        with contextlib.suppress(UserError):
            images = images or run.open_images(trust)
        seen = Seen.of(run, images, clustered=False)
    return {"figures": figures_of(run, seen, set())}


def _plain(part: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a table or a text of a task's own in words, None for any other part; the page escapes what is in it."""
    told = {"kind": part.get("kind"), "title": str(part.get("title", ""))}
    if told["kind"] == "text":
        return told | {"text": str(part["text"])}
    if told["kind"] == "table":
        rows = [[_cell(cell) for cell in row] for row in part["rows"]]
        return told | {"columns": [str(name) for name in part["columns"]], "rows": rows}
    return None


def _cell(value: Any) -> str:
    return with_std(value) if value is None or isinstance(value, float | Mapping) else str(value)


def as_yaml(values: Any) -> str:
    """Return values as a page shows them."""
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _again(result: Mapping[str, Any]) -> str:
    """Return what a shell runs it again with."""
    started = result.get("started") or {}
    if started.get("overrides") is None or "cwd" not in started:
        return "# started from Python, with the settings below: itae.run(settings)"
    return commands(started["cwd"], started["overrides"], started.get("config_dir"))  # runs of before don't say it


def commands(cwd: str, words: Sequence[str], config_dir: str | None = None, verb: Sequence[str] = ()) -> str:
    """Return the lines of a shell that start ``itae``, or a `verb` of it, with these words and configs there."""
    configs = ["--config-dir", config_dir] if config_dir else []
    return f"cd {shlex.quote(cwd)}\n{shlex.join(['itae', *verb, *configs, *words])}"


def _captions(run: Run) -> dict[str, str]:
    """Return what is said of the figures, and of which images they are where these are not those of the set."""
    captions, seen = dict(_CAPTIONS), run.result.get("seen") or {}  # results of before don't say it
    for side, names in {"baseline": ("norms",), "edited": ("signal", "layers", "artifacts")}.items():
        if told := seen.get(side):
            captions |= {name: f"{captions[name]} Of {told_seen(told)}." for name in names}
    return captions


def figures_of(run: Run, seen: Seen | None, but: Set[str]) -> list[dict[str, str]]:
    """Return the figures in the run's folder `but` some, and of a sweep's job, which has one, all of them drawn now."""
    captions = dict(run.result.get("captions") or {}) | _captions(run)  # those of the task first
    # By name alone: a stranger's result must not choose which of the reader's files are put into a page.
    names = [Path(str(name)).name for name in run.result["figures"]]
    paths = [run.folder / "figures" / name for name in names if re.fullmatch(r"[\w-]+\.png", name)]
    paths = [path for path in paths if path.resolve().is_relative_to(run.folder.resolve())]  # nor by a link
    with tempfile.TemporaryDirectory() as folder:
        if seen is not None and sum(path.stem in _CAPTIONS for path in paths) < 2:
            paths += draw_run(seen, Path(folder), _CAPTIONS.keys() - but, svg=False)
        found = {path.stem: path.read_bytes() for path in paths if path.is_file() and path.stem not in but}
    order = [*(name for name in captions if name in found), *(name for name in found if name not in captions)]
    return [
        {"name": name, "caption": str(captions.get(name, "")), "source": address(found[name], "png")} for name in order
    ]
