"""What verbs print: tables, or one JSON document and nothing else."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

from rich.table import Table

from itae.base.console import console, say

_NUMBERS = frozenset({"edit", "added", "changed", "deleted", "rows", "share", "p", "similarity", "score", "distance"})
"""Columns that stand to the right and are never folded."""


def json_option(parser: argparse.ArgumentParser) -> None:
    """Give a verb the option ``--json``."""
    parser.add_argument("--json", action="store_true", help="one JSON document in place of text")


def print_json(told: Any, other: Callable[[Any], Any] | None = None) -> None:
    """Print one JSON document; `other` gives what JSON has a form for in place of what it has none for."""
    print(json.dumps(told, default=other))  # noqa: T201  nothing else may be on stdout


def counted(count: int, what: str, several: str = "") -> str:
    """Return how many there are of something, as ``1 row`` and ``2 rows``."""
    return f"{count} {what}" if count == 1 else f"{count} {several or f'{what}s'}"


def print_table(table: Table) -> None:
    """Print a table; into a pipe or a file without the spaces that make its lines equally long."""
    wide = console(500)
    if wide.is_terminal:
        wide.print(table)
        return
    with wide.capture() as printed:
        wide.print(table)
    for line in printed.get().splitlines():
        say(line.rstrip())


def table_of(*names: str) -> Table:
    """Return an empty table of these columns."""
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name, justify="right" if name in _NUMBERS else "left", no_wrap=name in _NUMBERS)
    return table
