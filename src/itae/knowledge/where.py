"""Conditions on rows, in SQL as Lance takes it."""

from __future__ import annotations

import re

_WORDS = re.compile(r"""'(?:[^']|'')*'|`[^`]*`|"[^"]*"|\bgroup\b""", re.IGNORECASE)


def quoted(expression: str) -> str:
    """Return a condition in which ``group``, a word of SQL's own, names the column of that name."""
    return _WORDS.sub(lambda found: "`group`" if found[0].lower() == "group" else found[0], expression)
