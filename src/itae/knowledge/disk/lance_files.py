"""The files of Lance datasets: what it makes of damage and of full disks, and how they are brought to the disk.

This is the only module that imports `lance`.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xxhash

from itae.base.disk import flush_folder
from itae.base.errors import UserError
from itae.knowledge.disk.folder import is_url
from itae.knowledge.records.sealed import Damaged

if TYPE_CHECKING:
    import lance


_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL)  # of a name that is damaged


_OS_ERROR = re.compile(r"os error (\d+)")

_FEW = 8  # files and folders, as of one correction: to start threads takes longer than to flush them one by one


def lance_here() -> Any:
    """Import Lance, which is optional, and have it keep its warnings to itself."""
    os.environ.setdefault("LANCE_LOG", "error")
    try:
        import lance
    except ImportError:
        raise UserError(
            "A knowledge base on a disk needs pylance, which is not installed: pip install 'itae[knowledge]'."
        ) from None
    return lance


@contextlib.contextmanager
def trouble_of_lance() -> Iterator[None]:
    """Raise what the disk can't do as OSError with its number, and what Lance makes of damage as `Damaged`."""
    try:
        yield
    except (UserError, Damaged, KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
        raise
    except BaseException as error:  # a panic of Rust's is no Exception
        if (number := trouble_in(error)) is not None:
            file = error.filename if isinstance(error, OSError) else None
            raise OSError(number, os.strerror(number), *([file] if file else [])) from error
        raise Damaged(f"Lance can't read it: {first_line(error)}") from error


def trouble_in(error: BaseException) -> int | None:
    """Return the number of what the disk can't do; None where an error tells of none, or of a name that is damaged."""
    found = _OS_ERROR.search(str(error))
    number = error.errno if isinstance(error, OSError) else None
    number = int(found[1]) if number is None and found else number
    return None if number in _NOT_THERE else number


def first_line(error: BaseException) -> str:
    """Return how what an error says begins."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def names_of(dataset: lance.LanceDataset) -> list[str]:
    """Return the files of a version, within its folder."""
    return sorted(_sizes(dataset))


def _sizes(dataset: lance.LanceDataset) -> dict[str, int | None]:
    """Return the bytes of each file of a version, as far as it tells."""
    found: dict[str, int | None] = {f"_versions/{2**64 - 1 - dataset.version:020d}.manifest": None}
    for fragment in dataset.get_fragments():
        found |= {f"data/{each.path}": each.file_size_bytes or None for each in fragment.data_files()}
        deleted = fragment.deletion_file()
        found |= {deleted: None} if deleted else {}
    return found


def settle(dataset: lance.LanceDataset, known: Iterable[str] = ()) -> None:
    """Bring the new files of a version through to the disk, and see that they are there: Lance does neither.

    On a full disk it takes a file that was cut short for written.

    Parameters
    ----------
    dataset
        At the version.
    known
        Files that were there before.

    Raises
    ------
    OSError
        When one was cut short, or can't be brought to the disk.
    """
    try:
        fresh = lance_here().dataset(dataset.uri, version=dataset.version)
        new = {name: size for name, size in _sizes(fresh).items() if name not in known}
        if is_url(dataset.uri) or not all(_whole(Path(dataset.uri) / name, size) for name, size in new.items()):
            fresh.validate()
    except Exception as error:
        raise OSError(errno.ENOSPC, "a file was cut short") from error
    if not is_url(dataset.uri):
        paths = [Path(dataset.uri) / name for name in new]
        paths += {path.parent for path in paths}
        if len(paths) <= _FEW:
            for path in paths:
                flush_folder(path)
        else:
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(flush_folder, paths))


def _whole(file: Path, size: int | None) -> bool:
    """Whether a file is seen to be whole, at a glance; False where that takes more. A manifest was just read.

    Raises
    ------
    ValueError
        When it is not.
    """
    if file.parent.name == "_versions":
        return True
    if file.parent.name == "data":
        if size not in (None, file.stat().st_size):
            raise ValueError(f"{file} has another size than was written")
        return size is not None
    return file.suffix == ".arrow" and file.read_bytes()[-6:] == b"ARROW1"


def hash_of(file: Path) -> str:
    """Return the XXH3 of a file's bytes, 32 hex digits.

    It finds what a disk or a copy changes, in a tenth of a sha256's time; what somebody wrote on purpose shows in the
    digests of the rows, which are sha256.
    """
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, xxhash.xxh3_128).hexdigest()


def remove_unneeded(root: Path, needed: set[str]) -> None:
    """Remove what Lance's own cleaning leaves: files of writers that died, and transactions."""
    for name in ("data", "_deletions", "_transactions", "_versions"):
        folder = root / name
        for path in folder.iterdir() if folder.is_dir() else ():
            if f"{name}/{path.name}" not in needed and path.name != "latest_version_hint.json":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
