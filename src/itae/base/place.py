"""Where a command was started, and how a process that is told to end does so."""

from __future__ import annotations

import os
import signal
import sys
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


def terminated(*_: Any) -> NoReturn:
    """End as after an error, so that result.json says so. A cluster sends SIGTERM at the time limit."""
    raise SystemExit(128 + signal.SIGTERM)
