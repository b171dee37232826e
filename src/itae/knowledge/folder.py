"""The small files of a base: in a folder of this machine, in an object store, or in memory.

Each is there whole or not at all. None of it knows what is in them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from itae.base.disk import flush_folder, free_bytes, megabytes, replace_file, trouble, write_file
from itae.base.errors import UserError
from itae.base.place import at_home


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
        return (self.path / name).read_bytes()

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        return os.path.lexists(self.path / name)

    def names(self, name: str) -> list[str]:
        """Return the names of the files in a folder of it."""
        try:
            return sorted(each for each in os.listdir(self.path / name) if not each.startswith("."))
        except FileNotFoundError:
            return []

    def remove(self, name: str) -> None:
        """Remove a file, if there is one, and what writers of it who died left beside it."""
        file = self.path / name
        file.unlink(missing_ok=True)
        for left in file.parent.glob(f".*{_TEMPORARY}") if file.parent.is_dir() else ():
            left.unlink(missing_ok=True)

    def write(self, name: str, data: bytes, new: bool = False) -> None:
        """Write a file and bring it through to the disk."""
        file = self.path / name
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError:  # a file has the name of a folder
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(file.parent)) from None
        if new:
            _write_new(file, data)
        else:
            replace_file(file, data)
        flush_folder(file.parent)


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


@contextlib.contextmanager
def trouble_told(where: str, new: str | None = None) -> Iterator[None]:
    """Turn what a disk can't do into a `UserError` that names the base.

    Parameters
    ----------
    where
        The path or URL of the base, or of what is written.
    new
        What is about to be made there, as a sentence begins with it; by default there is a base.

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
        kind, reason, what = trouble(error), error.strerror or str(error), new or "The knowledge base"
        if kind == "room":
            edit = "" if new else "nothing of this edit counts; "
            raise UserError(
                f"No room for {what[0].lower()}{what[1:]} at {where} ({reason}{_free(where)}): {edit}make room on that "
                "disk, and run the same command again."
            ) from error
        if kind == "access":
            there = "it can be asked, and whoever may write there can edit it"
            advice = "give a place where you may write" if new else there
            raise UserError(f"{what} at {where} can't be written ({reason}): {advice}.") from error
        if kind == "reach":
            raise UserError(
                f"{what} at {where} is on a disk that fails ({reason}): see to that, and run the same command again."
            ) from error
        raise


def _free(where: str) -> str:
    return "" if is_url(where) else f"; {megabytes(free_bytes(Path(where)))} are free"
