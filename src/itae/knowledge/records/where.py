"""Conditions on rows, in SQL as Lance takes it."""

from __future__ import annotations

import re

_WORDS = re.compile(r"""'(?:[^']|'')*'|`[^`]*`|"[^"]*"|\bgroup\b""", re.IGNORECASE)


def quoted(expression: str) -> str:
    """Return a condition in brackets, in which ``group``, a word of SQL's own, names the column of that name.

    Without brackets Lance takes what stands behind a condition, as in ``true; ...`` or ``true LIMIT 1``, and drops it.
    """
    return f"({_WORDS.sub(lambda found: '`group`' if found[0].lower() == 'group' else found[0], expression)}\n)"
