"""Tokens in files, for scripts of the users: nobody else of the machine can read them, and they go with the server."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from itae.base.errors import UserError
from itae.serve.settings import file_name, private_folder


@contextlib.contextmanager
def token_files(state: Path, port: int, tokens: Mapping[str, str]) -> Iterator[dict[str, Path]]:
    """Have the token of each user in a file, and remove them at the end.

    Parameters
    ----------
    state
        See `itae.serve.settings.state_folder`.
    port
        Of this server: another one of the same base has another.
    tokens
        By the user.

    Yields
    ------
    dict
        The file of each user.

    Raises
    ------
    UserError
        Where they can't be written, or others could read them.
    """
    for folder in (state, state / "tokens"):
        private_folder(folder)
    folder = state / "tokens" / str(port)
    try:
        try:
            _remove(folder)  # of one that was killed on this port
            private_folder(folder)
            files = {user: folder / file_name(user) for user in tokens}
            for user, file in files.items():
                _write(file, f"{tokens[user]}\n")
        except OSError as error:
            raise UserError(
                f"Tokens can't be written into {folder} ({error.strerror}); give another folder with --state."
            ) from error
        yield files
    finally:
        with contextlib.suppress(OSError):
            _remove(folder)


def _remove(folder: Path) -> None:
    if folder.is_symlink():  # nothing of ours
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


def _write(file: Path, text: str) -> None:
    """Write a new file, which never was another's to read."""
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
