"""Where runs are logged besides their folder, and the promise that this never costs a run.

W&B talks to a service process, a network and a file system, and each can raise or hang. A run's record is its
``result.json``; W&B gets a copy. So every call to it happens here, in a thread with a time limit; the first
that fails is told in one sentence, and the rest of the run is not logged.
"""

from __future__ import annotations

import contextlib
import json
import logging
import netrc
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlparse

import numpy as np

from itae.base.checks import above_0, one_of, true_or_false
from itae.track import wandb_service
from itae.track.going_on import Writer
from itae.track.labels import LONGEST, LONGEST_JOB_TYPE, VARIABLES, chosen, mode_of_environment, project_of

log = logging.getLogger(__name__)
T = TypeVar("T")

LOG_TIMEOUT = 10.0  # seconds; one log call takes about a millisecond


class Histogram(NamedTuple):
    """Counts [bins] and the edges [bins + 1] of their bins."""

    counts: np.ndarray
    edges: np.ndarray


class Log:
    """What a run logs to. This one forgets; see `Wandb.run` for the one that doesn't."""

    def metrics(self, values: Mapping[str, Any]) -> None:
        """Log the run's final metrics, all in one call; nested mappings become dotted names."""

    def layers(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Log one row a block, against its ``layer``: numbers and `Histogram`, under ``layer/<name>``."""

    def figures(self, paths: Sequence[Path]) -> None:
        """Log image files under ``figures/<stem>``."""

    def table(self, name: str, rows: Callable[[], Sequence[Mapping[str, Any]]]) -> None:
        """Log a table of numbers, words and pictures (uint8 [H, W, 3]); `rows` is called only if it is logged."""


@dataclass(frozen=True)
class NoTracker:
    """Log nowhere."""

    @contextlib.contextmanager
    def run(
        self, folder: Path, config: Mapping[str, Any], name: str, group: str | None = None, job_type: str = "run"
    ) -> Iterator[Log]:
        """Yield a log that forgets."""
        yield Log()


@dataclass(frozen=True)
class Wandb:
    """Log to Weights & Biases.

    Parameters
    ----------
    mode
        ``offline``: files in the run folder and no network call. ``online`` for those who are logged in; others get
        offline and a warning, never a prompt. None (default): what WANDB_MODE says, else offline. Where it is given,
        WANDB_MODE and WANDB_DISABLED in the environment can only make it quieter.
    project, entity, group, name, notes, tags
        As W&B has them. None (default): what WANDB_PROJECT, WANDB_ENTITY, WANDB_RUN_GROUP, WANDB_NAME, WANDB_NOTES
        and WANDB_TAGS say, else the project ``itae``, and the group and the name that `run` is given.
    tables
        Whether tables are logged: of images with their artifacts, and, at the end of a sweep, of its runs. None
        (default): the former for single runs, the latter not. W&B keeps each picture as a file of its own, and projects
        of hundreds of runs fill up with them.
    init_timeout, finish_timeout
        Seconds W&B may take to start and to finish, above 0; then the run goes on without it.

    Raises
    ------
    UserError
        When a setting, or the variable that counts in its place, is out of its range.
    """

    mode: str | None = None
    project: str | None = None
    entity: str | None = None
    group: str | None = None
    name: str | None = None
    notes: str | None = None
    tags: Sequence[str] | None = None
    tables: bool | None = None
    init_timeout: float = 30.0
    finish_timeout: float = 30.0

    def __post_init__(self) -> None:
        if self.mode is not None:
            one_of("tracker.mode", self.mode, ("offline", "online"))
        mode_of_environment()
        for name in VARIABLES:
            chosen(name, getattr(self, name))
        true_or_false("tracker.tables", self.tables, optional=True)
        for name in ("init_timeout", "finish_timeout"):
            above_0(f"tracker.{name}", getattr(self, name), "seconds")

    @contextlib.contextmanager
    def run(
        self, folder: Path, config: Mapping[str, Any], name: str, group: str | None = None, job_type: str = "run"
    ) -> Iterator[Log]:
        """Open one W&B run for the body and finish it, as failed when the body raises.

        Nothing W&B does raises out of here or takes longer than the time limits.

        Parameters
        ----------
        folder
            The run folder; W&B's files go to ``wandb/`` in it.
        config
            Plain values.
        name, group, job_type
            As W&B shows them.
        """
        mode = self._mode()
        if mode == "disabled":
            yield Log()
            return
        with _environment(Path(folder)):
            writer = _WandbLog(self, mode)
            writer.start(
                dir=str(folder),
                config=json.loads(json.dumps(config, default=str)),
                name=_cut(chosen("name", self.name) or name, LONGEST),
                group=_cut(chosen("group", self.group) or group, LONGEST),
                job_type=_cut(job_type, LONGEST_JOB_TYPE),
            )
            try:
                yield writer
            except BaseException:
                writer.finish(1)
                raise
            writer.finish(0)

    def _mode(self) -> str:
        said = mode_of_environment()
        if said == "disabled":
            return said
        if (self.mode or said) == "online" and said != "offline":
            if logged_in():
                return "online"
            log.warning("W&B runs offline: nobody is logged in. Run `wandb login`, or set WANDB_API_KEY.")
        return "offline"


class _WandbLog(Log):
    """A W&B run behind a guard; after the first failure it forgets."""

    def __init__(self, settings: Wandb, mode: str) -> None:
        self.settings = settings
        self.mode = mode
        self.run: Any = None
        self.writer: Writer | None = None
        self.broken = False  # nothing more is logged
        self.hung = False  # a call never came back, so no other is made
        self.told = False

    def start(self, **about: Any) -> None:
        def init() -> Any:
            import wandb

            asked = self.settings
            # Not those of the environment, which are a process's that started this one, or of the user's own run.
            own: dict[str, Any] = {} if _under_agent() else {"id": os.urandom(4).hex(), "resume": "never"}
            run = wandb.init(
                project=project_of(asked.project),
                entity=chosen("entity", asked.entity),
                notes=chosen("notes", asked.notes),
                tags=list(chosen("tags", asked.tags) or ()),
                reinit="create_new",  # a run of the user's own in this process lives on
                settings=_settings(wandb, asked, self.mode),
                **own,
                **about,
            )
            wandb_service.own(run)
            return run

        with wandb_service.starting():
            deadline = time.monotonic() + self.settings.init_timeout
            if self.mode == "online":
                self.run = self._guarded("start online", init, self.settings.init_timeout)
                if self.run is not None or self.hung:
                    return
                self.mode, self.broken = "offline", False
            self.run = self._guarded("start", init, max(0.1, deadline - time.monotonic()))
            if self.run is not None:
                self.writer = Writer(Path(self.run.dir).parent)

    def metrics(self, values: Mapping[str, Any]) -> None:
        self._guarded("log", lambda: self.run.log(dict(values)), LOG_TIMEOUT)

    def layers(self, rows: Sequence[Mapping[str, Any]]) -> None:
        def log() -> None:
            import wandb

            self.run.define_metric("layer", hidden=True)
            self.run.define_metric("layer/*", step_metric="layer", summary="none")
            for row in rows:
                self.run.log(
                    {key if key == "layer" else f"layer/{key}": _wandbs(wandb, value) for key, value in row.items()}
                )

        self._guarded("log", log, LOG_TIMEOUT)

    def figures(self, paths: Sequence[Path]) -> None:
        def images() -> None:
            import wandb

            self.run.log({f"figures/{path.stem}": wandb.Image(str(path)) for path in paths})

        if paths:
            self._guarded("log", images, LOG_TIMEOUT)

    def table(self, name: str, rows: Callable[[], Sequence[Mapping[str, Any]]]) -> None:
        if self.broken:
            return
        found = rows()  # reads images, which may take longer than W&B may

        def log() -> None:
            import wandb

            columns = list(dict.fromkeys(key for row in found for key in row))
            if found:
                data = [[_wandbs(wandb, row.get(key)) for key in columns] for row in found]
                self.run.log({name: wandb.Table(columns=list[str | int](columns), data=data)})

        self._guarded("log", log, LOG_TIMEOUT)

    def finish(self, exit_code: int) -> None:
        if self.run is not None and not self.hung:
            self.broken = False  # one log call that failed need not keep the run's file open
            self._guarded("finish", lambda: self.run.finish(exit_code=exit_code), self.settings.finish_timeout)
        if self.broken:
            wandb_service.end(self.run)
        if self.writer is not None:
            self.writer.end()

    def _guarded(self, what: str, call: Callable[[], T], seconds: float) -> T | None:
        if self.broken:
            return None
        try:
            return wandb_service.within(seconds, call)
        except Exception as error:
            self.broken, self.hung = True, isinstance(error, TimeoutError)
            reason = " ".join(str(error).split()) or type(error).__name__
            level, self.told = logging.DEBUG if self.told else logging.WARNING, True
            log.log(level, "W&B failed to %s (%s); the run goes on, and its folder holds everything.", what, reason)
            return None


def _wandbs(wandb: Any, value: Any) -> Any:
    """Return a value as W&B has it."""
    if isinstance(value, Histogram):
        seen = np.flatnonzero(value.counts)  # W&B draws every bin
        some = slice(seen[0], seen[-1] + 1) if len(seen) else slice(0, 1)
        return wandb.Histogram(np_histogram=(value.counts[some], value.edges[some.start : some.stop + 1]))
    return wandb.Image(value) if isinstance(value, np.ndarray) else value


def _settings(wandb: Any, tracker: Wandb, mode: str) -> Any:
    """Return W&B's settings: nothing collected that the run's own record has, nothing printed, few seconds."""
    wanted = {
        "mode": mode,
        "silent": True,
        "console": "off",
        "disable_git": True,
        "disable_code": True,
        "disable_job_creation": True,
        "save_code": False,
        "symlink": False,
        "init_timeout": tracker.init_timeout,
        # Ours is the last word: W&B's own limit is a little earlier, so that it can close in order.
        "finish_timeout": 0.9 * tracker.finish_timeout,
        "login_timeout": 1.0,
        "x_disable_meta": True,
        "x_disable_stats": True,
        "x_disable_machine_info": True,
        "x_save_requirements": False,
        "x_service_wait": tracker.init_timeout,
        "x_transaction_log_flush_interval": 2.0,  # seconds; of a run that is killed, what was written is left
    }
    known = wandb.Settings.model_fields  # older versions lack some
    return wandb.Settings(**{key: value for key, value in wanted.items() if key in known})


@contextlib.contextmanager
def _environment(folder: Path) -> Iterator[None]:
    """Keep W&B's caches in the run folder and its error reports at home, then put everything back.

    What else we want of W&B is told to our run alone: what it reads of the environment when the first run of a process
    starts holds for the user's own runs after ours, too.
    """
    before = _variables()
    if not _under_agent():
        os.environ.pop("WANDB_SERVICE", None)  # of a process that started this one
    for key in ("CACHE_DIR", "DATA_DIR", "ARTIFACT_DIR"):
        os.environ[f"WANDB_{key}"] = str(folder / "wandb" / key.lower())
    os.environ["WANDB_ERROR_REPORTING"] = "false"
    if os.path.expanduser("~") == "~":  # there is no home, where W&B looks for settings and, whatever is set, for data
        os.environ["HOME"] = str((folder / "wandb" / "home").absolute())
    try:
        yield
    finally:
        for key in _variables():
            del os.environ[key]
        os.environ.update(before)


def _variables() -> dict[str, str]:
    """Return the variables that we may change."""
    return {key: value for key, value in os.environ.items() if key.startswith("WANDB_") or key == "HOME"}


def _under_agent() -> bool:
    """Whether ``wandb agent`` started this process, and chose the run's id."""
    return "WANDB_SWEEP_ID" in os.environ


def _cut(text: str | None, longest: int) -> str | None:
    """Return a name of ours no longer than W&B takes."""
    return text if text is None or len(text) <= longest else f"{text[: longest - 3]}..."


def logged_in() -> bool:
    """Return whether W&B finds a key without asking: from the environment, or from netrc for its host."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname
    places = [os.environ.get("NETRC"), "~/.netrc", "~/_netrc"]
    for place in (os.path.expanduser(place) for place in places if place):  # without a home there is none
        with contextlib.suppress(OSError, netrc.NetrcParseError):
            if host in netrc.netrc(place).hosts:
                return True
    return False
