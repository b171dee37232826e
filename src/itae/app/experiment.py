"""One run: the untouched backbone and the edited one, from settings to ``result.json``.

The driver opens, checks, embeds, calls the task, writes, tracks and shows; what is measured, it doesn't know. `run` is
an ordinary function that tests and notebooks call with a composed config.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from itae.app import tracked
from itae.app.compose import plain_config, refuse_unread
from itae.app.job import OpenJob, embed, in_hand, open_job
from itae.app.settings import SELECTIONS, Settings
from itae.app.started import fresh_name, in_a_sweep, started
from itae.base.beside import beside
from itae.base.errors import UserError
from itae.base.memory import peak_rss_mb
from itae.base.secrets import Veil, hidden
from itae.base.versions import versions
from itae.embed.about import about_edit, notes_on_edit
from itae.look import page
from itae.look.figures import save
from itae.look.run_figures import Seen, copied, draw_run, signal_seen
from itae.look.style import plain_style
from itae.look.view import RunView
from itae.measure.distance import moved
from itae.results.image_values import IMAGE_VALUES, write_image_values
from itae.results.report import print_report
from itae.results.run import write_result
from itae.tasks.task import Outcome

if TYPE_CHECKING:
    from itae.store.store import Embeddings

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
    folder = folder or Path("outputs/runs") / fresh_name()
    result: dict[str, Any] = {"status": "failed", "error": None, "started": started(), "versions": versions()}
    veil, quiet = Veil({}), contextlib.ExitStack()
    try:
        plain = plain_config(cfg)
        result["settings"], veil = hidden(plain), Veil(plain)  # the run itself has the secrets, and writes none
        quiet.enter_context(veil.over_logs())
        refuse_unread(result["started"]["overrides"] or (), plain)
        settings = Settings.of(plain)
        result["code"] = settings.code  # now: a file may be edited while the run goes on
        with contextlib.suppress(OSError):  # of an earlier run in this folder
            for name in (page.PAGE, IMAGE_VALUES):
                (folder / name).unlink(missing_ok=True)
            settings.task.clear(folder)
        # A run that is killed leaves this.
        write_result(folder, result | {"status": "running", "error": "The run did not end, or has not yet."})
        job = open_job(settings)  # finds most mistakes, before a tracker is started
        config = tracked.config(result, job.edit, folder)
        with settings.tracker.run(folder, config, **tracked.names(result["settings"])) as tracker:
            measured, outcome, seen = _measure(job, folder)
            measured = result | measured | {"status": "ok"}
            write_result(folder, measured)  # before the tracker ends: whatever it does costs no result
            result = measured
            tracked.track(tracker, result, outcome.tracked, seen, folder)
        if not in_a_sweep():
            _show(result, folder)
            if settings.runtime.report:
                page.end_with_page(folder, images=job.source.images)
    except BaseException as error:
        if result["status"] != "ok":
            told = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            result["error"] = veil(told)
            with contextlib.suppress(UserError):  # a full disk: then the first error says more
                write_result(folder, result)
            log.info("the run failed", exc_info=True)  # to run.log; the console has it from elsewhere
        raise
    finally:
        quiet.close()
    return RunView(folder.absolute(), result)


def _show(result: dict[str, Any], folder: Path) -> None:
    """Print the table; an output that is closed or can't write it costs nothing but the table."""
    try:
        print_report(result, folder)
    except (OSError, UnicodeError, SystemExit) as error:  # rich turns a broken pipe into SystemExit
        log.info("The table could not be printed (%s).", type(error).__name__)


def _measure(ready: OpenJob, folder: Path) -> tuple[dict[str, Any], Outcome, Seen]:
    """Embed and do the task; return all of ``result.json`` that is known then, and what pictures are drawn from."""
    began = time.perf_counter()
    embeddings = embed(ready)
    computed = time.perf_counter()
    outcome = ready.settings.task.measure(ready.job, embeddings)
    if not isinstance(outcome, Outcome):
        task = type(ready.settings.task).__name__
        raise UserError(f"{task}.measure returned a {type(outcome).__name__}; it must be an itae.tasks.task.Outcome.")
    done = time.perf_counter()
    baseline, edited = embeddings["baseline"], embeddings["edited"]
    about = about_edit(ready.source, ready.edit, baseline, edited)
    seen = _seen(ready, embeddings, outcome, about)
    figures = _figures(seen, outcome, folder / "figures")
    for file in outcome.files:
        beside(file.name, partial(file.write, folder))
    if outcome.image_values:
        write = partial(write_image_values, folder / IMAGE_VALUES, edited, outcome.image_values, outcome.image_groups)
        beside(IMAGE_VALUES, write)
    passed, images = _passed(ready, embeddings)
    result = about | {
        "kind": ready.settings.task.kind,
        "baseline": outcome.baseline,
        "edited": outcome.edited,
        "delta": outcome.delta,
        "shown": outcome.shown.plain(),
        "details": list(outcome.details),
        "parts": list(outcome.parts),
        "moved": moved(ready.job.distances(baseline, edited)),
        "notes": [
            *notes_on_edit(ready.source, ready.edit, about["layers"], baseline, edited),
            *_left_out_elsewhere(ready, embeddings),
            *outcome.notes,
        ],
        "embeddings": {name: _relative(entry.path, folder) for name, entry in embeddings.items()},
        "cached": not any(entry.fresh for entry in embeddings.values()),
        "figures": [os.path.relpath(path, folder) for path in figures],
        "captions": {name: caption for name, (caption, _) in outcome.figures.items()},
        "selection": max(ready.settings.selection, outcome.selection, key=SELECTIONS.index),
        "timing": {
            "open_s": ready.seconds,
            "extract_s": computed - began,
            "passed": passed,
            "images": images,
            "images_per_s": passed / (computed - began) if passed else None,
            "task_s": done - computed,
            "total_s": done - began + ready.seconds,
            "peak_rss_mb": peak_rss_mb(),
        },
    }
    return _merged(result, outcome.result), outcome, seen


def _left_out_elsewhere(ready: OpenJob, embeddings: Mapping[str, Embeddings]) -> list[str]:
    """Say how many images of further sources could not be decoded, as `notes_on_edit` does of the run's own."""
    others = [want for want in ready.wants if want.source.place != ready.source.place]
    skipped = {id_: None for want in others for id_ in embeddings[want.name].meta["skipped"]}
    if not skipped:
        return []
    some = next(iter(skipped))
    return [f"{len(skipped)} images of the gallery could not be decoded and are left out, such as {some!r}."]


def _passed(ready: OpenJob, embeddings: Mapping[str, Embeddings]) -> tuple[int, int]:
    """Return how many images went through the model, and of how many: those of one source once for all its edits."""
    sources: dict[Hashable, list[Embeddings]] = {}
    for want in ready.wants:
        sources.setdefault(want.source.place, []).append(embeddings[want.name])
    passed = sum(max(entry.passed for entry in some) for some in sources.values())
    return passed, sum(len(some[0].ids) for some in sources.values())


def _merged(result: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result with a task's own keys in it, of which only ``timing`` may be there already, and is added to."""
    taken = sorted(more.keys() & {*result, "settings", "started", "versions", "status", "error"} - {"timing"})
    if taken or not isinstance(more.get("timing", {}), Mapping):
        raise UserError(f"An outcome's result can't have {(taken or ['timing'])[0]!r}: that is in every result.")
    return {**result, **more, "timing": {**result["timing"], **more.get("timing", {})}}


def _seen(ready: OpenJob, embeddings: Mapping[str, Embeddings], outcome: Outcome, about: dict[str, Any]) -> Seen:
    source = ready.source
    return Seen(
        embeddings["baseline"], embeddings["edited"], outcome.clusters, source.images.class_names, about["layers"],
        about["edit"], source.facts.grid, source.picture, ready.settings.runtime.projection, about["sinks"],
    )  # fmt: skip


def _figures(seen: Seen, outcome: Outcome, folder: Path) -> list[Path]:
    """Draw all pictures of a run; of a job in a sweep one, quickly, since its page draws the rest of the best job's."""
    drawn = _one_picture(seen, folder) if in_a_sweep() else draw_run(seen, folder)
    for name, (_, make) in outcome.figures.items():
        drawn += beside(f"The figure {name}", partial(_draw, make, folder, name)) or []
    return drawn


@plain_style()
def _draw(make: Callable[[], Any], folder: Path, name: str) -> list[Path]:
    return save(make(), folder, name)


def _one_picture(seen: Seen, folder: Path) -> list[Path]:
    """Draw the signal, or copy the picture of a job that has the same, as those have that differ in strength alone."""
    import joblib

    pictures, what = in_hand().pictures, joblib.hash(signal_seen(seen))
    there = pictures.get(what)
    if there is not None and there.is_file():
        return beside("The figure signal", lambda: [copied(there, folder)]) or []
    drawn = draw_run(seen, folder, only=("signal",), svg=False)
    if drawn:
        pictures[what] = drawn[0]
    return drawn


def _relative(path: Path, folder: Path) -> str:
    """Return the way from `folder` to `path`, links followed: through a link, .. leads elsewhere."""
    return os.path.relpath(path.resolve(), folder.resolve())
