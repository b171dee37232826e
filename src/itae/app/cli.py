"""The command line: Hydra's own words for runs, a few commands beside it, and one sentence for each mistake.

``--help``, tab completion and every config error are answered without importing torch.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import gc
import importlib
import io
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from itae.app.compose import PORTABLE, check_choices, conf_dir
from itae.app.next_step import print_next_step
from itae.app.sentences import before_the_job, sentence_of
from itae.app.verbs import VERBS
from itae.app.words import as_typed
from itae.base.console import one_line
from itae.base.errors import UserError
from itae.base.place import ends_when_told
from itae.base.secrets import hide_in_files

USER_MISTAKE = 2
INTERRUPTED = 130


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")
def _run(cfg: DictConfig) -> None:
    from itae.app.experiment import run

    hydra_ = HydraConfig.get()
    if hydra_.output_subdir is not None:
        hide_in_files(sorted(Path(hydra_.runtime.output_dir, hydra_.output_subdir).glob("*.yaml")))
    done = run(cfg, Path(hydra_.runtime.output_dir))
    if hydra_.mode == RunMode.RUN:
        print_next_step(done.result)


def main() -> None:
    """Run ``itae`` with the arguments of the process, and exit with its status.

    0: all is well. 1: a bug, with its traceback. 2: a user's mistake, told in one sentence, or jobs of a sweep that
    failed. 130: interrupted.
    """
    sys.argv[0] = "itae"  # and not __main__.py, in what is told
    # Read when numpy is imported. Else its idle threads spin for 30 ms after each product and FAISS waits for a core.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
    # Nothing is shown here, and a name that is no backend's would keep matplotlib from starting.
    os.environ["MPLBACKEND"] = "agg"
    gc.set_threshold(1_000_000)  # of what an import makes nothing is garbage; a small run is half imports
    # The last collections would look at all that was imported: 1.1 CPU s of the 5.5 of a cached run of 100 digits (five
    # pairs, .7 to 1.3).
    atexit.register(gc.freeze)
    if hasattr(sys.stdout, "reconfigure"):  # what stands in for it may have none
        sys.stdout.reconfigure(errors="replace")  # no letter of a name may cost what is printed
    ends_when_told()
    argv = sys.argv[1:]
    if argv and argv[0] in VERBS:
        sys.exit(_guarded(lambda: importlib.import_module(VERBS[argv[0]]).main(argv[1:])))
    if argv == ["--version"]:
        from itae.base.versions import __version__

        print(f"itae {__version__}")  # noqa: T201
        return
    sys.exit(_guarded(_hydra_run))


def _hydra_run() -> int:
    sys.argv[1:] = as_typed(sys.argv[1:])
    check_choices(sys.argv[1:])
    _name_plugins()
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra would print a message of its own and hide the exception
    try:
        with _job_errors_as_they_are(), _help_of_a_run():
            _run()
    except (UserError, HydraException, OmegaConfBaseException):
        raise
    except Exception as error:
        if before == "1" or _from_a_job(error):
            raise
        raise UserError(f"{before_the_job(error)} (HYDRA_FULL_ERROR=1 shows where)") from error
    finally:
        HydraConfig.instance().cfg = None  # or a later run of this process would take itself for a part of the sweep
        if before is None:
            os.environ.pop("HYDRA_FULL_ERROR")
        else:
            os.environ["HYDRA_FULL_ERROR"] = before
    return 0


@contextlib.contextmanager
def _help_of_a_run() -> Iterator[None]:
    """Have the help leave out the groups of ``itae portable``, which lie beside a run's and are none of it."""
    if not {"--help", "-h"} & set(sys.argv[1:]):
        yield
        return
    told = io.StringIO()
    try:
        with contextlib.redirect_stdout(told):
            yield
    finally:
        lines = told.getvalue().splitlines(keepends=True)
        sys.stdout.writelines(line for line in lines if not re.match(rf"{PORTABLE}(/\w+)?: ", line))


def _name_plugins() -> None:
    """Name our launchers to Hydra, which can't find them in every kind of editable install (hydra#3252)."""
    from hydra.core.plugins import Plugins

    itae_sweeps = importlib.import_module("hydra_plugins.itae_sweeps")  # which is built on this room

    known = Plugins.instance()
    for cls in itae_sweeps.PLUGINS:
        if f"{cls.__module__}.{cls.__qualname__}" not in known.class_name_to_class:
            known.register(cls)


# --- one sentence for each mistake


def _guarded(work: Callable[[], int]) -> int:
    """Do `work` and return its status; a user's mistake becomes one sentence on stderr."""
    try:
        with _argparse_in_a_sentence():
            return work()
    except KeyboardInterrupt:
        told = "Interrupted; what was computed so far is kept, and the same command goes on from there."
        return _tell(told, INTERRUPTED)
    except (UserError, HydraException, OmegaConfBaseException) as error:
        return _tell(sentence_of(error), USER_MISTAKE)
    except BrokenPipeError:  # whoever read what is printed has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains at its end
        return 0


def _tell(sentence: str, status: int) -> int:
    sys.stderr.write(f"itae: {one_line(' '.join(sentence.splitlines()))}\n")
    return status


@contextlib.contextmanager
def _argparse_in_a_sentence() -> Iterator[None]:
    """Have argparse, Hydra's own included, say what is wrong without printing the whole usage first."""

    def refuse(parser: argparse.ArgumentParser, message: str) -> NoReturn:
        place = "; options such as -m stand before or after all words" if "unrecognized" in message else ""
        raise UserError(f"{message}{place}; see {parser.prog} --help.")

    before = argparse.ArgumentParser.error
    argparse.ArgumentParser.error = refuse  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        argparse.ArgumentParser.error = before  # type: ignore[method-assign]


@contextlib.contextmanager
def _job_errors_as_they_are() -> Iterator[None]:
    """Have what Hydra returns of a job raise what the job raised, a user's mistake without Hydra's line before it."""
    before = JobReturn.return_value
    JobReturn.return_value = property(_value_of, before.fset)  # type: ignore
    try:
        yield
    finally:
        JobReturn.return_value = before  # type: ignore[method-assign]


_HYDRAS = JobReturn.return_value


def _value_of(job: JobReturn) -> Any:
    error = job._return_value
    if job.status != JobStatus.FAILED or not isinstance(error, UserError):
        return _HYDRAS.fget(job)  # type: ignore[attr-defined]
    assert job.hydra_cfg is not None
    if job.hydra_cfg.hydra.mode.name != "MULTIRUN":
        raise error
    raise UserError(f"job {job.hydra_cfg.hydra.job.num} ({' '.join(job.overrides or ())}): {error}") from error


def _from_a_job(error: BaseException) -> bool:
    """Tell whether an exception comes from the run itself, and not from what Hydra does before it."""
    ours = {_run.__wrapped__.__code__, _value_of.__code__}
    return any(frame.f_code in ours for frame, _ in traceback.walk_tb(error.__traceback__))
