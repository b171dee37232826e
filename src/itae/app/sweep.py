"""Many jobs, few passes: jobs that share a backbone and a data set share one pass over the images.

A sweep is planned before anything runs: every job is opened and checked, those that can share a pass become a
group, and those that an earlier call has finished are left out. A group is what is run, here or on a cluster:
first the pass that fills the store, then each job as if it were alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from itae.app.job import OpenJob, open_job, passes
from itae.app.settings import Settings, is_wandb
from itae.base.console import console, say
from itae.base.errors import UserError
from itae.base.secrets import hidden
from itae.base.versions import versions
from itae.embed.extract import ensure
from itae.embed.resume import draft_kind
from itae.embed.source import Source
from itae.images.image_set import ImageSet
from itae.results.find import RESULT, find_results
from itae.results.report import with_std
from itae.results.run import mean_artifact_rate, read_run
from itae.results.shown import merged, shown_of
from itae.store.store import Key

log = logging.getLogger(__name__)

MANIFEST = "sweep.json"
Stamp = tuple[int, int] | None
_SHOWN = 5  # jobs named in one sentence


@dataclass(frozen=True, eq=False)
class Job:
    """One job of a sweep.

    Parameters
    ----------
    num
        Its number in the sweep.
    words
        The overrides that tell it from the others.
    config
        Its settings, resolved, as plain values.
    folder
        Where it writes.
    """

    num: int
    words: tuple[str, ...]
    config: dict[str, Any]
    folder: Path

    def __str__(self) -> str:
        """Name the job as in ``3 (layers=last4)``."""
        return named(self.num, self.words)


def named(num: int, words: Sequence[str]) -> str:
    """Return a job's number with the words that tell it from the others."""
    return f"{num} ({' '.join(words)})" if words else str(num)


def plan(jobs: Sequence[Job], unmade: Mapping[str, str], may_fail: int = 0) -> tuple[list[list[Job]], dict[Job, str]]:
    """Return the jobs that are not done yet, in groups that share a pass, and those that can't run, and why.

    Parameters
    ----------
    jobs
        Those that could be composed.
    unmade
        Those that couldn't, by name, and why.
    may_fail
        How many of them may be unable to run: a search learns from it.

    Raises
    ------
    UserError
        If more jobs than that can't run, naming each, or the disk has no room for what all of them will store.
    """
    if "WANDB_SWEEP_ID" in os.environ and any(is_wandb(job.config) for job in jobs):
        raise UserError(
            "--multirun under `wandb agent` (WANDB_SWEEP_ID is set) would make one run of W&B's sweep out of all jobs: "
            "leave out --multirun, set tracker=none, or start the sweep without the agent."
        )
    opened: dict[Job, OpenJob] = {}
    refused: dict[Job, str] = {}
    folders = Counter(job.folder for job in jobs)
    for job in jobs:
        try:
            opened[job] = open_job(Settings.of(job.config))
        except UserError as error:
            refused[job] = str(error)
        if folders[job.folder] > 1:
            refused[job] = f"{job.folder} is another job's folder, too; have ${{hydra.job.num}} in hydra.sweep.subdir."
    wrong = {**unmade, **{str(job): why for job, why in refused.items()}}
    if unmade or len(refused) > may_fail:
        count = len(jobs) + len(unmade)
        raise UserError(f"{len(wrong)} of {count} jobs can't run, so none was started: {_told(wrong)}")
    groups: dict[Any, list[Job]] = {}
    for job, ready in opened.items():
        if job not in refused and not is_done(job, ready):
            groups.setdefault(ready.group, []).append(job)
    _check_room([[opened[job] for job in group] for group in groups.values()])
    return list(groups.values()), refused


def refuse_others(folder: Path, jobs: Sequence[Job]) -> None:
    """Raise a `UserError` if there are results of other jobs in `folder`: these would be mixed up with them."""
    settings = {job.folder: _as_json(job.config) for job in jobs}
    for depth in {len(job.folder.relative_to(folder).parts) for job in jobs}:
        for file in sorted(folder.glob("*/" * depth + RESULT)):
            try:
                there = read_run(file).result.get("settings")
            except UserError:
                continue
            if there is not None and there != settings.get(file.parent):
                raise UserError(
                    f"{folder} holds jobs of another sweep ({file.parent.relative_to(folder)} is one); give this one "
                    "another hydra.sweep.dir, or remove that folder."
                )


def _told(errors: Mapping[str, str]) -> str:
    named = [f"job {job}: {error}" for job, error in list(errors.items())[:_SHOWN]]
    more = f" And {len(errors) - _SHOWN} more." if len(errors) > _SHOWN else ""
    return " ".join(named) + more


def _check_room(groups: Iterable[Sequence[OpenJob]]) -> None:
    """Raise a `UserError` unless the disks have room for the embeddings of all groups."""
    needed: dict[Path, int] = {}
    drafts: dict[Path, list[tuple[Key, str]]] = {}
    for group in groups:
        whole = any(job.settings.runtime.diagnostics for job in group)
        for source, edits in passes(want for job in group for want in job.wants):
            missing = {key: edit for key, edit in edits.items() if not source.store.path(key).exists()}
            root = source.store.root
            needed[root] = needed.get(root, 0) + source.room(missing.values(), len(source.images), diagnostics=whole)
            do = [draft_kind(kind) for kind in {True, whole}]  # with diagnostics they do for who wants none, too
            drafts.setdefault(root, []).extend((key, kind) for key in missing for kind in do)
            source.store.room_for(needed[root], drafts[root])


def is_done(job: Job, ready: OpenJob) -> bool:
    """Whether an earlier call has finished the job: the same settings, code, versions and embeddings."""
    try:
        result = read_run(job.folder).result
        there = {name: Path(folder).name for name, folder in result["embeddings"].items()}
        same = (result["status"], result["settings"], result["versions"]) == ("ok", _as_json(job.config), versions())
        same = same and result.get("code", {}) == ready.settings.code
    except (UserError, LookupError, TypeError, AttributeError):  # there is none, or it has been tampered with
        return False
    wanted = {want.name: want.source.store.path(want.source.key(want.edit)) for want in ready.wants}
    return (
        same and there == {name: path.name for name, path in wanted.items()} and all(map(Path.is_dir, wanted.values()))
    )


def _as_json(config: Mapping[str, Any]) -> Any:
    """Return a job's settings as its result has them."""
    return json.loads(json.dumps(hidden(config)))


def digest(jobs: Sequence[Job]) -> str:
    """Return what tells a sweep from another: its jobs' settings, and the code and versions of what computes them."""
    codes = [_code(job) for job in jobs]
    told = json.dumps([[job.config for job in jobs], versions(), *([codes] if any(codes) else [])], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def _code(job: Job) -> dict[str, Any]:
    with contextlib.suppress(UserError):
        return Settings.of(job.config).code
    return {}  # it can't run, and `plan` says why


def fill(group: Sequence[Job]) -> bool:
    """Compute what the jobs of a group will ask of the store, in one pass; return whether all of it is there then.

    What goes wrong with it is left to the jobs: each computes what it lacks, and fails alone.
    """
    ready = [open_job(Settings.of(job.config)) for job in group]

    def usable(source: Source, images: ImageSet) -> None:
        for job in ready:
            job.usable(source, images)

    whole = any(job.settings.runtime.diagnostics for job in ready)
    runtime = replace(ready[0].settings.runtime, diagnostics=whole)
    try:
        for source, edits in passes(want for job in ready for want in job.wants):
            ensure(source, list(edits.values()), runtime, partial(usable, source))
    except Exception as error:
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        log.warning("The pass that %d jobs share broke off (%s); each goes on by itself.", len(group), reason)
        log.info("", exc_info=True)
        return False
    return True


def stamp(job: Job) -> Stamp:
    """Return what tells the ``result.json`` that a job has now from a later one."""
    try:
        told = (job.folder / RESULT).stat()
    except OSError:
        return None
    return told.st_mtime_ns, told.st_ino


def done_since(job: Job, before: Stamp) -> bool:
    """Whether the job has ended well since it had that stamp."""
    with contextlib.suppress(UserError):
        return stamp(job) != before and read_run(job.folder).result["status"] == "ok"
    return False


def outcomes(jobs: Iterable[Job], fresh: Mapping[Job, Stamp], why: Mapping[Job, str]) -> dict[Job, dict[str, Any]]:
    """Return the result of each job, from the disk; a job that left none has failed.

    Parameters
    ----------
    jobs
        All of the sweep.
    fresh
        Those that were to run now, with their stamps before that: what an earlier call left is no result of this one.
    why
        What is known of groups that broke off, for the jobs in them.
    """
    return {job: _outcome(job, job in fresh and stamp(job) == fresh[job], why.get(job, "")) for job in jobs}


def _outcome(job: Job, stale: bool, why: str) -> dict[str, Any]:
    result: dict[str, Any] = {"status": "failed", "error": "it left no result.json; it was killed or never began"}
    if not stale:
        with contextlib.suppress(UserError):
            result = read_run(job.folder).result
            if result["status"] != "running":
                return result
    return result | {"error": f"{result['error'].rstrip('.')} ({why})"} if why else result


def report(results: Mapping[Job, Mapping[str, Any]], folder: Path, fresh: int) -> None:
    """Print the table at the end of a sweep: one line a job, and what failed."""
    from rich.table import Table

    table = Table(title=f"{len(results)} jobs, {fresh} of them run now", title_justify="left")
    each = {job: shown_of(result) for job, result in results.items() if result["status"] == "ok"}
    shown, scored = merged(each.values()), any(result.get("delta") for result in results.values())
    several = len({one.headline for one in each.values()}) > 1  # jobs of several tasks: each has its own
    named = ("metric",) if several else ()
    passes = ("passes",) if any(result.get("passes", 1) > 1 for result in results.values()) else ()
    for name in ("job", "settings", *named, "baseline", "edited", *(("delta",) if scored else ()), "flagged", *passes):
        table.add_column(name, justify="left" if name in ("settings", "metric") else "right")
    for job, result in results.items():
        row = [str(job.num), " ".join(job.words)]
        if job in each:
            metric = each[job].headline
            row += [each[job].metrics[metric].title] if several else []
            row += [with_std(result[side].get(metric)) for side in ("baseline", "edited")]
            row += [with_std((result["delta"] or {}).get(metric), "+")] if scored else []
            rate = mean_artifact_rate(result)
            row.append("" if rate is None else f"{100 * rate:.2f} %")
            row += [str(result.get("passes", 1))] if passes else []
        else:
            row.append(result["status"])
        table.add_row(*row)
    spread = f"mean ± std over {shown.over}" if shown.over else ""
    title = "" if several else shown.metrics[shown.headline].title
    out = console(160)
    out.print(table)
    what = ", ".join(filter(None, (title, spread)))
    told = ("flagged: mean share of patches over the edited blocks", *(f"{name}: of an image" for name in passes))
    caption = "; ".join(filter(None, (what, *told)))
    out.print(caption, soft_wrap=True, style="dim")  # the table's own would be folded to its width
    for job, result in results.items():
        if result["status"] != "ok":
            say(f"failed     job {job}: {result['error']}")
    say(f"results    {folder}")


def track(configs: Iterable[Mapping[str, Any]], folder: Path) -> None:
    """Log the table and the figures of a sweep in a run of their own, if its jobs' tracker is asked for tables."""
    asked = next((config for config in configs if config["tracker"].get("tables")), None)
    if asked is None:
        return
    from itae.look.sweep_figures import draw_sweep
    from itae.results.rows import headline_of, with_values
    from itae.results.table import read_table

    table, _, shown = read_table(find_results([folder]), folder)
    metric = headline_of(table, shown)
    figures = draw_sweep(table, metric, folder / "figures", shown)[0] if with_values(table, metric) else []
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    tracker = Settings.of(asked).tracker
    with tracker.run(
        folder, {"jobs": len(table)}, name=f"sweep {folder.name}", group=folder.name, job_type="sweep"
    ) as log:
        log.metrics({"jobs": len(table), "ok": int((table["status"] == "ok").sum())})
        log.table("runs", lambda: rows)
        log.figures(figures)
