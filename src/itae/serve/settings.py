"""How a base is served: for whom, within which limits, and where what lasts longer than a page is kept."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from itae.base.checks import whole
from itae.base.errors import UserError
from itae.base.place import at_home

_LONGEST = 64  # bytes of a user's name; as the name of a folder it takes three times that at most
_NO_FOLDERS = (".", "..")


@dataclass(frozen=True)
class Limits:
    """What a request may bring, and what all of them together may hold.

    Parameters
    ----------
    json, session, picture
        Bytes of a body: JSON, the file of a session, a picture.
    pixels
        Of a picture, by what its header says.
    held
        Bytes of all bodies of JSON that are being received or worked on, and as many of all files; half of them for
        each user.
    waiting
        Requests that wait for room among those; who comes after them is told to come again.
    patience
        Seconds that one of them waits.
    silence
        Seconds after which a client that sends nothing more of a body is given up.
    """

    json: int = 4 * 10**6
    session: int = 16 * 10**6
    picture: int = 20 * 10**6
    pixels: int = 50 * 10**6
    held: int = 100 * 10**6
    waiting: int = 200
    patience: float = 10.0
    silence: float = 30.0

    def __post_init__(self) -> None:
        """Check every value."""
        for name in ("json", "session", "picture", "pixels", "held"):
            whole(name, getattr(self, name), low=1)


@dataclass(frozen=True)
class Settings:
    """How a base is served.

    Parameters
    ----------
    state
        The folder of what is kept of this base; see `state_folder`.
    users
        Names of those who may ask.
    limits
        Of what they send.
    """

    state: Path
    users: tuple[str, ...]
    limits: Limits = field(default_factory=Limits)

    def sessions_of(self, user: str) -> Path:
        """Return the folder of a user's searches, which need not be there."""
        return self.state / "sessions" / file_name(user)


def file_name(text: str) -> str:
    """Return a text as the name of a file: other than in letters, digits and ``_.-~`` it has ``%``, as in a URL."""
    return quote(text, safe="").replace(".", "%2E") if text in _NO_FOLDERS else quote(text, safe="")


def state_folder(base: str, chosen: str | None = None) -> Path:
    """Return the folder in which a server keeps what is of one base, which need not be there.

    Parameters
    ----------
    base
        The random name of the base, see `itae.knowledge.ledger.about.About`.
    chosen
        The folder of all bases; by default ``itae/serve`` in ``$XDG_STATE_HOME``, and that is ``~/.local/state``.

    Raises
    ------
    UserError
        Where there is no home folder to put it into.
    """
    if chosen is not None:
        if not chosen:
            raise UserError("--state='' names no folder; give one that you may write to, or leave it out.")
        return at_home(chosen).absolute() / file_name(base)
    given = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(given):  # as its specification has it: another one is not heeded
        given = os.path.expanduser("~/.local/state")
        if not os.path.isabs(given):
            raise UserError(
                "There is no home folder to keep searches in, as HOME is not set; set it, or give --state FOLDER."
            )
    return Path(given, "itae", "serve", file_name(base))


def private_folder(folder: Path) -> None:
    """Make a folder that nobody else may look into, and what it lies in.

    Raises
    ------
    UserError
        Where it can't be made or written, or other users of the machine could read it.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid != os.geteuid():
            raise UserError(
                f"{folder} is another user's of this machine, who could read what is kept there; give a folder of your "
                "own with --state."
            )
        if folder.stat().st_mode & 0o077:
            folder.chmod(0o700)
        others = folder.stat().st_mode & 0o077
    except OSError as error:
        raise UserError(
            f"{error.filename or folder} can't be written ({error.strerror}), and searches and tokens are kept there; "
            "give a folder that you may write to with --state."
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{folder} can't be written; give a folder that you may write to with --state.")
    if others:
        raise UserError(
            f"{folder} can't be kept from other users of this machine, as its disk has no permissions; give a folder "
            "on another with --state."
        )


def check_users(names: Sequence[str]) -> None:
    """Raise a `UserError` for a name that nobody has, or that two would have."""
    for name in names:
        told = f"--user {name!r}"
        if not name.strip():
            raise UserError(f"{told} is empty; give a name, under which the journal has what is edited.")
        if not name.isprintable() or name != name.strip():
            raise UserError(f"{told} has a character that can't be seen, or a space at its ends; leave that out.")
        if len(name.encode("utf-8", "surrogateescape")) > _LONGEST:
            raise UserError(f"{told} is longer than {_LONGEST} bytes; give a shorter name.")
        if names.count(name) > 1:
            raise UserError(f"{told} is given twice; give each user once.")
