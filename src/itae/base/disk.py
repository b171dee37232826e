"""Writing so that a file is there whole or not at all, and a full disk is told in a sentence."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from itae.base.errors import UserError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_ACCESS = (
    *(errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENOTDIR, errno.EEXIST, errno.ENOENT, errno.ENAMETOOLONG),
)
_OUT_OF_REACH = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN, errno.ENOLCK)
_NO_FLUSH = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)  # what fsync says of folders on some FUSE and SMB disks


def trouble(error: OSError) -> str | None:
    """Return the kind of trouble that a disk is in: no ``room``, no ``access``, out of ``reach``; None for another."""
    kinds = {"room": _NO_ROOM, "access": _NO_ACCESS, "reach": _OUT_OF_REACH}
    return next((kind for kind, numbers in kinds.items() if error.errno in numbers), None)


def megabytes(size: float) -> str:
    """Return `size` in bytes as text in MB (10^6 bytes)."""
    return f"{size / 1e6:,.1f} MB"


class DiskError(UserError):
    """The disk of the cache is full or can't be written: whatever comes next would meet that, too."""


@contextmanager
def disk_trouble_told(path: Path, needed: Callable[[], int] = lambda: 0) -> Iterator[None]:
    """Turn a full or unwritable disk into a `DiskError` that names `path`, the bytes `needed` and free."""
    try:
        yield
    except OSError as error:
        kind = trouble(error)
        if kind == "room":
            still = f"about {megabytes(needed())} more" if needed() else "more"
            raise DiskError(
                f"No room for the cache at {path} ({error.strerror}): it needs {still}, and "
                f"{megabytes(free_bytes(path))} are free. What is done is kept: make room "
                "(`itae cache prune`) or set paths.cache to a larger disk, and run the same command again."
            ) from error
        if kind == "access":
            raise DiskError(
                f"The cache can't be written at {error.filename or path} ({error.strerror}): "
                "set paths.cache to a folder that you may write to."
            ) from error
        if kind == "reach":
            raise DiskError(
                f"The disk of the cache at {error.filename or path} fails ({error.strerror}): see to that, or set "
                "paths.cache to a folder on another, and run the same command again."
            ) from error
        raise


def free_bytes(path: Path) -> int:
    """Return the free bytes of the disk that `path` is on, or would be."""
    while not os.path.exists(path):  # not Path.exists: it raises where it may not look
        path = path.parent
    return shutil.disk_usage(path).free


def write_file(path: Path, chunks: Iterable[bytes]) -> tuple[int, str]:
    """Write `chunks` to `path` and through to the disk; return their size and sha256."""
    size, checksum = 0, hashlib.sha256()
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
            checksum.update(chunk)
            size += len(chunk)
        file.flush()
        _flush(file.fileno())
    return size, checksum.hexdigest()


def replace_file(path: Path, data: bytes) -> None:
    """Make `path` hold `data`, at once or not at all."""
    temporary = path.with_name(f".{path.name}-{uuid.uuid4().hex}.tmp")
    try:
        write_file(temporary, [data])
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def flush_folder(path: Path) -> None:
    """Bring the names in the folder `path` through to the disk, where the system has a way to."""
    if os.name == "posix":
        handle = os.open(path, os.O_RDONLY)
        try:
            _flush(handle)
        finally:
            os.close(handle)


def _flush(handle: int) -> None:
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_FLUSH:
            raise
