"""The searches of each user: session files, which `itae search --session` and ``--replay`` read as well.

A search is a file from its first word on, so a server that is killed loses none, and the page finds its searches again.
Each user has a folder of their own.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from itae.base.disk import replace_file
from itae.base.errors import UserError
from itae.search.session import Round, Session
from itae.search.session_file import add_round, last_round, read_session, write_session
from itae.serve.errors import RefusedError
from itae.serve.settings import Settings, private_folder

KEPT = 200
"""Searches of a user that are kept, the newest."""
_NAME = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Told:
    """A search in a list: its name in an address, and what it is, as JSON has it."""

    name: str
    about: Mapping[str, Any]


class Searches:
    """The searches of all users of one base.

    Parameters
    ----------
    settings
        Where they lie.
    base
        The random name of the base, whose sessions alone are taken.
    called
        What the base is called in what is told.
    """

    def __init__(self, settings: Settings, base: str, called: str) -> None:
        self.settings, self.base, self.called = settings, base, called
        self._summaries: dict[Path, tuple[tuple[int, int], Mapping[str, Any]]] = {}
        self._guard = threading.Lock()

    def begin(self, user: str, session: Session, picture: bytes | None = None) -> str:
        """Keep a new search; return its name.

        Parameters
        ----------
        user
            Whose it is.
        session
            Its query, and its rounds if it has some already.
        picture
            A small picture of the query, WebP.

        Raises
        ------
        UserError
            For the session of another base, and where the disk can't be written.
        """
        session.refuse_another_base(self.base, self.called)
        name = secrets.token_hex(8)
        path = self._path(user, name)
        with self._told():
            private_folder(path.parent)
            write_session(path, session)
        if picture is not None:
            with contextlib.suppress(OSError):  # a search without its picture is a search
                replace_file(path.with_suffix(".webp"), picture)
        for old in self._files(user)[KEPT:]:
            _remove(old)
        return name

    def read(self, user: str, name: str) -> Session:
        """Return a search.

        Raises
        ------
        RefusedError
            If the user has none of that name.
        """
        path = self._path(user, name)
        if not path.is_file():
            raise RefusedError(404, f"There is no search {name!r} of yours here; it may have been removed.")
        with self._told():
            return read_session(path)

    def add(self, user: str, name: str, session: Session, done: Round) -> Session:
        """Add a round to a search."""
        with self._told():
            return add_round(self._path(user, name), session, done)

    def lengthen(self, user: str, name: str, session: Session, done: Round) -> Session:
        """Put a round that shows more in the place of a search's last."""
        with self._told():
            return last_round(self._path(user, name), session, done)

    def forget(self, user: str, name: str) -> None:
        """Remove a search."""
        self.read(user, name)
        _remove(self._path(user, name))

    def file(self, user: str, name: str) -> Path:
        """Return the session file of a search."""
        self.read(user, name)
        return self._path(user, name)

    def query(self, user: str, name: str) -> tuple[np.ndarray, bytes | None, bool]:
        """Return the vector of a search's query, the sha256 of its picture, and whether it is words."""
        session = self.read(user, name)
        return session.vector_E, bytes.fromhex(session.sha256) if session.sha256 else None, session.is_text

    def picture(self, user: str, name: str) -> bytes | None:
        """Return the small picture of a search's query, None where it has none."""
        path = self._path(user, name).with_suffix(".webp")
        return path.read_bytes() if path.is_file() else None

    def all(self, user: str) -> list[Told]:
        """Return the searches of a user, the last one first; what is no session is left out."""
        found = []
        for path in self._files(user):
            with contextlib.suppress(UserError, OSError):
                found.append(Told(path.stem, self._summary(path)))
        return found

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Tell what can't be read or written by where it is in the state folder, and not where that is."""
        try:
            yield
        except UserError as error:
            raise UserError(str(error).replace(f"{self.settings.state}{os.sep}", "")) from error

    def _summary(self, path: Path) -> Mapping[str, Any]:
        about = path.stat()
        stamp = (about.st_mtime_ns, about.st_size)
        with self._guard:
            known = self._summaries.get(path)
        if known is None or known[0] != stamp:
            session = read_session(path)
            last = session.rounds[-1] if session.rounds else None
            known = (
                stamp,
                {
                    "name": session.name,
                    "sha256": session.sha256,
                    "rounds": len(session.rounds),
                    "yes": len(last.yes) if last else 0,
                    "no": len(last.no) if last else 0,
                    "time": last.time
                    if last
                    else datetime.fromtimestamp(about.st_mtime, UTC).isoformat(timespec="seconds"),
                },
            )
            with self._guard:
                self._summaries[path] = known
                while len(self._summaries) > 10 * KEPT:
                    self._summaries.pop(next(iter(self._summaries)))
        return known[1]

    def _files(self, user: str) -> list[Path]:
        return sorted(self.settings.sessions_of(user).glob("*.jsonl"), key=_changed, reverse=True)

    def _path(self, user: str, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise RefusedError(404, f"There is no search {name!r}; a search's name has 16 hexadecimal digits.")
        return self.settings.sessions_of(user) / f"{name}.jsonl"


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:  # another request has removed it
        return 0


def _remove(path: Path) -> None:
    for each in _of(path):
        each.unlink(missing_ok=True)


def _of(path: Path) -> Iterator[Path]:
    yield path
    yield path.with_suffix(".webp")
    yield path.with_name(f".{path.name}.lock")
