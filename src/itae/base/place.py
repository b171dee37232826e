"""Where a command was started, where sockets may lie, and how a process that is told to end does so."""

from __future__ import annotations

import os
import re
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from itae.base.errors import UserError


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


def terminated(*_: Any) -> NoReturn:
    """End as after an error, so that result.json says so. A cluster sends SIGTERM at the time limit."""
    raise SystemExit(128 + signal.SIGTERM)
