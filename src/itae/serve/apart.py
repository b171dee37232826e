"""Conditions on rows are looked at in a process of their own, which may end; the one that answers everybody goes on.

What reads a condition is a library's, made for one who asks about data of their own. It takes as much memory as
``repeat(id, 10000000)`` needs, and ends its process where an expression is a thousand deep, or where what it has to say
against one holds a NUL, as a label may.
"""

from __future__ import annotations

import contextlib
import copy
import json
import resource
import signal
import subprocess
import sys
import threading
from typing import IO, Any

import numpy as np

from itae.base.errors import UserError
from itae.knowledge.base import KnowledgeBase
from itae.knowledge.disk.lance_store import LanceStore

SECONDS = 60
"""For which a condition may be looked at."""
BYTES = 2 * 2**30
"""Of memory that it may take."""
_SHOWN = 200  # letters of a condition in a sentence


def conditions_apart(base: KnowledgeBase) -> KnowledgeBase:
    """Return a base, the same one, whose `where` is answered by another process; one in memory stays as it is."""
    if not isinstance(base.store, LanceStore):
        return base
    made = copy.copy(base)
    made.store = Apart(base.store, base.path)
    return made


class Apart:
    """The store of a base, with conditions that are looked at in another process.

    Parameters
    ----------
    store
        The store, which does all else.
    path
        Of the base.
    """

    def __init__(self, store: LanceStore, path: str) -> None:
        self._store, self._path = store, path
        self._guard = threading.Lock()
        self._other: subprocess.Popen[bytes] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def where(self, version: int, expression: str) -> np.ndarray:
        """Return the numbers of the rows of a version that a SQL condition holds for, ascending.

        Raises
        ------
        UserError
            When it is no condition, and where to look at it has ended the process that did.
        """
        asked = json.dumps({"version": version, "where": expression}).encode() + b"\n"
        with self._guard:
            told, numbers = self._answer(asked)
        if told is None:
            short = expression if len(expression) <= _SHOWN else f"{expression[: _SHOWN - 1]}…"
            raise UserError(
                f"The condition {short!r} can't be looked at: it compares what can't be compared, is too long, or "
                "takes too much memory or time; write a plain one, such as label = 'cat' AND source LIKE 'web%'."
            )
        if "error" in told:
            raise UserError(told["error"])
        return np.frombuffer(numbers, np.int64)

    def _answer(self, asked: bytes) -> tuple[dict[str, Any] | None, bytes]:
        """Return what the other process says; None where it has ended over this."""
        if self._other is None or self._other.poll() is not None:
            self._other = subprocess.Popen(
                [sys.executable, "-m", "itae.serve.apart", self._path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for this one, with which its input ends
            )
        other = self._other
        assert other.stdin is not None
        assert other.stdout is not None
        with contextlib.suppress(OSError, ValueError):
            other.stdin.write(asked)
            other.stdin.flush()
            told = json.loads(other.stdout.readline())
            numbers = other.stdout.read(told.get("bytes", 0))
            if len(numbers) == told.get("bytes", 0):
                return told, numbers
        other.kill()
        other.wait()
        other.stdout.close()
        with contextlib.suppress(OSError):
            other.stdin.close()
        self._other = None
        return None, b""


def main(path: str, asked: IO[bytes], answers: IO[bytes]) -> None:
    """Answer conditions on the rows of a base, each a line of JSON, until there are no more."""
    store = LanceStore(path)
    for line in asked:
        one, numbers = json.loads(line), b""
        signal.alarm(SECONDS)  # which ends this process, whatever it is at
        try:
            numbers = store.where(one["version"], one["where"]).astype(np.int64).tobytes()
            told: dict[str, Any] = {"bytes": len(numbers)}
        except Exception as error:
            told = {"error": str(error)}
        signal.alarm(0)
        answers.write(json.dumps(told).encode() + b"\n" + numbers)
        answers.flush()


if __name__ == "__main__":
    limit = resource.getrlimit(resource.RLIMIT_DATA)[1]
    most = BYTES if limit == resource.RLIM_INFINITY else min(BYTES, limit)
    resource.setrlimit(resource.RLIMIT_DATA, (most, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main(sys.argv[1], sys.stdin.buffer, sys.stdout.buffer)
