"""What a base is: ``base.json``, and the other sealed files beside its journal.

``tags.json`` has the version of each tag; ``head.json`` the store's version at which an edit lies since files were put
together; ``purging.json`` is there while a purge goes on.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itae.base.checks import one_of
from itae.base.errors import UserError
from itae.knowledge.disk.folder import Folder
from itae.knowledge.records.sealed import FORMAT, Damaged, now, sealed, unsealed
from itae.store.entry import plain

_BASE, _TAGS, HEAD = "base.json", "tags.json", "head.json"
GOING_ON = "purging.json"
IMAGES = ("refer", "embed")


@dataclass(frozen=True)
class About:
    """What is told of a base once, when it is made.

    Parameters
    ----------
    space
        What its vectors may be compared with, plain values.
    words
        The settings, resolved, that make a vector of an image, plain values.
    images
        ``refer`` to images where they are, or ``embed`` their bytes.
    created
        When, in UTC.
    name
        A random one, so that another base in the same place is told from it.
    seal
        Of the file.
    """

    space: dict[str, Any]
    words: dict[str, Any]
    images: str
    created: str
    name: str
    seal: str = ""


def make(folder: Folder, space: dict[str, Any], words: dict[str, Any], images: str) -> None:
    """Write the file that makes a folder a base.

    Raises
    ------
    UserError
        When there is a base.
    """
    one_of("images", images, IMAGES)
    told = {
        "format": FORMAT,
        "space": plain(space, "space"),
        "words": plain(words, "words"),
        "images": images,
        "created": now().isoformat(),
        "name": secrets.token_hex(16),
    }
    try:
        if folder.exists(_BASE):  # also where it can't be written
            raise FileExistsError
        folder.write(_BASE, sealed(told)[0], new=True)
    except FileExistsError:
        raise _another(folder) from None


def refuse_another(folder: Folder) -> None:
    """Raise a `UserError` when there is a base."""
    if folder.exists(_BASE):
        raise _another(folder)


def _another(folder: Folder) -> UserError:
    return UserError(f"There is a knowledge base at {folder.where}: add to it, or give another folder.")


def look(folder: Folder) -> About:
    """Read what a base is.

    Raises
    ------
    UserError
        When there is none, or one that can't be read.
    """
    try:
        told, seal = unsealed(folder.read(_BASE), _BASE)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{folder.where} is no knowledge base (it has no {_BASE}): give the folder of one, or make one with "
            "`itae knowledge init`."
        ) from None
    except Damaged as damage:
        raise UserError(
            f"The knowledge base at {folder.where} is damaged ({damage}): put {_BASE} back from a backup; nothing else "
            "says what its vectors are."
        ) from None
    if told.get("format") != FORMAT:
        raise UserError(
            f"The knowledge base at {folder.where} is of format {told.get('format')!r}, and this itae reads {FORMAT}: "
            "update itae."
        )
    return About(told["space"], told["words"], told["images"], told["created"], told["name"], seal)


def is_base(path: str | os.PathLike[str]) -> bool:
    """Whether there is a base in a folder, whatever state it is in."""
    return os.path.isfile(os.path.join(path, _BASE))


def indexes_of(cache: Path, about: About) -> Path:
    """Return where a cache keeps indexes of a base."""
    return cache / ".indexes" / about.name


def read_tags(folder: Folder) -> dict[str, int]:
    """Return the version of each tag, by name."""
    try:
        return {str(name): int(version) for name, version in unsealed(folder.read(_TAGS), _TAGS)[0]["tags"].items()}
    except FileNotFoundError:
        return {}


def write_tags(folder: Folder, tags: dict[str, int]) -> None:
    """Write the version of each tag."""
    folder.write(_TAGS, sealed({"tags": tags})[0])


def read_head(folder: Folder) -> dict[str, Any]:
    """Return at which version of the store an edit is now, empty where nothing was put together."""
    try:
        return unsealed(folder.read(HEAD), HEAD)[0]
    except FileNotFoundError:
        return {}


def write_head(folder: Folder, edit: int, store: int, files: str | None) -> None:
    """Write at which version of the store an edit is now."""
    folder.write(HEAD, sealed({"edit": edit, "store": store, "files": files})[0])
