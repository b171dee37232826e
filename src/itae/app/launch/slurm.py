"""Groups as jobs of a Slurm array: submitit writes and submits them, and we wait.

submitit asks ``sacct`` whether a job still lives, which a cluster without accounting can't answer: a job that
was killed would be waited for without end. ``squeue`` knows on every cluster.
"""

from __future__ import annotations

import contextlib
import io
import logging
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import submitit

from itae.base.errors import UserError
from itae.base.progress import progress
from itae.base.waiting import FIRST, Waiting

if TYPE_CHECKING:
    from itae.app.launch.parcel import Parcel

log = logging.getLogger(__name__)

ASK_EVERY = 5.0  # seconds between two calls of squeue
GRACE = 20.0  # seconds in which a file written on another machine becomes visible here
_OVER = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED",
    "REVOKED", "TIMEOUT", "GONE",
}  # fmt: skip


def send(asked: Mapping[str, Any], parcels: Sequence[Parcel]) -> list[str]:
    """Run the groups and return for each why it broke off, or an empty text.

    Whatever ends the waiting, Ctrl-C for example, cancels the Slurm jobs: the same command goes on from what they
    have done.
    """
    folder = Path(parcels[0].folder) / ".slurm"
    folder.mkdir(exist_ok=True)
    submitted = folder / "submitted"
    _refuse_if_alive(submitted)
    jobs = _submit(asked, parcels, folder)
    main = jobs[0].job_id.partition("_")[0]
    submitted.write_text(f"{main}\n", encoding="utf-8")
    log.info("Slurm job %s, %d groups; logs in %s", main, len(jobs), folder)
    try:
        states = _wait(jobs, main)
    except BaseException:
        subprocess.run(["scancel", main], check=False, capture_output=True)
        raise
    finally:
        submitted.unlink()
    return [_ended(job, states[job.job_id]) for job in jobs]


def _submit(asked: Mapping[str, Any], parcels: Sequence[Parcel], folder: Path) -> list[Any]:
    executor = submitit.AutoExecutor(folder, cluster="slurm", slurm_max_num_timeout=asked["requeues"])
    options = {name: value for name, value in asked.items() if value is not None and name != "requeues"}
    # Since 22.05 srun doesn't take this from sbatch.
    options["slurm_srun_args"] = [f"--cpus-per-task={options['cpus_per_task']}"]
    try:
        executor.update_parameters(name="itae", **options)
        with contextlib.redirect_stderr(io.StringIO()), executor.batch():  # submitit prints what sbatch says
            return [executor.submit(parcel) for parcel in parcels]
    except (RuntimeError, AssertionError, NameError, OSError, TypeError, ValueError) as error:  # of submitit
        raise UserError(f"Slurm takes no such jobs: {' '.join(str(error).split())}; see hydra.launcher.") from error


def _refuse_if_alive(submitted: Path) -> None:
    """Raise a `UserError` if jobs of an earlier call still run, whose process was killed while it waited."""
    if not submitted.is_file():
        return
    main = submitted.read_text(encoding="utf-8").strip()
    if any(state not in _OVER for state, _ in (_queue(main) or {}).values()):
        raise UserError(f"Slurm job {main} of an earlier call of this sweep still goes on; wait, or scancel {main}.")


def _wait(jobs: Sequence[Any], main: str) -> dict[str, str]:
    """Wait for all jobs and return the last that Slurm said of each."""
    last: dict[str, str] = {}
    left, asked, waiting = list(jobs), time.monotonic() + FIRST - ASK_EVERY, Waiting()
    with progress(len(jobs), "sweep", "Slurm jobs") as advance:
        while left:
            time.sleep(0.5)
            if time.monotonic() - asked >= ASK_EVERY:
                asked, told = time.monotonic(), _queue(main)
                if told is not None:
                    last |= {job.job_id: told.get(job.job_id, ("GONE", ""))[0] for job in left}
                    if queued := [reason for state, reason in told.values() if state == "PENDING"]:
                        why = ", ".join(sorted(set(queued)))
                        waiting.goes_on(f"Slurm: {len(queued)} of {len(jobs)} groups of job {main} are queued ({why})")
            before = len(left)
            left = [job for job in left if last.get(job.job_id) not in _OVER and not job.paths.result_pickle.exists()]
            advance(before - len(left))
    return {job.job_id: last.get(job.job_id, "COMPLETED") for job in jobs}


def _queue(main: str) -> dict[str, tuple[str, str]] | None:
    """Return the state of each job of an array that Slurm remembers, and why it is in it; None if it doesn't answer."""
    command = ["squeue", "--noheader", "--array", "--states=all", "--format=%i|%T|%r", f"--jobs={main}"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    if done.returncode:
        return {} if "Invalid job id" in done.stderr else None
    lines = (line.split("|", 2) for line in done.stdout.splitlines() if line.strip())
    return {job: (state, reason) for job, state, reason in lines}


def _ended(job: Any, state: str) -> str:
    until = time.monotonic() + GRACE
    while not job.paths.result_pickle.exists() and time.monotonic() < until:
        time.sleep(0.5)
    if job.paths.result_pickle.exists():
        with contextlib.suppress(Exception):
            job.result()
            return ""
    return f"Slurm job {job.job_id} broke off, {state}; its log is {job.paths.stderr}"
