"""Locks between processes of one machine, or of many that share a disk."""

from __future__ import annotations

import contextlib
import errno
import functools
import getpass
import logging
import os
import socket
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLease, Timeout
from filelock import LeaseCompromise as Lost

from itae.base.waiting import Waiting

log = logging.getLogger(__name__)

LEASE = 300.0  # seconds without a sign of life after which the holder of a lease counts as dead
_SIGN = 20.0  # seconds between two of them
_MODE = 0o666  # who may write in the folder may lock, whoever came first
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)  # what flock says on disks that have none


class Lock:
    """A lock that the first takes and nobody waits for; its file stays, or goes with `release`.

    It is the system's own (flock), which goes with its process, however that ends. On a disk without such locks a file
    beside stands for it, a lease of filelock's: its holder touches it every `_SIGN` seconds, and who watches it for
    `LEASE` seconds by a clock of his own without seeing that takes it over; one whose process is gone from this machine
    he takes at once. A process that sleeps for longer (a laptop, SIGSTOP) may find its lease taken when it wakes.

    Parameters
    ----------
    file
        In a folder that is there.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._lock: BaseFileLock = FileLock(file, mode=_MODE, thread_local=False, fallback_to_soft=False)

    @property
    def _leased(self) -> bool:
        return isinstance(self._lock, SoftFileLease)

    def take(self) -> bool:
        """Take it, unless somebody holds it; return whether it was taken.

        Raises
        ------
        OSError
            If the disk can't be written.
        """
        try:
            return _taken(self._lock)
        except OSError as error:
            if self._leased or error.errno not in _NO_LOCKS:
                raise
            _say_once(self.file.parent, error.strerror)
        self._lock = SoftFileLease(
            lease_of(self.file),
            lease_duration=LEASE,
            heartbeat_interval=_SIGN,
            on_compromise=_tell_loss,
            thread_local=False,
        )
        return _taken(self._lock)

    def take_from_the_dead(self, what: str) -> bool:
        """Take it as `take` does, but watch the lease of another holder until he is known to be alive or dead.

        Parameters
        ----------
        what
            It is, for people who wait that long.
        """
        waiting, first = Waiting(), None
        while not self.take():
            with contextlib.suppress(OSError):
                seen = lease_of(self.file).stat().st_mtime_ns
                first = first or seen
                if seen != first:
                    return False
            if not self._leased:
                return False
            waiting.goes_on(f"a sign of life of who holds {what}, for {LEASE / 60:g} minutes at most")
            time.sleep(0.2)
        return True

    @contextlib.contextmanager
    def held(self, by: str, pause: float = 0.1) -> Iterator[None]:
        """Hold it, and wait for that; `by` says for whom, for people, and `pause` the seconds between two tries."""
        waiting = Waiting()
        while not self.take():
            waiting.goes_on(by)
            time.sleep(pause)
        try:
            yield
        finally:
            self.release()

    def release(self, remove: bool = False) -> None:
        """Let go of it; `remove` its file, too, where nobody else can be about to lock that."""
        if remove:
            with contextlib.suppress(OSError):
                self.file.unlink(missing_ok=True)
        self._lock.release()


def lease_of(file: Path) -> Path:
    """Return the file that stands for a lock where the disk has none."""
    return file.with_name(f"{file.name}.lease")


def this_process() -> str:
    """Say who this is, for others who wait: process, machine, user and now."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number that has no name
        user = str(os.getuid())
    return f"process {os.getpid()} on {socket.gethostname()} of {user} since {datetime.now().isoformat(' ', 'seconds')}"


def _taken(lock: BaseFileLock) -> bool:
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    return True


@functools.cache
def _say_once(folder: Path, reason: str) -> None:
    log.info("The disk of %s has no locks (%s); files that are touched now and then stand for them.", folder, reason)


def _tell_loss(lost: Lost) -> None:
    log.warning(
        "Another process may have taken over what this one is at work on: %s was not touched in time (%s).",
        lost.lock_file,
        lost.reason,
    )
