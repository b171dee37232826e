"""Where runs are: every ``result.json`` under some folders."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from itae.base.errors import UserError

RESULT = "result.json"
_NO_PLACE = ("wandb", ".hydra")


def find_results(paths: Sequence[Path]) -> list[Path]:
    """Return every ``result.json`` under the paths, each once, in the order of their names, 2 before 10.

    Hidden folders and W&B's are not entered.

    Raises
    ------
    UserError
        If a path does not exist or can't be read, or there is none under any.
    """
    found = set()
    for path in paths:
        try:
            if path.is_dir():
                os.listdir(path)
            else:
                path.stat()
        except FileNotFoundError:
            raise UserError(
                f"{path}: there is no such file or folder; give run folders, or folders with runs in them."
            ) from None
        except OSError as error:
            raise UserError(f"{path} can't be read ({error.strerror}): see that this user may read it.") from error
        found |= {path.resolve()} if path.is_file() else set(_walk(path))
    if not found:
        raise UserError(f"No {RESULT} was found under {', '.join(map(str, paths))}; give folders with runs in them.")
    return sorted(found, key=lambda file: _natural(str(file)))


def _walk(path: Path) -> Iterator[Path]:
    for folder, inside, files in os.walk(path):
        inside[:] = [name for name in inside if not name.startswith(".") and name not in _NO_PLACE]
        if RESULT in files and (Path(folder) / RESULT).is_file():
            yield (Path(folder) / RESULT).resolve()


def _natural(text: str) -> list[Any]:
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", text)]
