"""What lies below a folder of images, with names that are unique, in an order that no system and no locale changes.

Left out, and counted, are hidden files and folders, files that are not images by their ending, and the folders in
which systems keep thumbnails and what was thrown away. A folder that links reach twice is entered once: entered each
time, a chain of folders with two links to the next would hold every image 2^n times.
"""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from itae.base.errors import UserError
from itae.images.decode import ENDINGS
from itae.images.unread import HOW, UNREAD

log = logging.getLogger(__name__)

Pair = tuple[str, str]
"""The id of an image, and the path of its file."""

# In lower case. What begins with a dot (.@__thumb, .Trash-1000, .ipynb_checkpoints) is hidden, so it isn't listed.
SYSTEM_FOLDERS = frozenset(
    {
        *("@eadir", "#recycle", "#snapshot", "@tmp"),  # Synology
        *("@recycle", "@recently-snapshot"),  # QNAP
        *("$recycle.bin", "system volume information", "found.000"),  # Windows
        *("__macosx", "network trash folder", "temporary items"),  # macOS, and archives made there
        *("lost+found", "lost.dir", "~snapshot"),  # Linux, Android, NetApp
    }
)


@dataclass
class _Visit:
    """A folder that was entered: by what name, for which class, and whether it holds images (None: not known yet)."""

    id_: str
    class_: str
    holds: bool | None = None


@dataclass
class Walk:
    """The way through a folder: what was found and what was left out.

    Attributes
    ----------
    loose
        The images directly in the folder.
    classes
        Those of each sub-folder and all that is below it, by its name; none for a sub-folder without images.
    unread, others, hidden, system, broken
        How many were left out: of pictures that can't be read and of files that are not images, by their ending; of
        what is hidden, of the folders of systems, and of links that can't be followed, by their name.
    again
        Ids of folders that were left out as links to one that was entered already.
    """

    loose: list[Pair] = field(default_factory=list)
    classes: dict[str, list[Pair]] = field(default_factory=dict)
    unread: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    hidden: Counter[str] = field(default_factory=Counter)
    system: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    again: list[str] = field(default_factory=list)
    _seen: dict[tuple[int, int], _Visit] = field(default_factory=dict)

    @classmethod
    def through(cls, top: Path, prefix: str) -> Walk:
        """Find all images below `top`; their ids begin with `prefix`.

        Raises
        ------
        UserError
            If a folder can't be read or lies too deep, or links make it part of two classes.
        """
        walk = cls()
        for above in (top, *Path(os.path.realpath(top)).parents):  # a link back to one of them is not entered
            walk._seen[_key(str(above))] = _Visit(str(above), "")
        for name, entry in walk._entries(str(top)):
            if is_folder(entry):
                try:
                    walk.classes[name] = walk._enter(entry.path, f"{prefix}{name}", name)
                except RecursionError:
                    raise UserError(
                        f"'{entry.path}' has hundreds of folders in each other, more than can be followed; move what "
                        "is meant elsewhere."
                    ) from None
            else:
                walk.loose.append((f"{prefix}{name}", entry.path))
        return walk

    def _enter(self, folder: str, id_: str, class_: str) -> list[Pair]:
        """Return the images below a folder, in order, unless it was entered before."""
        key = _key(folder)
        before = self._seen.get(key)
        if before is not None:
            self._meet_again(before, id_, class_)
            return []
        visit = self._seen[key] = _Visit(id_, class_)
        known, found = len(self.again), []
        for name, entry in self._entries(folder):
            if is_folder(entry):
                found += self._enter(entry.path, f"{id_}/{name}", class_)
            else:
                found.append((f"{id_}/{name}", entry.path))
        visit.holds = bool(found) or len(self.again) > known
        return found

    def _meet_again(self, before: _Visit, id_: str, class_: str) -> None:
        if before.holds and before.class_ != class_:
            raise UserError(
                f"'{before.id_}' and '{id_}' are one folder, reached by a link, so each of its images would be of two "
                "classes: remove one of the two."
            )
        if before.holds is not False:
            self.again.append(id_)

    def _entries(self, folder: str) -> list[tuple[str, os.DirEntry[str]]]:
        """Return the sub-folders and the images of a folder in the order of their names, with the names for ids."""
        kept = [(name, entry) for name, entry in entries(folder) if self._keeps(name, entry)]
        return list(zip(unique([name for name, _ in kept]), (entry for _, entry in kept), strict=True))

    def _keeps(self, name: str, entry: os.DirEntry[str]) -> bool:
        """Tell by the name, in any case; count what is left out. A broken link is an image, a bad one."""
        ending = os.path.splitext(name)[1].lower()
        if name.startswith("."):
            self.hidden[name] += 1
        elif is_folder(entry):
            if name.lower() not in SYSTEM_FOLDERS:
                return True
            self.system[name] += 1
        elif ending in ENDINGS:
            return True
        elif entry.is_symlink() and not os.path.exists(entry.path):
            self.broken[name] += 1
        elif ending in UNREAD:
            self.unread[ending] += 1
        else:
            self.others[ending or "no ending"] += 1
        return False

    def left_out(self) -> str:
        """Return what was left out by its name, in words; nothing for nothing."""
        kinds = {
            "pictures that itae can't read": self.unread,
            "other files": self.others,
            "hidden files and folders": self.hidden,
            "folders of the system": self.system,
            "links that can't be followed": self.broken,
        }
        return ", ".join(_counted(counts, what) for what, counts in kinds.items() if counts)

    def report(self, top: Path) -> None:
        """Log what was left out, each kind once."""
        if told := self.left_out():
            why = f"; {HOW}" if self.unread else "; an image is told by its ending" if self.others else ""
            log.warning("'%s': left out %s%s", top, told, why)
        if self.again:
            some = listed(self.again)
            log.warning("'%s': left out %d links to folders that are there already (%s)", top, len(self.again), some)
        if empty := [name for name, files in self.classes.items() if not files]:
            log.warning("'%s': left out %d sub-folders without images (%s)", top, len(empty), listed(empty))


def entries(folder: str) -> list[tuple[str, os.DirEntry[str]]]:
    """Return all that is in a folder as (name, entry), by name, see `as_utf8`.

    Raises
    ------
    UserError
        If it can't be read.
    """
    try:
        with os.scandir(folder) as found:
            named = [(as_utf8(entry.name), entry) for entry in found]
    except OSError as error:
        raise _closed(folder, error) from None
    return sorted(named, key=lambda pair: pair[0])


def as_utf8(name: str) -> str:
    """Return a file's name, its bytes read as UTF-8 whatever the locale, or order and ids would change with it."""
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "surrogateescape")


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Tell a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or into a folder that may not be read
        return False


def unique(names: Sequence[str]) -> list[str]:
    r"""Return the names of one folder as lines of text, all different.

    Where ``\x0a`` stands both for a line break and for these four letters, a backslash is doubled in all of them.
    """
    plain = [printable(name) for name in names]
    if len(set(plain)) == len(plain):
        return plain
    return [printable(name.replace("\\", "\\\\")) for name in names]


def printable(name: str) -> str:
    r"""Return a file name as one line of UTF-8: line breaks and bytes that are not text become ``\x0a``."""
    if name.isascii() and name.isprintable():  # as nearly all of a million are
        return name
    name = re.sub(r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]", lambda m: ascii(m[0])[1:-1], name)
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _counted(counts: Counter[str], what: str) -> str:
    kinds = (f"{printable(kind)}: {n}" for kind, n in counts.most_common())
    return f"{counts.total()} {what} ({listed(kinds)})"


def listed(names: Iterable[str]) -> str:
    """Return the first five, and dots if there are more."""
    names = list(names)
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _key(folder: str) -> tuple[int, int]:
    """Return what tells a folder from another, however it is reached."""
    try:
        status = os.stat(folder)
    except OSError as error:
        raise _closed(folder, error) from None
    return status.st_dev, status.st_ino


def _closed(folder: str, error: OSError) -> UserError:
    return UserError(
        f"'{folder}' cannot be read ({error.strerror}): allow yourself to read it, or move it elsewhere if its images "
        "aren't meant."
    )
