"""A run on the disk: what it wrote, and how to read it back.

``result.json`` is the record of a run, and the only one: no tracker and no return value is needed to know what
came out.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itae.errors import UserError

if TYPE_CHECKING:
    from itae.store import Embeddings

RESULT = "result.json"
_NO_PLACE = ("wandb", ".hydra")


@dataclass(frozen=True)
class Run:
    """A run that has ended.

    Parameters
    ----------
    folder
        The run's folder.
    result
        What is in its ``result.json``.
    """

    folder: Path
    result: dict[str, Any]

    @property
    def ok(self) -> bool:
        """Whether the run ended well; if not, ``result["error"]`` says why."""
        return self.result["status"] == "ok"

    @property
    def settings(self) -> dict[str, Any]:
        """The resolved config of the run, as plain values."""
        return self.result["settings"]

    @cached_property
    def baseline(self) -> Embeddings:
        """The embeddings of the untouched backbone, verified as they are read."""
        return self._embeddings("baseline")

    @cached_property
    def edited(self) -> Embeddings:
        """The embeddings under the edit, verified as they are read."""
        return self._embeddings("edited")

    def _embeddings(self, which: str) -> Embeddings:
        from itae.store import DamagedEntry, read_entry

        folders = self.result.get("embeddings") or {}
        if which not in folders:
            raise UserError(f"The run {self.folder} has no {which} embeddings: it ended with {self.result['error']!r}.")
        path = (self.folder / folders[which]).resolve()
        try:
            return read_entry(path)
        except DamagedEntry as error:
            raise UserError(
                f"The embeddings {path} of {self.folder} are gone or damaged ({error}); run it again."
            ) from error


def load_run(path: str | os.PathLike[str]) -> Run:
    """Read a run back.

    Parameters
    ----------
    path
        The run's folder, or its ``result.json``.

    Raises
    ------
    UserError
        If there is no run there.
    """
    file = Path(path) / RESULT if Path(path).is_dir() else Path(path)
    try:
        result = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is no run: it has no {RESULT} that can be read ({type(error).__name__}).") from error
    if not isinstance(result, dict) or not isinstance(result.get("status"), str):
        raise UserError(f"{path} is no run: its {RESULT} has no status.")
    return Run(file.parent.absolute(), result)


def find_results(paths: Sequence[Path]) -> list[Path]:
    """Return every ``result.json`` under the paths, each once, in the order of their names, 2 before 10.

    Hidden folders and W&B's are not entered.

    Raises
    ------
    UserError
        If a path does not exist, or there is none under any.
    """
    found = set()
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: there is no such file or folder; give run folders, or folders with runs in them.")
        found |= {path.resolve()} if path.is_file() else set(_walk(path))
    if not found:
        raise UserError(f"No {RESULT} was found under {', '.join(map(str, paths))}; give folders with runs in them.")
    return sorted(found, key=lambda file: _natural(str(file)))


def _walk(path: Path) -> Iterator[Path]:
    for folder, inside, files in os.walk(path):
        inside[:] = [name for name in inside if not name.startswith(".") and name not in _NO_PLACE]
        if RESULT in files:
            yield (Path(folder) / RESULT).resolve()


def _natural(text: str) -> list[Any]:
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", text)]


def write_result(folder: Path, result: dict[str, Any]) -> None:
    """Write ``result.json``, whole or not at all; a `UserError` says why it can't be written."""
    unfinished = folder / f".{RESULT}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n")
        unfinished.replace(folder / RESULT)
    except OSError as error:
        raise UserError(
            f"{folder / RESULT} can't be written ({error.strerror}); make room, or set hydra.run.dir to another "
            "folder. Embeddings that are done are kept in paths.cache."
        ) from error
