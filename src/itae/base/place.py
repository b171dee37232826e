"""Where a command was started, where sockets may lie, and how a process that is told to end does so."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from itae.base.errors import UserError

_TOLD = 128 + signal.SIGTERM  # the exit code of who ends because it was told to


@dataclass(frozen=True)
class Place:
    """Where a command was started: relative paths and modules of the user's own are found from there."""

    cwd: str
    path: tuple[str, ...]

    @classmethod
    def here(cls) -> Place:
        """Return the place of this process."""
        return cls(os.getcwd(), tuple(os.path.abspath(each) for each in sys.path))

    def enter(self) -> None:
        """Have a process that starts elsewhere, perhaps on another machine, find what is found there.

        Raises
        ------
        UserError
            If the folder is not on this machine.
        """
        if not Path(self.cwd).is_dir():
            raise UserError(f"{self.cwd} is not there on {os.uname().nodename}: a shared file system is needed.")
        os.chdir(self.cwd)
        sys.path += [each for each in self.path if each not in sys.path]


def at_home(path: str | os.PathLike[str]) -> Path:
    """Return a path with the home folder for ``~``, and for ``~name``, which is a folder's name if nobody is called so.

    Raises
    ------
    UserError
        If there is no home folder: no HOME, and, as in a container, a user who isn't known.
    """
    found = os.path.expanduser(path)
    if re.match(r"~(/|$)", found):
        raise UserError(f"{found}: there is no home folder for ~, as HOME is not set; set it, or write the whole path.")
    return Path(found)


def socket_folder(longest: int) -> str | None:
    """Return the folder for temporary files, or another where its name is too long for the sockets in it.

    The name of a socket has 107 bytes at most, and a cluster's TMPDIR, a folder of the job's own, may have as many.

    Parameters
    ----------
    longest
        How many bytes the folder's name may have.

    Returns
    -------
    str or None
        None where no folder will do.
    """
    for folder in (tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm"):
        if len(os.fsencode(folder)) <= longest and os.access(folder, os.W_OK | os.X_OK):
            return folder
    return None


def ends_when_told() -> None:
    """Have SIGTERM, which a cluster sends at the time limit, end this process as an error does: result.json says so.

    What a signal raises is lost where Python happens to be in the midst of what may not fail, as a `__del__` or what a
    weak reference calls: it prints the traceback and goes on. There the signal is sent once more, which also holds for
    Ctrl-C.
    """
    signal.signal(signal.SIGTERM, _terminated)
    if not isinstance(sys.unraisablehook, _OnceMore):
        sys.unraisablehook = _OnceMore(sys.unraisablehook)


def _terminated(*_: Any) -> NoReturn:
    raise SystemExit(_TOLD)


@dataclass(frozen=True)
class _OnceMore:
    """Sends a signal again whose exception was lost; what else is lost is told as before."""

    before: Callable[[sys.UnraisableHookArgs], Any]

    def __call__(self, lost: sys.UnraisableHookArgs) -> None:
        if isinstance(lost.exc_value, KeyboardInterrupt):
            _send(signal.SIGINT)
        elif isinstance(lost.exc_value, SystemExit) and lost.exc_value.code == _TOLD:
            _send(signal.SIGTERM)
        else:
            self.before(lost)


def _send(number: signal.Signals) -> None:
    """Send a signal to the main thread a moment later, when it is elsewhere. A process that ends needs none."""
    later = threading.Timer(0.01, signal.pthread_kill, (threading.main_thread().ident, number))
    later.daemon = True
    with contextlib.suppress(RuntimeError):  # no thread starts at the very end
        later.start()
