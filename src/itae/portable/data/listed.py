"""Pairs of files: those of two folders by their names, or those of a list; what is missing or there twice is named."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from itae.base.errors import UserError
from itae.images.decode import ENDINGS


@dataclass(frozen=True)
class Listed:
    """A pair of files, the scene that it is of, its name, and the number of the piece that is cut from it."""

    scene: str
    name: str
    blurred: Path
    sharp: Path
    number: int = 0

    def contents(self) -> list[str]:
        """Return the sha256 of both files."""
        return [hashlib.sha256(file.read_bytes()).hexdigest() for file in (self.blurred, self.sharp)]


def matched(scene: str, blurred: Path, sharp: Path, name: str, allowed_empty: bool = False) -> list[Listed]:
    """Return pairs of the files of two folders with the same names but for their endings, in order.

    Raises
    ------
    UserError
        If a file has none in the other folder, or two, or there are none at all.
    """
    left, right = (by_stem([folder], allowed_empty) for folder in (blurred, sharp))
    check_none_missing(sorted(left.keys() - right.keys()), sharp, "blurred", "sharp")
    check_none_missing(sorted(right.keys() - left.keys()), blurred, "sharp", "blurred")
    return [Listed(scene, f"{name}/{stem}".lstrip("/"), left[stem], right[stem]) for stem in left]


def by_stem(folders: Iterable[Path], allowed_empty: bool = False) -> dict[str, Path]:
    """Return the pictures of folders by their names without ending, in order; none of them twice."""
    out: dict[str, Path] = {}
    folders = list(folders)
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"The folder {folder} is missing.")
        for file in sorted(folder.iterdir()):
            if file.suffix.lower() in ENDINGS and not file.name.startswith("."):
                if file.stem in out:
                    raise UserError(f"{out[file.stem]} and {file} are two pictures of one name; keep one of them.")
                out[file.stem] = file
    if not out and not allowed_empty:
        raise UserError(f"The folder {folders[0]} holds no picture.")
    return out


def from_list(root: Path, file: Path, above: int) -> list[Listed]:
    """Return the pairs of a list: in each line the paths of a sharp and a blurred picture, from the root.

    A scene is the folder that is so many above that of the picture.

    Raises
    ------
    UserError
        If a line isn't such, a picture isn't there, or a blurred one is there twice.
    """
    out: list[Listed] = []
    seen: dict[str, int] = {}
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{file} isn't a text in UTF-8, as a list of pairs is; unpack or download it anew.") from None
    for number, line in enumerate(lines, 1):
        paths = line.split()
        if not paths:
            continue
        if len(paths) < 2:
            raise UserError(f"{file}, line {number}: {line!r} isn't a sharp and a blurred picture.")
        sharp, blurred = (root / path for path in paths[:2])
        for picture in (sharp, blurred):
            if not picture.is_file():
                raise UserError(f"{file}, line {number}: {picture} is missing.")
        if paths[1] in seen:
            raise UserError(f"{file}, lines {seen[paths[1]]} and {number}: {paths[1]} is there twice; remove one.")
        seen[paths[1]] = number
        out.append(Listed(sharp.parents[above].name, paths[1], blurred, sharp))
    if not out:
        raise UserError(f"{file} names no pair.")
    return out


def folders_in(folder: Path) -> list[Path]:
    """Return the folders in a folder, in order, but for hidden ones."""
    return sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))


def check_same_names(sharp: Path, blurred: Path) -> None:
    """Raise a `UserError` unless two folders have the same sub-folders."""
    left, right = ({each.name for each in folders_in(folder)} for folder in (sharp, blurred))
    for here, there, missing in ((sharp, blurred, left - right), (blurred, sharp, right - left)):
        if missing:
            raise UserError(f"{here} has {', '.join(sorted(missing)[:3])}, and {there} hasn't.")


def check_none_missing(stems: Sequence[str], folder: Path, have: str, lack: str) -> None:
    """Raise a `UserError` that names what `have` pictures have no `lack` one in a folder, if there are any."""
    if stems:
        some = ", ".join(stems[:3]) + (", ..." if len(stems) > 3 else "")
        raise UserError(f"{len(stems)} {have} pictures have no {lack} one in {folder}: {some}.")
