"""What converters print is kept from the user's console: in Python, and below it, where C++ prints."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from typing import Any

_ONE_AT_A_TIME = threading.RLock()  # descriptors belong to the whole process


class Said:
    """What was printed meanwhile; `text` is there once it is over."""

    text = ""

    def last_line(self) -> str:
        """Return the last line that has letters in it, for a sentence that says why; empty if there is none."""
        lines = [line.strip() for line in self.text.splitlines() if any(map(str.isalpha, line))]
        return lines[-1] if lines else ""


class _Stream:
    """Python's stdout or stderr meanwhile; who keeps it for longer (a log's handler) writes to the real one again."""

    def __init__(self, real: Any, file: int) -> None:
        self.real, self.file = real, file

    def write(self, text: str) -> int:
        if self.file < 0:
            return self.real.write(text)
        os.write(self.file, text.encode(errors="replace"))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


@contextlib.contextmanager
def quiet() -> Iterator[Said]:
    """Have nothing that is printed, logged below an error or warned of reach the console; yield what was said."""
    said = Said()
    with _ONE_AT_A_TIME, tempfile.TemporaryFile() as heard, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        disabled = logging.root.manager.disable
        logging.disable(max(logging.WARNING, disabled))
        _flush()
        kept = [(number, os.dup(number)) for number in (1, 2) if _is_open(number)]
        streams = sys.stdout, sys.stderr
        ours = [_Stream(stream, heard.fileno()) for stream in streams]
        try:
            sys.stdout, sys.stderr = ours
            for number, _ in kept:
                os.dup2(heard.fileno(), number)
            yield said
        finally:
            _flush()
            for number, copy in kept:
                os.dup2(copy, number)
                os.close(copy)
            for stream in ours:
                stream.file = -1
            sys.stdout, sys.stderr = streams
            logging.disable(disabled)
            heard.seek(0)
            said.text = heard.read().decode(errors="replace")


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
