"""Lists of images as they come with a data set: read line by line, and held against the folders that they speak of.

What a list says is data of somebody else: a name may not lead out of the folder, no line may be half, none twice.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from itae.base.errors import UserError
from itae.images.formats import check_file, text_of
from itae.images.walk import as_utf8, listed

log = logging.getLogger(__name__)

_NUMBER = re.compile("[0-9]{1,9}")


class Counts(NamedTuple):
    """How many images and classes a split of the official set has."""

    images: int
    classes: int


def cells_of(file: Path, columns: Sequence[str], header: int = 0) -> list[tuple[int, list[str]]]:
    """Return the lines of a list that aren't empty, each as its number from 1 and its cells.

    Parameters
    ----------
    file
        In UTF-8, with cells between blanks or tabs; lines may end as on Windows.
    columns
        What its cells are called. Those that end in ``_id`` are whole numbers.
    header
        How many of the first lines are none of images.

    Raises
    ------
    UserError
        If it can't be read, or a line has other cells.
    """
    found = []
    for number, line in enumerate(text_of(file).split("\n"), start=1):
        cells = line.split()
        if number <= header or not cells:
            continue
        wrong = [name for name, cell in zip(columns, cells, strict=False) if name.endswith("_id") and not whole(cell)]
        if len(cells) != len(columns) or wrong:
            raise UserError(f"line {number} of '{file}' is not '{' '.join(columns)}': {line[:60]!r}.")
        found.append((number, cells))
    return found


def whole(cell: str) -> bool:
    """Whether a cell is a whole number as lists have them, of plain digits."""
    return _NUMBER.fullmatch(cell) is not None


def check_header(file: Path, number: int, columns: Sequence[str]) -> None:
    """Raise a `UserError` unless that line of a list names its columns."""
    lines = text_of(file).split("\n")
    if len(lines) < number or lines[number - 1].split() != list(columns):
        raise UserError(f"line {number} of '{file}' is not '{' '.join(columns)}': it is another file, or damaged.")


def once(file: Path, what: str, named: Iterable[tuple[int, str]]) -> None:
    """Raise a `UserError` if a list has one thing in two lines, given as their numbers and what is in them."""
    seen = set()
    for number, name in named:
        if name in seen:
            raise UserError(f"line {number} of '{file}' has the {what} '{name}' for the second time.")
        seen.add(name)


def check_names(file: Path, named: Iterable[tuple[int, str]], what: str = "line") -> None:
    """Raise a `UserError` for a file name that is there twice or leads out of the folder that it is meant in.

    Parameters
    ----------
    file
        The list.
    named
        The number of each line, and the name in it.
    what
        What is counted by these numbers.
    """
    seen = set()
    for number, name in named:
        if not name.isprintable() or any(part in ("", ".", "..") for part in name.split("/")):
            raise UserError(
                f"{what} {number} of '{file}' names {name[:80]!r}, which is no path to a file inside of the data set."
            )
        if name in seen:
            raise UserError(f"{what} {number} of '{file}' names '{name}' for the second time.")
        seen.add(name)


def paths_of(folder: Path, names: Sequence[str], table: str | Path) -> list[str]:
    """Return where the files of these names lie; each folder is read once, and no file is asked for.

    Raises
    ------
    UserError
        If there are names without a file, and if a folder can't be read.
    """
    there: set[str] = set()
    for parent in {os.path.dirname(name) for name in names}:
        there.update(f"{parent}/{name}" if parent else name for name in _files(folder / parent))
    if lost := [name for name in names if name not in there]:
        raise UserError(
            f"'{folder}' lacks {len(lost)} of the {len(names)} images that '{table}' names ({listed(lost)}): unpack "
            "them again, or cut the list down to what is there."
        )
    return [str(folder / name) for name in names]


def _files(folder: Path) -> list[str]:
    try:
        return [as_utf8(name) for name in os.listdir(folder)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UserError(f"'{folder}' cannot be read ({error.strerror}).") from None


def numbered_classes(of_images: Sequence[str], names: Sequence[str]) -> list[int]:
    """Return the place of each image's class among these."""
    place = {name: i for i, name in enumerate(names)}
    return [place[name] for name in of_images]


def report(where: Path, split: str, images: int, classes: int, official: Mapping[str, Counts]) -> None:
    """Log where a split isn't as in the official set: a part of it is fine, and what broke off looks the same."""
    whole_set = official[split]
    if (images, classes) != whole_set:
        log.warning(
            "'%s': %d images of %d classes in %s, where the official set has %d of %d; if it was not cut down on "
            "purpose, get it again",
            where, images, classes, split, whole_set.images, whole_set.classes,
        )  # fmt: skip


def bytes_of(file: Path, most: int) -> bytes:
    """Return the content of a file.

    Raises
    ------
    UserError
        If it can't be read, or has more than `most` bytes.
    """
    check_file(file)
    try:
        with file.open("rb") as stream:
            data = stream.read(most + 1)
    except OSError as error:
        raise UserError(f"'{file}' cannot be read ({error}).") from None
    if len(data) > most:
        raise UserError(f"'{file}' is not the official file: it has more than {most} bytes.")
    return data
