"""What all launchers of this package do: compose, plan, send groups out, and read the results from the disk."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from itae.app import sweep
from itae.app.compose import plain_config, refuse_unread
from itae.app.job import shared, sources_of
from itae.app.launch import processes as _processes
from itae.app.launch.composer import Composer
from itae.app.launch.group import Group, Launching, Program
from itae.app.settings import Settings
from itae.base.beside import beside
from itae.base.errors import UserError
from itae.base.lock import Lock, lease_of, this_process
from itae.base.progress import progress
from itae.base.secrets import hidden_word
from itae.look import page

log = logging.getLogger(__name__)

_LOCK, _HOLDER = ".lock", ".lock.who"  # in a sweep's folder


def launch(launcher: Launching, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
    """Run jobs in groups and return what came out, in their order.

    Raises
    ------
    UserError
        If any of the jobs can't run, of a search all of the first; then none has begun.
    """
    setup_globals()
    hydra_cfg = launcher.config.hydra
    configure_log(hydra_cfg.hydra_logging, hydra_cfg.verbose)
    by_job, wrong = _composed(launcher, job_overrides, initial_job_idx)
    with shared(), _folder(launcher.config, list(by_job), initial_job_idx == 0, not wrong) as folder:
        for config in (launcher.config, *by_job.values()):  # a next batch goes there, too
            config.hydra.sweep.dir = str(folder)
        by_job = {replace(job, folder=_place(config)): config for job, config in by_job.items()}
        jobs = list(by_job)
        # Where not one of a search's first jobs can run, it is a mistake in what they have in common.
        may_fail = len(jobs) - (initial_job_idx == 0) if _searches(launcher.config) else 0
        planned, refused = sweep.plan(jobs, wrong, may_fail)
        fresh = {job: sweep.stamp(job) for group in planned for job in group}
        groups = [
            Group(part, [fresh[job] for job in part], [by_job[job] for job in part])
            for group in planned
            for part in launcher.split(group)
        ]
        program = Program(launcher.hydra_context, launcher.task_function, Singleton.get_state())
        try:
            why = launcher.send(program, groups)
        finally:
            configure_log(hydra_cfg.hydra_logging, hydra_cfg.verbose)
        results = sweep.outcomes(jobs, fresh, why)
        results |= {job: {"status": "failed", "error": why} for job, why in refused.items()}
        sweep.report(results, folder, len(fresh))
        if not _searches(launcher.config):
            end([job.config for job in jobs], folder)
    return [_job_return(job, by_job[job], overrides, results[job]) for job, overrides in
            zip(jobs, job_overrides, strict=True)]  # fmt: skip


def _composed(
    launcher: Launching, job_overrides: Sequence[Sequence[str]], first: int
) -> tuple[dict[sweep.Job, DictConfig], dict[str, str]]:
    """Return the jobs with their configs, and those that can't be composed, by name, and why."""
    from itae.app.sentences import sentence_of

    same = set.intersection(*map(set, job_overrides)) if len(job_overrides) > 1 else set()
    compose = Composer(launcher.hydra_context.config_loader, launcher.config)
    jobs, wrong = {}, {}
    for num, overrides in enumerate(job_overrides, first):
        words = tuple(hidden_word(word) for word in overrides if word not in same)
        try:
            config = compose(overrides)
            with open_dict(config):
                config.hydra.job.id = str(num)
                config.hydra.job.num = num
            plain = _plain(config)
            refuse_unread(overrides, plain)
            jobs[sweep.Job(num, words, plain, _place(config))] = config
        except (UserError, HydraException, OmegaConfBaseException) as error:
            wrong[sweep.named(num, words)] = sentence_of(error)
    return jobs, wrong


def _plain(config: DictConfig) -> dict[str, Any]:
    """Return the values of a job's config less Hydra's own."""
    return plain_config(OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"]))


def _place(config: DictConfig) -> Path:
    """Return the folder of a job, absolute: a cluster's jobs start elsewhere."""
    return (Path(str(config.hydra.sweep.dir)) / str(config.hydra.sweep.subdir)).absolute()


def end(configs: Sequence[Mapping[str, Any]], folder: Path, best: str | None = None) -> None:
    """End a sweep with what it has of all its jobs: a page, and a run of the tracker, where these are wanted."""
    if any(config["runtime"]["report"] for config in configs):
        page.end_with_page(folder, best)
    beside("The sweep's run of the tracker", lambda: sweep.track(configs, folder))


def _searches(config: DictConfig) -> bool:
    """Whether the sweep's jobs come in many calls, by which it can't be told when it ends."""
    return str(config.hydra.sweeper._target_).endswith("OptunaSweeper")


@contextlib.contextmanager
def _folder(config: DictConfig, jobs: list[sweep.Job], first: bool, whole: bool) -> Iterator[Path]:
    """Claim the sweep's folder: that of an earlier call of the very same grid of jobs, or the new one.

    A folder of one's own (``hydra.sweep.dir=...``) is always taken, and gone on with if it holds the same jobs; one
    that holds others is refused.
    A search has its own way to go on. Two sweeps that run at a time never share a folder.
    """
    new = Path(str(config.hydra.sweep.dir)).absolute()
    by_user = "itae_token" not in str(OmegaConf.to_container(config.hydra.sweep, resolve=False)["dir"])  # type: ignore[index,call-overload]
    grid = first and not _searches(config)
    digest = sweep.digest(jobs)
    again = [] if by_user or not grid else [path for path in _siblings(new) if _digest_of(path) == digest]
    for folder in (*again, new):
        folder.mkdir(parents=True, exist_ok=True)
        lock, note = Lock(folder / _LOCK), folder / _HOLDER
        if lock.take_from_the_dead(str(folder)):
            break
        if folder == new:
            raise UserError(
                f"{folder} is in use by another sweep{_told_of(note)}; give this one another hydra.sweep.dir."
            )
    try:
        with contextlib.suppress(OSError):
            note.write_text(this_process(), encoding="utf-8", errors="replace")
        if grid and by_user and whole:
            sweep.refuse_others(folder, jobs)
        if folder != new:
            _leave_nothing(new)
            log.info("Going on with %s, the same sweep.", folder)
        if grid:
            (folder / sweep.MANIFEST).write_text(
                json.dumps({"digest": digest, "jobs": len(jobs)}) + "\n", encoding="utf-8"
            )
        yield folder
    except UserError:
        if not by_user:
            _leave_nothing(folder)
        raise
    finally:
        note.unlink(missing_ok=True)
        lock.release()


def _told_of(note: Path) -> str:
    with contextlib.suppress(OSError):
        return f" ({note.read_text(encoding='utf-8', errors='replace')})"
    return ""


def _leave_nothing(folder: Path) -> None:
    """Remove the folder of a sweep in which nothing began; one in which there is anything of worth stays."""
    ours = {"multirun.yaml", _LOCK, lease_of(Path(_LOCK)).name, _HOLDER, sweep.MANIFEST}
    with contextlib.suppress(OSError):
        if {path.name for path in folder.iterdir()} <= ours:
            for name in ours:
                (folder / name).unlink(missing_ok=True)
            folder.rmdir()


def _siblings(folder: Path) -> list[Path]:
    """Return the sweeps beside `folder`, the newest first."""
    with contextlib.suppress(OSError):
        return sorted((path.parent for path in folder.parent.glob(f"*/{sweep.MANIFEST}")), reverse=True)
    return []


def _digest_of(folder: Path) -> str | None:
    try:
        return json.loads((folder / sweep.MANIFEST).read_text(encoding="utf-8"))["digest"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def run_group(program: Program, group: Group, n_jobs: int | None = 1) -> dict[sweep.Job, str]:
    """Run one group: the pass that its jobs share, then each job. Called here or in another process.

    Parameters
    ----------
    program
        What runs a job.
    group
        The jobs.
    n_jobs
        In how many processes they run once the pass is done; see `_processes.count`.

    Returns
    -------
    dict
        Why jobs broke off that could leave no word of it themselves.
    """
    program.enter()
    with shared():
        if sweep.fill(group.jobs):
            try:
                if (n := _processes.count(group, n_jobs)) > 1:
                    ahead = page.import_parts() if group.jobs[0].config["runtime"]["report"] else iter(())
                    sources = sources_of(Settings.of(group.jobs[0].config))
                    return {group.jobs[i]: why for i, why in _processes.run(program, group, n, ahead, sources).items()}
            except UserError as error:
                log.warning("The jobs run in this process, one after the other: %s", error)
                group = group.left()
        with progress(len(group.jobs), "sweep", "jobs") as advance:
            for config in group.configs:
                program.run(config)
                advance(1)
    return {}


def reasons(groups: Sequence[Group], ended: Sequence[str]) -> dict[sweep.Job, str]:
    """Return for each job why its group broke off, of what is known of each group."""
    return {job: why for group, why in zip(groups, ended, strict=True) if why for job in group.jobs}


def _job_return(job: sweep.Job, config: DictConfig, overrides: Sequence[str], result: Mapping[str, Any]) -> JobReturn:
    out = JobReturn(overrides=overrides, working_dir=str(job.folder))
    out.task_name = str(config.hydra.job.name)
    out.hydra_cfg, out.cfg = (
        # Not copied, which for many jobs takes seconds: nobody else needs the config now.
        DictConfig(dict(config.items_ex(resolve=False, keys=keys)), flags={"no_deepcopy_set_nodes": True})
        for keys in (["hydra"], [key for key in config if key != "hydra"])
    )
    if result["status"] == "ok":
        out.status, out.return_value = JobStatus.COMPLETED, result
    else:
        out.status = JobStatus.FAILED
        out.return_value = UserError(f"{result['error']} (more in {job.folder / 'run.log'})")
    return out
