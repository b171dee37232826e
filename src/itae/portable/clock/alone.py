"""Measuring jobs run alone on a machine, whoever starts them and from whatever launcher.

Two that run side by side would each tell of the other. The lock lies where all users of a machine meet, not in a cache,
of which there may be several. Containers with a ``/tmp`` of their own don't see each other's.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from itae.base.errors import UserError
from itae.base.lock import Lock, this_process
from itae.base.waiting import Waiting

SHARED = Path("/tmp")
"""Where all users of a machine may write. Not `tempfile.gettempdir`, which TMPDIR and macOS make one's own."""
_PAUSE = 1.0  # seconds between two tries
_FOLDER, _LOCK, _HOLDER = "itae-measuring", "lock", "holder"


@contextlib.contextmanager
def alone(command: str, wait: bool = False) -> Iterator[None]:
    """Be the one job that measures on this machine.

    Parameters
    ----------
    command
        What this is, for others who want to measure: ``itae portable experiment=operators``.
    wait
        Whether to wait for another that measures, which is told. Default False.

    Raises
    ------
    UserError
        If another one measures: names it. Not if `wait`.
    """
    folder = _folder()
    lock, holder = Lock(folder / _LOCK), folder / _HOLDER
    waiting = Waiting()
    while not lock.take():
        by = _told(holder)
        if not wait:
            raise UserError(
                f"Another job measures on this machine: {by}; two at once would each time the other, so let it end, or "
                "give measure.wait=true to wait for it."
            )
        waiting.goes_on(f"another job that measures on this machine: {by}")
        time.sleep(_PAUSE)
    try:
        _write(holder, f"{command} ({this_process()})")
        yield
    finally:
        with contextlib.suppress(OSError):
            holder.unlink(missing_ok=True)
        lock.release()


def _folder() -> Path:
    """Return the folder of the lock, which every user may write in.

    Not ``/tmp`` itself: there Linux lets nobody open another user's file to write (fs.protected_regular).
    """
    for shared in (SHARED, Path(tempfile.gettempdir())):
        folder = shared / _FOLDER
        with contextlib.suppress(OSError):
            folder.mkdir(exist_ok=True)
            with contextlib.suppress(PermissionError):  # it is of another user, who has let all write
                folder.chmod(0o777)
            return folder
    raise UserError(
        f"Neither {SHARED} nor {tempfile.gettempdir()} can be written, where jobs that measure on this machine find "
        "each other; give TMPDIR a folder that can."
    )


def _write(holder: Path, text: str) -> None:
    """Write who holds the lock; without that it still holds."""
    with contextlib.suppress(OSError):
        holder.unlink(missing_ok=True)  # of one who was killed, and may be another user
        holder.write_text(text, encoding="utf-8", errors="replace")
        holder.chmod(0o644)  # whoever is refused may read it


def _told(holder: Path) -> str:
    """Return who holds the lock, as far as it is known."""
    with contextlib.suppress(OSError):
        return holder.read_text(encoding="utf-8", errors="replace") or "another process"
    return "another process"
