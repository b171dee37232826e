"""One run: the untouched backbone and the edited one, from settings to ``result.json``.

This and `itae.app.cli` are the rim: only here are Hydra and OmegaConf known. `run` is an ordinary function that
tests and notebooks call with a composed config.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from itae.app.compose import plain_config
from itae.app.settings import Settings, is_attention
from itae.base.beside import beside
from itae.base.errors import UserError
from itae.base.memory import peak_rss_mb
from itae.base.versions import versions
from itae.edits.edit import AnyEdit
from itae.embed.calibration import calibrated
from itae.embed.diagnostics.flags import by_layer
from itae.embed.diagnostics.norms import NORM_EDGES, by_site, histograms
from itae.embed.diagnostics.outliers import outliers_left
from itae.embed.extract import extract
from itae.embed.source import Source
from itae.images.image_set import count_classes
from itae.look import page
from itae.look.artifact_figures import marked
from itae.look.run_figures import Seen, copied, draw, signal_seen
from itae.look.view import RunView
from itae.measure.distance import cosine_distance, moved
from itae.measure.intervals import with_intervals
from itae.measure.knn import same_bytes
from itae.measure.scores import paired_delta, small_classes
from itae.measure.silhouette import Space
from itae.results.assignments import ASSIGNMENTS, write_assignments
from itae.results.clusterings import CLUSTERINGS, write_clusterings
from itae.results.report import print_report
from itae.results.run import mean_artifact_rate, write_result
from itae.store.store import Embeddings, Key, Store
from itae.tasks.class_notes import class_notes
from itae.tasks.links import remove_links, write_links
from itae.track.tracking import Histogram

if TYPE_CHECKING:
    from itae.measure.clustered import Clustered
    from itae.track.tracking import Log

log = logging.getLogger(__name__)


def run(cfg: DictConfig | Mapping[str, Any], folder: Path | None = None) -> RunView:
    """Run one job and return what it wrote.

    Parameters
    ----------
    cfg
        The composed config, or the same as plain values.
    folder
        Where to write; by default a new folder under ``outputs/runs``.

    Raises
    ------
    UserError
        For a user's mistake. ``result.json`` is written all the same, with status ``failed`` and the reason.
    """
    folder = folder or Path("outputs/runs") / f"{datetime.now():%Y-%m-%d_%H-%M-%S}-{os.urandom(3).hex()}"
    result: dict[str, Any] = {"status": "failed", "error": None, "started": _started(), "versions": versions()}
    try:
        result["settings"] = plain_config(cfg)
        settings = Settings.of(result["settings"])
        with contextlib.suppress(OSError):  # of an earlier run in this folder
            for left in (page.PAGE, CLUSTERINGS):
                (folder / left).unlink(missing_ok=True)
            remove_links(folder)
        # A run that is killed leaves this.
        write_result(folder, result | {"status": "running", "error": "The run did not end, or has not yet."})
        job = open_job(settings)  # finds most mistakes, before a tracker is started
        with settings.tracker.run(folder, _config(result, job, folder), **_names(result["settings"])) as tracker:
            measured, seen = _measure(job, folder)
            measured = result | measured | {"status": "ok"}
            write_result(folder, measured)  # before the tracker ends: whatever it does costs no result
            result = measured
            _track(tracker, result, seen, folder)
        if not _in_a_sweep():  # which has one table and one page for all
            _show(result, folder)
            if settings.runtime.report:
                page.end_with_page(folder, images=job.source.images)
    except BaseException as error:
        if result["status"] != "ok":
            result["error"] = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            with contextlib.suppress(UserError):  # a full disk: then the first error says more
                write_result(folder, result)
            log.info("the run failed", exc_info=True)  # to run.log; the console has it from elsewhere
        raise
    return RunView(folder.absolute(), result)


def _show(result: dict[str, Any], folder: Path) -> None:
    """Print the table; an output that is closed or can't write it costs nothing but the table."""
    try:
        print_report(result, folder)
    except (OSError, UnicodeError, SystemExit) as error:  # rich turns a broken pipe into SystemExit
        log.info("The table could not be printed (%s).", type(error).__name__)


def _in_a_sweep() -> bool:
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return False
    mode = HydraConfig.get().mode
    return mode is not None and mode.name == "MULTIRUN"


def _started() -> dict[str, Any]:
    """Return when, where and by which words the run was started: what it takes to start it again."""
    from hydra.core.hydra_config import HydraConfig

    told: dict[str, Any] = {
        "at": f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S %z}",
        "cwd": os.getcwd(),
        "overrides": None,
    }
    if HydraConfig.initialized():
        hydra = HydraConfig.get()
        words = OmegaConf.to_container(hydra.overrides.task, resolve=False)  # one may hold an interpolation
        told |= {"cwd": hydra.runtime.cwd, "overrides": words}
    return told


def _config(result: dict[str, Any], job: OpenJob, folder: Path) -> dict[str, Any]:
    """Return the config as a tracker gets it: with the words of the command line, and lists as numbers to sort by."""
    layers = job.edit.layers if job.edit else ()
    told = {"overrides": result["started"]["overrides"], "folder": str(folder.absolute()), "blocks": len(layers)}
    ends = {"first_block": layers[0], "last_block": layers[-1]} if layers else {}
    return result["settings"] | {"run": told | ends}


def _names(plain: dict[str, Any]) -> dict[str, Any]:
    """Return what a tracker calls the run."""
    from hydra.core.hydra_config import HydraConfig

    what = plain["layers"] if is_attention(plain) else plain["edit"]["_target_"].rpartition(".")[2]
    name = [str(plain["backbone"].get("model_name")), str(plain["dataset"].get("name")), str(what)]
    group = Path(HydraConfig.get().sweep.dir).name if _in_a_sweep() else None
    return {"name": " ".join(name), "group": group, "job_type": plain["task"]["_target_"].rpartition(".")[2]}


@dataclass(frozen=True)
class OpenJob:
    """A run whose images are found and whose model is known, checked as far as can be without any work."""

    settings: Settings
    source: Source
    edit: AnyEdit | None
    seconds: float

    @property
    def keys(self) -> tuple[Key, Key]:
        """The keys of the untouched embeddings and of the edited ones."""
        return self.source.key(None), self.source.key(self.edit)

    @property
    def spec(self) -> dict[str, Any] | None:
        """The edit as plain values."""
        return self.edit.spec(self.source.facts.depth, self.settings.backbone.pool) if self.edit else None


class Shared:
    """What the jobs of one process have in common: sources that were opened, and tasks that were done.

    Of the baselines, also the space of the last one, and the silhouette of its clusters there. Of the pictures, where
    there is one of the same.
    """

    def __init__(self, sources: dict[Hashable, Source]) -> None:
        self.sources = sources
        self.tasks: dict[Hashable, Clustered] = {}
        self.space: tuple[Clustered, Space, float | None] | None = None
        self.pictures: dict[str, Path] = {}


_shared: ContextVar[Shared | None] = ContextVar("shared", default=None)


@contextlib.contextmanager
def shared() -> Iterator[None]:
    """Open each source and do each task once for all jobs in the body; images are not looked for again.

    Sources that are open around the body are so in it; results of tasks are let go with it.
    """
    token = _shared.set(Shared(_in_hand().sources))
    try:
        yield
    finally:
        _shared.reset(token)


def _in_hand() -> Shared:
    """Return what jobs have in common here, or, for a job by itself, nothing yet."""
    return _shared.get() or Shared({})


def _source(settings: Settings) -> Source:
    sources, name = _in_hand().sources, settings.told("dataset", "backbone", "paths")
    if name not in sources:
        sources[name] = Source.open(settings.dataset, settings.backbone, Store(settings.cache))
    return sources[name]


def open_job(settings: Settings) -> OpenJob:
    """Find the images, learn of the model and check all settings against both, before any work.

    Raises
    ------
    UserError
        For whatever is wrong with them.
    """
    began = time.perf_counter()
    source = _source(settings)
    edit = settings.edit.make(settings.detector, settings.attenuator, settings.layers, source.facts)
    edit = calibrated(edit, source)
    source.check(edit)
    settings.clusterer.check(len(source.images), source.images.n_classes)
    source.key(edit)  # reads the images' and the weights' bytes, once
    return OpenJob(settings, source, edit, time.perf_counter() - began)


def _measure(job: OpenJob, folder: Path) -> tuple[dict[str, Any], Seen]:
    """Embed, cluster and score; return all of ``result.json`` that is known then, and what pictures are drawn from."""
    settings, source, edit = job.settings, job.source, job.edit
    began = time.perf_counter()
    baseline, edited = extract(
        source,
        [None, edit],
        settings.runtime,
        lambda images: settings.clusterer.check(len(images), images.n_classes),
    )
    computed = time.perf_counter()
    cached = not (baseline.fresh or edited.fresh)
    tasks = [_task(job, entry) for entry in (baseline, edited)]
    common = _in_common(baseline, tasks)
    done = time.perf_counter()
    layers = by_layer(edited.diagnostics, len(edited.ids))
    names = [source.images.class_names[i] for i in edited.labels] if edited.labels is not None else None
    before, after = (task.assignments for task in tasks)
    picture, facts = source.picture, source.facts
    seen = Seen(baseline, edited, (before, after), source.images.class_names, layers, job.spec, facts.grid, picture,
                settings.runtime.projection)  # fmt: skip
    # In a sweep one picture, quickly: its page draws the rest of the best job's.
    figures = _one_picture(seen, folder / "figures") if _in_a_sweep() else draw(seen, folder / "figures")
    far = cosine_distance(baseline.vectors, edited.vectors)
    beside(
        ASSIGNMENTS,
        lambda: write_assignments(folder / ASSIGNMENTS, edited.ids, names, before, after, far),
    )
    beside(CLUSTERINGS, lambda: write_clusterings(folder / CLUSTERINGS, edited, tasks[1]))
    if settings.runtime.links:
        beside("The folders of links", lambda: write_links(folder, source.images, edited.ids, after))
    result = {
        "baseline": tasks[0].metrics | {"silhouette_common": common[0]},
        "edited": tasks[1].metrics | {"silhouette_common": common[1]},
        "delta": _delta(tasks, edited),
        "edit": job.spec,
        "artifact_rate": {str(row["layer"]): row["artifact_rate"] for row in layers},
        "bimodality": _mean(row["bimodality"] for row in layers),
        "layers": layers,
        "norms": by_site(baseline.diagnostics),
        "moved": moved(far),
        "fits": edited.meta["fits"],
        "registers": _registers(edited),
        "notes": [*_notes(job, layers, baseline, edited), *_about_images(job, edited, tasks[0])],
        "grid": list(facts.grid),
        "images": {"n": len(edited.ids), "classes": count_classes(edited.labels), "skipped": edited.meta["skipped"]},
        "embeddings": {
            "baseline": _relative(baseline.path, folder),
            "edited": _relative(edited.path, folder),
        },
        "cached": cached,
        "figures": [os.path.relpath(path, folder) for path in figures],
        "selection": settings.selection,
        "timing": {
            "open_s": job.seconds,
            "extract_s": computed - began,
            "images_per_s": None if cached else len(edited.ids) / (computed - began),
            "cluster_s": done - computed,
            "total_s": done - began + job.seconds,
            "peak_rss_mb": peak_rss_mb(),
        },
    }
    return result, seen


def _task(job: OpenJob, entry: Embeddings) -> Clustered:
    settings, done = job.settings, _in_hand().tasks
    name = (entry.path, settings.told("task", "clusterer", "seed", "runtime"))
    if name not in done or entry.fresh:
        classes = count_classes(entry.labels)  # of the images that are left: one that lost all of its own is none
        done[name] = settings.task(
            entry.vectors, entry.labels, classes, settings.clusterer, settings.seed, settings.runtime.device,
            same_bytes(entry.digests),
        )  # fmt: skip
    return done[name]


def _in_common(baseline: Embeddings, tasks: list[Clustered]) -> list[float | None]:
    """Return the silhouettes of both clusterings in the space of the baseline."""
    known = _in_hand()
    before, after = tasks
    if known.space is None or known.space[0] is not before:
        space = Space(baseline.vectors)
        known.space = before, space, space.silhouette(before.assignments)
    _, space, own = known.space
    return [own, space.silhouette(after.assignments)]


def _one_picture(seen: Seen, folder: Path) -> list[Path]:
    """Draw the signal, or copy the picture of a job that has the same, as those have that differ in strength alone."""
    import joblib

    pictures, told = _in_hand().pictures, joblib.hash(signal_seen(seen))
    there = pictures.get(told)
    if there is not None and there.is_file():
        return beside("The figure signal", lambda: [copied(there, folder)]) or []
    drawn = draw(seen, folder, only=("signal",), svg=False)
    if drawn:
        pictures[told] = drawn[0]
    return drawn


def _delta(tasks: list[Clustered], edited: Embeddings) -> dict[str, Any] | None:
    """Return edited minus baseline, seed by seed and with intervals, or None where there are no labels."""
    if edited.labels is None or "acc" not in tasks[0].metrics:
        return None
    before, after = tasks
    delta = paired_delta(before.metrics, after.metrics)
    return with_intervals(delta, edited.labels, before, after, same_bytes(edited.digests))


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _relative(path: Path, folder: Path) -> str:
    """Return the way from `folder` to `path`, links followed: through a link, .. leads elsewhere."""
    return os.path.relpath(path.resolve(), folder.resolve())


def _registers(edited: Embeddings) -> dict[str, Any] | None:
    """Return what a search for register neurons found, and what is left of the outliers, or None without a search."""
    found = edited.meta.get("search")
    return found and found | {"outliers_left": outliers_left(edited.diagnostics)}


def _notes(job: OpenJob, layers: list[dict[str, Any]], baseline: Embeddings, edited: Embeddings) -> list[str]:
    """Say what a reader has to know before believing a number."""
    notes = class_notes(job.source.images.class_names, edited)
    if job.source.facts.architecture == "digits_vit_artifacts":
        notes.append("The artifacts of this backbone are planted: it shows that the machinery works, and no more.")
    if job.source.facts.architecture.startswith("digits_vit") and job.settings.dataset.name != "digits":
        notes.append(
            "This backbone knows handwritten digits and nothing else; choose one for these images (backbone=)."
        )
    if job.edit is None:
        return [*notes, "No edit: detector, layers or strength leave nothing to do, so both columns are one backbone."]
    found = edited.meta.get("search")
    if found and not found["neurons"]:
        notes.append(
            f"Nothing was edited: of {found['images']} images none has an outlier ({found['reason']}), so both columns "
            "are one backbone."
        )
    elif found and (left := outliers_left(edited.diagnostics)) is not None and left > found["outlier_rate"] / 2:
        notes.append(
            f"Outliers are left in {100 * left:.2f} % of the patches, of {100 * found['outlier_rate']:.2f} % before: "
            "these neurons don't make most of them."
        )
    elif not found and not any(row["artifact_rate"] for row in layers):
        notes.append("Nothing was flagged: the edited backbone is the untouched one.")
    elif np.array_equal(baseline.vectors, edited.vectors):
        notes.append("The edit changed no embedding: what it edits reaches no token that is pooled.")
    unfit = [f"block {layer}: {fit['reason']}" for layer, fit in edited.meta["fits"].items() if fit["theta"] is None]
    if unfit:
        of = len(edited.meta["fits"])
        notes.append(f"No two modes in {len(unfit)} of {of} blocks, nothing flagged there ({unfit[0]}).")
    alone = sum(row["left_alone"] for row in layers)
    if tied := sum(row["tied"] for row in layers):
        notes.append(
            f"In {tied} (image, block) pairs too many patches have one and the same signal, as in a blank picture, for "
            "the rule to go by: nothing was flagged there."
        )
    if alone:
        notes.append(f"Every patch (or every patch of some head) was flagged in {alone} (image, block) pairs.")
    if edited.meta["skipped"]:
        notes.append(f"{len(edited.meta['skipped'])} images could not be decoded and are left out.")
    return notes


def _about_images(job: OpenJob, edited: Embeddings, task: Clustered) -> list[str]:
    """Say what of the images themselves bears on the scores: twins, and classes too small for their neighbours."""
    if edited.labels is None or "acc" not in task.metrics:
        return []
    notes, groups_N = [], same_bytes(edited.digests)
    if groups_N is not None:
        twins = int((np.bincount(groups_N)[groups_N] > 1).sum())
        notes.append(
            f"{twins} of {len(groups_N)} images have a twin of the same bytes: twins don't vote for each other in KNN, "
            "and intervals take them for one image."
        )
    small = None
    if "knn" in task.metrics:
        small = small_classes(edited.labels, job.source.images.class_names, task.metrics["knn"], groups_N)
    return [*notes, small] if small else notes


def _track(tracker: Log, result: dict[str, Any], seen: Seen, folder: Path) -> None:
    """Log the metrics in one call, one row for each block, the figures, and some images with their artifacts."""
    names = ("baseline", "edited", "delta", "bimodality", "moved", "timing", "selection")
    summary = {name: result[name] for name in names if result[name]}
    rate = mean_artifact_rate(result)
    tracker.metrics({"images": result["images"]["n"], **summary} | ({} if rate is None else {"artifact_rate": rate}))
    tracker.layers(_rows_by_block(result, seen))
    tracker.figures([folder / name for name in result["figures"]])
    tables = result["settings"]["tracker"].get("tables")
    if tables or (tables is None and not _in_a_sweep()):
        tracker.table("artifacts", lambda: beside("The table of artifacts", lambda: _rows_by_image(seen)) or [])


def _rows_by_block(result: dict[str, Any], seen: Seen) -> list[dict[str, Any]]:
    """Return what is known of each block: of the norms in the untouched model, and of the edit where there is one."""
    rows: dict[int, dict[str, Any]] = {}
    for name, counts in histograms(seen.baseline.diagnostics).items():
        for layer, some in enumerate(counts) if "." not in name else ():
            site = result["norms"].get(f"{name}[{layer}]")
            if site is None:
                continue
            row = rows.setdefault(layer, {"layer": layer})
            row |= {f"{name}_p50": site["norm"]["p50"], f"{name}_p99": site["norm"]["p99"]}
            row |= {f"{name}_bimodality": site["bimodality"], f"{name}_gap": (site["modes"] or {}).get("gap")}
            row[f"{name}_log10_norm"] = Histogram(some, np.log10(NORM_EDGES))  # W&B draws bins of one width
    for edited in result["layers"]:
        row = rows.setdefault(edited["layer"], {"layer": edited["layer"]})
        row |= {name: value for name, value in edited.items() if name != "signal"}
        row |= {f"signal_{p}": value for p, value in edited["signal"].items()}
    return [{key: value for key, value in rows[layer].items() if value is not None} for layer in sorted(rows)]


def _rows_by_image(seen: Seen) -> list[dict[str, Any]]:
    """Return one row for each of the images whose masks are kept."""
    block, found = seen.examples
    return [
        {
            "id": example.name,
            "block": block,
            "patches flagged": int(example.mask.sum()),
            "image": example.picture,
            "flagged": marked(example.picture, example.mask),
            "attention before": example.attention(example.before),
            "attention after": example.attention(example.after),
        }
        for example in found
    ]
