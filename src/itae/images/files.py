"""Files and folders as they are named on a command line: a data set without labels."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from itae.base.errors import UserError
from itae.base.place import at_home
from itae.images.dataset import Dataset
from itae.images.formats import Listing
from itae.images.unread import HOW
from itae.images.walk import Walk, as_utf8, printable


@dataclass(frozen=True, kw_only=True)
class Files(Dataset):
    """Pictures wherever they lie: each path is a file, or a folder of which all pictures are meant, those below it too.

    A file's id is its path as it was given; of a folder, that and the way from there.
    """

    paths: tuple[str, ...]
    name: str = "files"
    split: str = "all"

    def _find(self) -> Listing:
        found = dict(pair for path in self.paths for pair in _pictures(path))
        return Listing(list(found), list(found.values()), None, [])


def _pictures(path: str) -> list[tuple[str, str]]:
    """Return the ids and files of one path; a file may have any ending, as its content decides."""
    place, name = at_home(path), printable(as_utf8(path))
    if not os.path.lexists(place):
        raise UserError(f"{path}: there is no such file; give a picture, or a folder of pictures.")
    if not os.path.isdir(place):
        return [(name, str(place))]
    walk = Walk.through(Path(place), f"{name.rstrip('/')}/")
    found = [*walk.loose, *(pair for pairs in walk.classes.values() for pair in pairs)]
    if not found:
        left = f" (there are {walk.left_out()})" if walk.left_out() else ""
        raise UserError(f"{path}: there are no pictures below this folder{left}; {HOW}.")
    return found
