"""What is printed: names with a meaning to rich, to a terminal or to no encoding stand there as they are."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.table import Table

from itae.base.console import console, one_line, say

SRC = Path(__file__).parents[2] / "src"
HOSTILE = (
    "[red]",
    "[/y]",
    "a[/]",
    ":smile:",
    "{title}",
    "\\[b]",
    "\x1b[31m",
    "two\nlines",
    "\udcff",
    "é±…",
    "日本",
    "%s",
)


def printed(encoding: str, show) -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")
    with redirect_stdout(file):
        show()
    file.flush()
    return file.buffer.getvalue().decode(encoding)


def as_shown(text: str, encoding: str) -> str:
    return one_line(text).encode(encoding, "replace").decode(encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252"])
@given(text=st.text(max_size=30))
@example(text=" ".join(HOSTILE))
def test_a_line_is_printed_as_it_is_in_every_encoding(encoding, text):
    assert printed(encoding, lambda: say(f"results    {text}|")) == as_shown(f"results    {text}|", encoding) + "\n"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_table_holds_names_as_they_are(encoding, name):
    table = Table(title=name)
    table.add_column(name)
    table.add_row(name)
    out = printed(encoding, lambda: console(120).print(table))
    assert out.count(as_shown(name, encoding)) == 3
    assert "\x1b" not in out
    assert len(out.splitlines()) == 6


def test_where_nobody_looks_no_row_is_folded():
    assert len(printed("utf-8", lambda: console(200).print("x" * 190)).splitlines()) == 1


def test_what_is_no_text_is_written_as_python_does():
    assert one_line("a\nb\x1b[0m\udcff\tc é日😀") == "a\\nb\\x1b[0m\\udcff\\tc é日😀"


def test_there_is_one_way_to_print():
    others = {str(path.relative_to(SRC)) for path in SRC.rglob("*.py")
              if re.search(r"rich\.console|rich\.markup|rich import", path.read_text(encoding="utf-8"))}  # fmt: skip
    assert others == {"itae/base/console.py"}
