"""The small files of a base: in a folder of this machine, in an object store, or in memory.

Each is there whole or not at all. None of it knows what is in them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from itae.base.disk import flush_folder, free_bytes, megabytes, replace_file, trouble, write_file
from itae.base.errors import UserError
from itae.base.place import at_home
from itae.knowledge.records.sealed import Damaged


class Folder(Protocol):
    """Where the small files are."""

    @property
    def where(self) -> str:
        """Its path or URL, for people and for Lance."""
        ...

    def read(self, name: str) -> bytes:
        """Return a file; FileNotFoundError where there is none."""
        ...

    def write(self, name: str, data: bytes, new: bool = False) -> None:
        """Write a file at once; with `new`, FileExistsError where there is one."""
        ...

    def names(self, name: str) -> list[str]:
        """Return the names of the files in a folder of it."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file, if there is one, and what somebody who died left beside it."""
        ...

    def keep(self, name: str, wanted: Collection[str]) -> None:
        """Remove all files of a folder of it but some, and what somebody who died left there."""
        ...

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        ...


_TEMPORARY = ".tmp"


class OnDisk:
    """A folder of this machine, or of a disk that it shares."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def where(self) -> str:
        """Its path."""
        return str(self.path)

    def read(self, name: str) -> bytes:
        """Return a file."""
        try:
            return (self.path / name).read_bytes()
        except NotADirectoryError as error:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name) from error
        except IsADirectoryError:
            raise Damaged(f"{name} is a folder") from None

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        return os.path.lexists(self.path / name)

    def names(self, name: str) -> list[str]:
        """Return the names of the files in a folder of it."""
        try:
            return sorted(each for each in os.listdir(self.path / name) if not each.startswith("."))
        except FileNotFoundError:
            return []
        except NotADirectoryError:
            raise Damaged(f"{name} is no folder") from None

    def remove(self, name: str) -> None:
        """Remove a file, if there is one, and what writers of it who died left beside it."""
        file = self.path / name
        file.unlink(missing_ok=True)
        for left in file.parent.glob(f".*{_TEMPORARY}") if file.parent.is_dir() else ():
            left.unlink(missing_ok=True)

    def keep(self, name: str, wanted: Collection[str]) -> None:
        """Remove all files of a folder of it but some, and what somebody who died left there."""
        folder = self.path / name
        for each in os.listdir(folder) if folder.is_dir() else ():
            if each not in wanted:
                (folder / each).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it is not there, or not empty
            folder.rmdir()  # its name may tell of what was in it

    def write(self, name: str, data: bytes, new: bool = False) -> None:
        """Write a file and bring it through to the disk."""
        file = self.path / name
        _make(file.parent)
        if new:
            _write_new(file, data)
        else:
            replace_file(file, data)
        flush_folder(file.parent)


def _make(folder: Path) -> None:
    """Make a folder, and bring its name through to the disk."""
    if not os.path.lexists(folder):
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        flush_folder(folder.parent)


def _write_new(file: Path, data: bytes) -> None:
    """Write a file unless there is one, also if the lock that should see to that was lost."""
    temporary = file.with_name(f".{file.name}-{uuid.uuid4().hex}{_TEMPORARY}")
    try:
        write_file(temporary, [data])
        try:
            os.link(temporary, file)
        except FileExistsError:
            raise
        except OSError:  # a disk without hard links
            if os.path.lexists(file):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(file)) from None
            os.rename(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


class InStore:
    """A folder of an object store, by its URL.

    A file is put whole or not at all, but pyarrow has no way to say "unless there is one": of two who write the same
    new file in the same moment the later would win, so there is to be one writer at a time.
    """

    def __init__(self, url: str) -> None:
        from pyarrow import fs

        self.url = url.rstrip("/")
        self._files, self._root = fs.FileSystem.from_uri(_with_endpoint(self.url))

    @property
    def where(self) -> str:
        """Its URL."""
        return self.url

    def read(self, name: str) -> bytes:
        """Return a file."""
        with self._files.open_input_stream(f"{self._root}/{name}") as file:
            return bytes(file.read())

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        return bool(self._files.get_file_info(f"{self._root}/{name}").is_file)

    def names(self, name: str) -> list[str]:
        """Return the names of the files in a folder of it."""
        from pyarrow import fs

        chosen = fs.FileSelector(f"{self._root}/{name}", allow_not_found=True)
        return sorted(each.base_name for each in self._files.get_file_info(chosen) if each.is_file)

    def write(self, name: str, data: bytes, new: bool = False) -> None:
        """Write a file."""
        if new and self.exists(name):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), f"{self.url}/{name}")
        with self._files.open_output_stream(f"{self._root}/{name}") as file:
            file.write(data)

    def remove(self, name: str) -> None:
        """Remove a file, if there is one."""
        if self.exists(name):
            self._files.delete_file(f"{self._root}/{name}")

    def keep(self, name: str, wanted: Collection[str]) -> None:
        """Remove all files of a folder of it but some."""
        _remove_others(self, name, wanted)


def _with_endpoint(url: str) -> str:
    """Return a URL of S3 with the endpoint of the environment, as Lance takes it, so that a file is one request."""
    if not url.startswith("s3://") or "?" in url:
        return url
    scheme, _, host = os.environ.get("AWS_ENDPOINT_URL", "").rpartition("://")
    endpoint = f"&scheme={scheme or 'https'}&endpoint_override={quote(host, safe='')}" if host else ""
    return f"{url}?allow_delayed_open=true{endpoint}"


class InMemory:
    """Files that go with the process."""

    where = "memory"

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}

    def read(self, name: str) -> bytes:
        """Return a file."""
        if name not in self._files:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return self._files[name]

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        return name in self._files

    def names(self, name: str) -> list[str]:
        """Return the names of the files in a folder of it."""
        return sorted(each.rpartition("/")[2] for each in self._files if each.rpartition("/")[0] == name)

    def write(self, name: str, data: bytes, new: bool = False) -> None:
        """Write a file."""
        if new and name in self._files:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
        self._files[name] = data

    def remove(self, name: str) -> None:
        """Remove a file, if there is one."""
        self._files.pop(name, None)

    def keep(self, name: str, wanted: Collection[str]) -> None:
        """Remove all files of a folder of it but some."""
        _remove_others(self, name, wanted)


def _remove_others(folder: Folder, name: str, wanted: Collection[str]) -> None:
    for each in folder.names(name):
        if each not in wanted:
            folder.remove(f"{name}/{each}")


def is_url(path: object) -> bool:
    """Whether a base is said to be in an object store."""
    return "://" in str(path)


def folder_at(path: str | os.PathLike[str]) -> Folder:
    """Return the folder at a path, or at a URL."""
    if not os.fspath(path):
        raise UserError("The name of a knowledge base is empty: give the folder of one (. is this one).")
    if is_url(path):
        return InStore(str(path))
    return OnDisk(at_home(path).absolute())


_ASK = "it can be asked, and whoever may write there can edit it"


@contextlib.contextmanager
def trouble_told(where: str, then: str = _ASK) -> Iterator[None]:
    """Turn what a disk can't do into a `UserError` that names the base.

    Parameters
    ----------
    where
        Its path or URL.
    then
        What is to be done where it can't be written.

    Raises
    ------
    UserError
        When the disk is full, can't be written or is out of reach.
    """
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        kind, reason = trouble(error), error.strerror or str(error)
        if kind == "room":
            raise UserError(
                f"No room for the knowledge base at {where} ({reason}{_free(where)}): nothing of this edit counts; "
                "make room on that disk, and run the same command again."
            ) from error
        if kind == "access":
            raise UserError(f"The knowledge base at {where} can't be written ({reason}): {then}.") from error
        if kind == "reach":
            raise UserError(
                f"The disk of the knowledge base at {where} fails ({reason}): see to that, and run the same command "
                "again."
            ) from error
        raise


@contextlib.contextmanager
def unreadable_told(where: str) -> Iterator[None]:
    """Turn what a disk doesn't give to be read into a `UserError` that names the base.

    Raises
    ------
    UserError
        Whatever the reason.
    """
    try:
        yield
    except OSError as error:
        file = f": {error.filename}" if error.filename else ""
        raise UserError(
            f"The knowledge base at {where} can't be read ({error.strerror or error}{file}): see that this user may "
            "read all of it and that its disk is well, and run the same command again."
        ) from error


def _free(where: str) -> str:
    return "" if is_url(where) else f"; {megabytes(free_bytes(Path(where)))} are free"
