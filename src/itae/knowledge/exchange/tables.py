"""What people write beside their pictures: CSV files of labels, groups and whatever else is known of each.

A line is of one picture, named by its path in the folder in a column ``id``.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from itae.base.errors import UserError, did_you_mean
from itae.base.place import at_home

ID = "id"


def labels_from(path: str, ids: Sequence[str], option: str = "--label") -> list[tuple[str, ...]]:
    """Return the labels of each picture: the column ``label``, of which several lines of one id are several labels.

    A picture without a line, or whose cells are all empty, has none.

    Raises
    ------
    UserError
        If the file can't be read, or has a line of a picture that isn't there.
    """
    found: dict[str, set[str]] = {id_: set() for id_ in ids}
    for id_, row in _lines(option, path, found, ("label",)):
        if row["label"]:
            found[id_].add(row["label"])
    return [tuple(sorted(found[id_])) for id_ in ids]


def groups_from(path: str, ids: Sequence[str], option: str = "--group") -> list[str | None]:
    """Return the group of each picture: the column ``group``; None where there is no line, or an empty cell.

    Raises
    ------
    UserError
        As `labels_from` does, and if one picture is said to be of two groups.
    """
    found: dict[str, str | None] = {}
    for id_, row in _lines(option, path, dict.fromkeys(ids), ("group",)):
        group = row["group"] or None
        if found.setdefault(id_, group) != group:
            raise UserError(f"{option}={path}: {id_!r} is of {found[id_]!r} and of {group!r}; a picture has one group.")
    return [found.get(id_) for id_ in ids]


def metadata_from(path: str, ids: Sequence[str], taken: Sequence[str]) -> dict[str, list[Any]]:
    """Return the columns of a file but ``id``, each with a value a picture; None where there is none.

    A column of whole numbers is one of these, as is one of numbers; all others are text, codes such as ``007`` too.

    Parameters
    ----------
    path
        Of the file.
    ids
        Of the pictures.
    taken
        Names of columns that mean something already.

    Raises
    ------
    UserError
        As `labels_from` does, for a name that is taken, and if there are two lines of one picture.
    """
    columns = texts_from(path, ids, "--meta")
    for name in columns:
        if not name or name in taken:
            raise UserError(
                f"--meta={path}: a column may not be called {name!r}, as {', '.join(taken)} mean something already; "
                "rename it."
            )
    return {name: _typed([text or None for text in texts]) for name, texts in columns.items()}


def texts_from(path: str, ids: Sequence[str], option: str) -> dict[str, list[str]]:
    """Return the columns of a file but ``id``, each with a text a picture; an empty one where there is none.

    Raises
    ------
    UserError
        As `labels_from` does, and if there are two lines of one picture.
    """
    rows: dict[str, Mapping[str, str]] = {}
    for id_, row in _lines(option, path, dict.fromkeys(ids), ()):
        if id_ in rows:
            raise UserError(f"{option}={path} has two lines of {id_!r}; keep one.")
        rows[id_] = row
    names = [name for name in next(iter(rows.values()), {}) if name != ID]
    return {name: [rows.get(id_, {}).get(name) or "" for id_ in ids] for name in names}


def lines_of(option: str, path: str, columns: Sequence[str]) -> list[dict[str, str]]:
    """Return the cells of each line of a CSV file, by the names of its columns; of a short line some are None.

    Raises
    ------
    UserError
        When it can't be read, lacks one of `columns`, or has two of one name.
    """
    try:
        with at_home(path).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            there, lines = list(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{option}={path} can't be read as a CSV file ({error}); save it as one, in UTF-8.") from error
    for name in columns:
        if name not in there:
            raise UserError(
                f"{option}={path} has no column {name!r}; its first line must name {', '.join(columns)}"
                f"{f', and it has {chr(44).join(map(str, there))}' if there else ''}."
            )
    twice = next((name for name in there if there.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{option}={path} has two columns {twice!r}; keep one, or rename it.")
    return lines


def _lines(
    option: str, path: str, known: Mapping[str, object], columns: Sequence[str]
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the id and the cells of each line."""
    for number, row in enumerate(lines_of(option, path, (ID, *columns)), 2):
        if None in row or None in row.values():
            raise UserError(f"{option}={path}, line {number}, has not as many cells as the first line has names.")
        if row[ID] not in known:
            raise UserError(
                f"{option}={path}, line {number}: there is no picture {row[ID]!r}; an id is its path in the folder."
                f"{did_you_mean(row[ID], known)}"
            )
        yield row[ID], row


_CODE = re.compile(r"[+-]?0\d|.*_|\+")
"""What Python reads as a number and would write otherwise: of a code, a digit would be lost."""
_INT64 = 2**63


def _typed(cells: list[str | None]) -> list[Any]:
    if any(cell is not None and _CODE.match(cell.strip()) for cell in cells):
        return list(cells)
    for kind in (int, float):
        try:
            typed = [None if cell is None else kind(cell) for cell in cells]
        except ValueError:
            continue
        whole = kind is int
        return list(cells) if whole and any(v is not None and not -_INT64 <= v < _INT64 for v in typed) else typed
    return list(cells)


def is_file(word: str) -> bool:
    """Whether the value of an option is a CSV file and no label or group of that name."""
    return word.lower().endswith(".csv") or Path(at_home(word)).is_file()
