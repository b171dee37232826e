"""One run: the untouched backbone and the edited one, from settings to ``result.json``.

This and `itae.cli` are the rim: only here are Hydra and OmegaConf known. `run` is an ordinary function that
tests and notebooks call with a composed config.
"""

from __future__ import annotations

import logging
import os
import resource
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from itae.diagnostics import by_layer
from itae.edit import Edit, make_edit
from itae.embed import Source, extract
from itae.errors import UserError
from itae.figures import signal_figure
from itae.metrics import paired_delta
from itae.report import print_report, write_assignments
from itae.runs import Run, write_result
from itae.runtime import versions
from itae.settings import Settings, construct
from itae.store import Embeddings, Store

if TYPE_CHECKING:
    from itae.tasks import TaskResult
    from itae.tracking import Log

log = logging.getLogger(__name__)


def plain_config(cfg: DictConfig | Mapping[str, Any]) -> dict[str, Any]:
    """Return a config as plain values, everything resolved.

    Raises
    ------
    UserError
        If a value that must be given is missing, or an interpolation can't be resolved.
    """
    if not isinstance(cfg, DictConfig):
        return dict(cfg)
    try:
        plain: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True, enum_to_str=True)
    except MissingMandatoryValue as error:
        raise UserError(f"{error.full_key} is not set, and it has no default; set {error.full_key}=...") from error
    except OmegaConfBaseException as error:
        raise UserError(f"The config can't be resolved: {' '.join(str(error).split())}.") from error
    plain.pop("experiment", None)
    return plain


def run(cfg: DictConfig | Mapping[str, Any], folder: Path | None = None) -> Run:
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
    result: dict[str, Any] = {"status": "failed", "error": None, "versions": versions()}
    try:
        result["settings"] = plain_config(cfg)
        settings = Settings.of(result["settings"])
        with settings.tracker.run(folder, result["settings"], **_names(result["settings"])) as tracker:
            result |= _measure(settings, folder)
            result["status"] = "ok"
            write_result(folder, result)  # before the tracker ends: whatever it does costs no result
            print_report(result, folder)
            _track(tracker, result, folder)
    except BaseException as error:
        if result["status"] != "ok":
            result["error"] = f"{type(error).__name__}: {error}"
            write_result(folder, result)
            log.info("the run failed", exc_info=True)  # to run.log; the console has it from elsewhere
        raise
    return Run(folder.absolute(), result)


def prepare(cfg: DictConfig) -> None:
    """Download what the data set and the backbone of a config need, once and ahead of any run."""
    plain = plain_config(cfg)
    construct("dataset", plain["dataset"]).prepare()
    backbone = construct("backbone", plain["backbone"])
    backbone.weights(backbone.facts(Path(plain["paths"]["cache"]) / ".facts"))


def _names(plain: dict[str, Any]) -> dict[str, Any]:
    """Return what a tracker calls the run."""
    from hydra.core.hydra_config import HydraConfig

    name = [plain["backbone"]["model_name"], plain["dataset"]["name"], str(plain["layers"])]
    group = None
    if HydraConfig.initialized():
        hydra = HydraConfig.get()
        if hydra.mode is not None and hydra.mode.name == "MULTIRUN":
            group = Path(hydra.sweep.dir).name
    return {"name": " ".join(name), "group": group, "job_type": plain["task"]["_target_"].rpartition(".")[2]}


def _measure(settings: Settings, folder: Path) -> dict[str, Any]:
    """Embed, cluster and score; return all of ``result.json`` that is known when the work is done."""
    began = time.perf_counter()
    source = Source.open(settings.dataset, settings.backbone, Store(settings.cache))
    n, classes = len(source.images), len(source.images.class_names) or None
    settings.clusterer.check(n, classes)
    edit = make_edit(settings.detector, settings.attenuator, settings.layers, source.facts.depth)
    opened = time.perf_counter()
    cached = all(source.store.path(source.key(each)).is_dir() for each in (None, edit))
    baseline, edited = extract(source, [None, edit], settings.runtime)
    computed = time.perf_counter()
    tasks = [_task(settings, entry, classes) for entry in (baseline, edited)]
    done = time.perf_counter()
    layers = by_layer(edited.diagnostics, len(edited.ids))
    names = [source.images.class_names[i] for i in edited.labels] if edited.labels is not None else None
    spec = edit.spec(source.facts.depth, settings.backbone.pool) if edit else None
    figures = signal_figure(edited.diagnostics, layers, spec, folder / "figures") if spec else []
    write_assignments(folder / "assignments.csv", edited.ids, names, *(task.assignments for task in tasks))
    return {
        "baseline": tasks[0].metrics,
        "edited": tasks[1].metrics,
        "delta": _delta(tasks),
        "edit": spec,
        "artifact_rate": {str(row["layer"]): row["artifact_rate"] for row in layers},
        "layers": layers,
        "notes": _notes(edit, layers, edited),
        "images": {"n": len(edited.ids), "classes": classes, "skipped": edited.meta["skipped"]},
        "embeddings": {
            "baseline": os.path.relpath(baseline.path, folder.absolute()),
            "edited": os.path.relpath(edited.path, folder.absolute()),
        },
        "cached": cached,
        "figures": [os.path.relpath(path, folder) for path in figures],
        "selection": settings.selection,
        "timing": {
            "open_s": opened - began,
            "extract_s": computed - opened,
            "images_per_s": n / (computed - opened),
            "cluster_s": done - computed,
            "total_s": done - began,
            "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        },
    }


def _task(settings: Settings, entry: Embeddings, classes: int | None) -> TaskResult:
    return settings.task(
        entry.vectors, entry.labels, classes, settings.clusterer, settings.seed, settings.runtime.device
    )


def _delta(tasks: list[TaskResult]) -> dict[str, Any] | None:
    """Return edited minus baseline, seed by seed, or None where there are no labels to score with."""
    if "acc" not in tasks[0].metrics:
        return None
    return paired_delta(tasks[0].metrics, tasks[1].metrics)


def _notes(edit: Edit | None, layers: list[dict[str, Any]], edited: Embeddings) -> list[str]:
    """Say what a reader has to know before believing a number."""
    if edit is None:
        return ["No edit: detector, layers or strength leave nothing to do, so both columns are one backbone."]
    notes = []
    if not any(row["artifact_rate"] for row in layers):
        notes.append("Nothing was flagged: the edited backbone is the untouched one.")
    alone = sum(row["left_alone"] for row in layers)
    if alone:
        notes.append(f"Every patch was flagged in {alone} (image, block) pairs.")
    if edited.meta["skipped"]:
        notes.append(f"{len(edited.meta['skipped'])} images could not be decoded and are left out.")
    return notes


def _track(tracker: Log, result: dict[str, Any], folder: Path) -> None:
    """Log the metrics in one call, one row for each edited block, and the figures."""
    summary = {name: result[name] for name in ("baseline", "edited", "delta", "timing", "selection") if result[name]}
    tracker.metrics({"images": result["images"]["n"], **summary})
    layers = result["layers"]
    if layers:
        series = {name: [row[name] for row in layers] for name in layers[0] if name != "signal"}
        series |= {f"signal_{p}": [row["signal"][p] for row in layers] for p in layers[0]["signal"]}
        tracker.layers({name: values for name, values in series.items() if None not in values})
    tracker.figures([folder / name for name in result["figures"]])
