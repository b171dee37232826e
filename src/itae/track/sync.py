"""``itae sync``: send offline runs to W&B, each once.

W&B's own ``wandb sync`` does the sending and marks a run that is sent with a file beside it. What is added: the runs
are found wherever the run folders are, one that still goes on is left alone, one that was killed is not, and a server
that never answers is left.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from itae.base.checks import above_0
from itae.base.errors import UserError
from itae.base.place import at_home
from itae.base.progress import progress
from itae.results.find import RESULT
from itae.results.run import read_run
from itae.track.going_on import STALE, is_written, untouched_for
from itae.track.labels import address
from itae.track.tracking import logged_in
from itae.track.wandb_service import GRACE

_BATCH = 16  # runs that one process sends
_AT_A_TIME = 5
_HEAD = 7  # bytes that each .wandb file begins with
_MARK = ".synced"  # what W&B leaves beside the file of a run that is sent


def main(argv: Sequence[str]) -> int:
    """Run ``itae sync`` with what stands after it; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="itae sync", description="Send offline W&B runs; what was sent is not sent again."
    )
    parser.add_argument(
        "paths", nargs="*", type=Path, metavar="PATH", help="runs, sweeps, or folders of them (outputs)"
    )
    parser.add_argument("--entity", help="send them to this one instead")
    parser.add_argument("--project", help="send them to this one instead")
    parser.add_argument("--all", action="store_true", help="also those that seem to go on: what they have by now")
    parser.add_argument("--timeout", type=float, default=300, metavar="SECONDS", help="for each 16 runs (300)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be sent")
    options = parser.parse_args(argv)
    above_0("--timeout", options.timeout, "seconds")
    for name in ("entity", "project"):
        if (value := getattr(options, name)) is not None:
            address(f"--{name}", value)
    found = sorted({run for path in options.paths or [Path("outputs")] for run in _offline_runs(at_home(path))})
    unsent = [run for run in found if not _is_sent(run)]
    going_on = [] if options.all else [run for run in unsent if _goes_on(run)]
    empty = [run for run in unsent if run not in going_on and _is_empty(run)]
    new = [run for run in unsent if run not in going_on and run not in empty]
    told = f"{len(found) - len(unsent)} sent before, {len(going_on)} still going on, {len(new)} to send"
    none = f", {len(empty)} killed before anything was logged" if empty else ""
    sys.stdout.write(f"found      {len(found)} offline runs: {told}{none}\n")
    if options.dry_run or not new:
        return 0
    if not logged_in():
        raise UserError("Nobody is logged in to W&B, so nothing can be sent: run wandb login, or set WANDB_API_KEY.")
    words = [f"--{name}={value}" for name in ("entity", "project") if (value := getattr(options, name))]
    with progress(len(new), "sending", "runs") as advance:
        for i in range(0, len(new), _BATCH):
            some = new[i : i + _BATCH]
            _send(some, words, options.timeout)
            advance(len(some))
    sys.stdout.write(f"sent       {len(new)} runs\n")
    return 0


def _offline_runs(path: Path) -> Iterator[Path]:
    """Yield the folders of offline runs under `path`, which may be one itself."""
    if not path.exists():
        raise UserError(f"{path}: there is no such folder; give run folders, or folders with runs in them.")
    for folder, inside, files in os.walk(path):
        here = Path(folder)
        if here.name.startswith("offline-run-") and any(name.endswith(".wandb") for name in files):
            inside.clear()
            yield here.absolute()


def _is_sent(run: Path) -> bool:
    return any(run.glob(f"*.wandb{_MARK}"))


def _is_empty(run: Path) -> bool:
    """Whether there is nothing in the run's file but its head, which W&B can't send."""
    return all(file.stat().st_size <= _HEAD for file in run.glob("*.wandb"))


def _goes_on(run: Path) -> bool:
    """Whether a process still writes the run; of one without a mark, an older version's, its result and age tell."""
    written, folder = is_written(run), run.parents[1]
    if written is not None or not (folder / RESULT).is_file():
        return bool(written)
    try:
        running = read_run(folder).result["status"] == "running"
    except UserError:
        return False
    return running and untouched_for(folder / RESULT, folder / "run.log", *run.glob("*.wandb")) < STALE


def _send(runs: Sequence[Path], words: Sequence[str], seconds: float) -> None:
    """Send some runs, or raise a `UserError` that says how far it came."""
    # -P: not a wandb.py of the folder that this is called in, which may be a stranger's runs.
    command = [sys.executable, "-P", "-m", "wandb", "sync", "-n", str(_AT_A_TIME), *words, *map(str, runs)]
    env = {**os.environ, "WANDB_ERROR_REPORTING": "false"}
    reason = ""
    pipes: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=env, **pipes, encoding="utf-8", errors="replace") as process:
        try:
            said = _last_words(process, runs, seconds)
            reason = _reason(said) if process.returncode else ""
        except subprocess.TimeoutExpired:
            reason = f"no end within {seconds:g} s"
        finally:
            _end(process)
    left = [run for run in runs if not _is_sent(run)]
    if left or process.returncode > 0:
        raise UserError(
            f"{len(left)} of {len(runs)} runs could not be sent, {left[0] if left else 'none'} first "
            f"({reason or 'W&B did not say why'}); the same command goes on with what is left."
        )


def _last_words(process: subprocess.Popen[str], runs: Sequence[Path], seconds: float) -> str:
    """Wait for the end of W&B's process, not for long once all runs are sent; return its stderr."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return process.communicate(timeout=min(0.5, max(0, deadline - time.monotonic())))[1]
        except subprocess.TimeoutExpired:
            if all(map(_is_sent, runs)):
                deadline = min(deadline, time.monotonic() + GRACE)
            if time.monotonic() >= deadline:
                raise


def _end(process: subprocess.Popen[str]) -> None:
    """Kill W&B's process if it still runs, and its service, which may not notice."""
    if process.poll() is None:
        import psutil

        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(process.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    child.kill()
        process.kill()


def _reason(stderr: str) -> str:
    """Return the line of W&B's output that says most."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or [""])[-1].removeprefix("wandb: ")[:300]
