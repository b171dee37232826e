"""What is printed: words as they are, on whatever takes them.

Names are a user's own. One may hold what rich takes for markup or an emoji (``[red]``, ``:smile:``), what moves a
terminal's cursor, or what the output's encoding has no bytes for; none of that may cost a line.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


def console(width: int | None = None, stderr: bool = False) -> Console:
    """Return a console that prints words as they are, those in the cells of tables too.

    Parameters
    ----------
    width
        Columns where nobody looks (a pipe, a log file): these have no width, and rich takes 80, at which it folds. None
        for rich's. A terminal has its own.
    stderr
        Whether it is of stderr.
    """
    file: Any = _Replacing(sys.stderr if stderr else sys.stdout)
    kind = _plain_console()
    found = kind(file=file, highlight=False, markup=False, emoji=False)
    if width is None or found.is_terminal:
        return found
    return kind(file=file, width=width, highlight=False, markup=False, emoji=False)


def say(line: str) -> None:
    """Print one line, however long, whatever is in it."""
    console().print(line, soft_wrap=True)


def one_line(text: str) -> str:
    r"""Return text in which what is no visible character is as Python writes it: ``\n``, ``\x1b``, ``\udcff``."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


@functools.cache
def _plain_console() -> type[Console]:
    from rich.console import Console  # here: an error is told without it

    class PlainConsole(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str(one_line(text), **options)

    return PlainConsole


class _Replacing:
    """A stream that writes ``?`` for what its encoding has no bytes for."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        encoding = self._stream.encoding or "utf-8"
        return self._stream.write(text.encode(encoding, "replace").decode(encoding))
