"""The file of a session, written whole or not at all.

It is a stranger's file as any other: whatever it says is checked, and no code is imported by its words.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from itae.base.disk import replace_file
from itae.base.errors import UserError
from itae.base.lock import Lock
from itae.search.session import FORMAT, KIND, Round, Session

_LARGEST = 2**28  # bytes of a file that is read
_ROUND: dict[str, tuple[type, ...]] = {
    "version": (int,), "root": (str,), "rule": (dict,), "where": (str, type(None)), "count": (int,),
    "yes": (list,), "no": (list,), "shown": (list,), "time": (str,), "diverse": (bool,),
}  # fmt: skip
_HEAD: dict[str, tuple[type, ...]] = {
    "base": (str,), "name": (str,), "is_text": (bool,), "sha256": (str, type(None)), "vector": (str,),
    "among_images": (str, type(None)),
}  # fmt: skip


def _has_numbers(rule: Any) -> bool:
    """Whether all numbers in a rule's node are some; JSON as Python reads it also has NaN and Infinity."""
    try:
        json.dumps(rule, allow_nan=False)
    except ValueError:
        return False
    return True


_CAN_BE: dict[str, Callable[[Any], object]] = {
    "sha256": lambda value: value is None or re.fullmatch("[0-9a-f]{64}", value),
    "count": lambda value: value >= 1,
    "version": lambda value: value >= 0,
    "rule": _has_numbers,
}


def read_session(path: Path) -> Session:
    """Read a session.

    Raises
    ------
    UserError
        When it can't be read, or isn't one.
    """
    try:
        if not stat.S_ISREG((about := path.stat()).st_mode):  # a pipe would be waited for, and /dev/zero has no end
            raise UserError(f"The session {path} can't be read (it is no regular file); give the file of one.")
        if about.st_size > _LARGEST:
            raise UserError(f"{path} is larger than any session ({_LARGEST >> 20} MB); give the file of one.")
        lines = _read(path).removesuffix("\n").split("\n")  # a text may hold other ends of lines
    except OSError as error:
        raise UserError(f"The session {path} can't be read ({error.strerror}); give the file of one.") from error
    told = [_line(path, number, line) for number, line in enumerate(lines, 1)]
    if not told or told[0].get("kind") != KIND or told[0].get("format") != FORMAT:
        raise UserError(f"{path} is no session of itae search (of format {FORMAT}); --session FILE writes one.")
    head, rounds = _of(path, 1, told[0], _HEAD), []
    for number, line in enumerate(told[1:], 2):
        fields = _of(path, number, {"diverse": False} | line, _ROUND)
        if not all(isinstance(id_, str) for name in ("yes", "no", "shown") for id_ in fields[name]):
            raise UserError(f"{path}, line {number}: an id must be a text; is it a session that was changed by hand?")
        rounds.append(Round(**fields))
    try:
        vector_E, among_images_E = (_decoded(head.pop(name)) for name in ("vector", "among_images"))
    except (binascii.Error, ValueError) as error:
        raise UserError(f"{path}, line 1: a vector can't be read ({error}).") from error
    found = Session(**head, vector_E=vector_E, among_images_E=among_images_E, rounds=tuple(rounds))  # type: ignore[arg-type]
    try:
        _bytes(found)
    except ValueError as error:  # JSON can name half a letter, which no file has bytes for
        raise UserError(f"{path} has a text that no file can hold ({error}); was it changed by hand?") from error
    return found


def _decoded(text: str | None) -> np.ndarray | None:
    return None if text is None else np.frombuffer(base64.b64decode(text, validate=True), "<f4")


def _line(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        told = json.loads(line)
    except RecursionError as error:
        raise UserError(f"{path}, line {number} is too deep for a session; is it one?") from error
    except ValueError as error:
        raise UserError(f"{path}, line {number} is not JSON ({error}); is it a session, and whole?") from error
    if not isinstance(told, dict):
        raise UserError(f"{path}, line {number} is no mapping; is it a session?")
    return told


def _of(path: Path, number: int, told: Mapping[str, Any], wanted: Mapping[str, tuple[type, ...]]) -> dict[str, Any]:
    for name, types in wanted.items():
        value = told.get(name)
        wrong = not isinstance(value, types) or (isinstance(value, bool) and bool not in types)
        if wrong or name not in told or not _CAN_BE.get(name, lambda value: True)(value):
            raise UserError(f"{path}, line {number}: {name}={value!r} can't be; is it a session, and whole?")
    return {name: told[name] for name in wanted}


def write_session(path: Path, session: Session) -> None:
    """Write a session into a file of its own.

    Raises
    ------
    UserError
        When it can't be written.
    """
    with _writing(path):
        replace_file(path, _bytes(session))


def add_round(path: Path, session: Session, done: Round) -> Session:
    """Write a session with one round more; the file is there whole, before or after.

    Raises
    ------
    UserError
        When it can't be written, or another process has gone on with it meanwhile.
    """
    return _replaced(path, session, replace(session, rounds=(*session.rounds, done)))


def last_round(path: Path, session: Session, done: Round) -> Session:
    """Write a session with another last round, one that shows more; else as `add_round`."""
    return _replaced(path, session, replace(session, rounds=(*session.rounds[:-1], done)))


def _replaced(path: Path, session: Session, made: Session) -> Session:
    with _writing(path):
        # By what it says, and not by its bytes: other spaces or names beside ours are no change.
        if read_session(path).text() != session.text() if path.exists() else session.rounds:
            raise UserError(f"{path} was changed by another process meanwhile: look, and give the marks again.")
        replace_file(path, _bytes(made))
    return made


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    lock = Lock(path.with_name(f".{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with lock.held(f"another process that writes {path}"):
            yield
    except OSError as error:
        raise UserError(
            f"The session {path} can't be written ({error.strerror}); give a file that you may write to."
        ) from error


def _bytes(session: Session) -> bytes:
    return session.text().encode("utf-8", "surrogateescape")


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="surrogateescape")
