"""Whether the process that writes an offline run is still there.

One that goes on must not be sent half, and one that was killed would otherwise wait for ever. So a file beside the
run's own names the process, and is touched while that writes: on its own machine a look at the process tells, from
another the age of the file.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
import time
from pathlib import Path
from typing import Any

MARK = "itae-writes.json"
BEAT = 60.0  # seconds between two touches
STALE = 3600.0  # seconds without one after which a writer on another machine is taken for dead; clocks may differ


class Writer:
    """The mark of this process in the folder of a run that it writes, until `end`."""

    def __init__(self, folder: Path) -> None:
        self._mark, self._ended = folder / MARK, threading.Event()
        with contextlib.suppress(OSError):  # a full disk costs no run
            self._mark.write_text(json.dumps(_process(os.getpid()) | {"host": platform.node()}), encoding="utf-8")
        threading.Thread(target=self._beat, name="itae-writes", daemon=True).start()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            with contextlib.suppress(OSError):
                os.utime(self._mark)

    def end(self) -> None:
        """Take the mark away: the run is whole."""
        self._ended.set()
        with contextlib.suppress(OSError):
            self._mark.unlink()


def is_written(folder: Path) -> bool | None:
    """Return whether a process still writes the run in `folder`; None if no mark of any is there."""
    mark = folder / MARK
    try:
        told: Any = json.loads(mark.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):  # half written, or unreadable
        told = {}
    if isinstance(told, dict) and told.get("machine") == _machine():
        return _process(told.get("pid")) == {name: told.get(name) for name in ("pid", "began", "machine")}
    return untouched_for(mark) < STALE


def untouched_for(*files: Path) -> float:
    """Return for how many seconds none of some files was written."""
    times = []
    for file in files:
        with contextlib.suppress(OSError):
            times.append(file.stat().st_mtime)
    return time.time() - max(times, default=0.0)


def _process(pid: Any) -> dict[str, Any]:
    """Return what tells a process of this machine from any other; nothing of one that has ended."""
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return {}
        return {"pid": pid, "began": process.create_time(), "machine": _machine()}
    except (psutil.Error, TypeError, ValueError):
        return {}


def _machine() -> str:
    """Return what tells this machine since it was started, and this container in it, from any other."""
    try:
        space = os.readlink("/proc/self/ns/pid")
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text(encoding='ascii').strip()} {space}"
    except OSError:  # not Linux
        import psutil

        return f"{platform.node()} {psutil.boot_time():.0f}"
