"""The manual's chapter on knowledge bases: its sessions are run, and print what it shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from chapters import run_sessions, sessions

import itae

pytest.importorskip("lance")

CHAPTER = Path(__file__).parents[1] / "docs/knowledge.md"
TEXT = CHAPTER.read_text(encoding="utf-8") if CHAPTER.exists() else ""


def test_there_are_sessions():
    assert len(sessions(TEXT)) >= 35
    shown = " ".join(command for command, _ in sessions(TEXT))
    from itae.app.knowledge.main import VERBS

    assert [verb for verb in VERBS if f"knowledge {verb}" not in shown] == []


@pytest.mark.slow  # forty commands
def test_the_sessions_print_what_the_chapter_shows(itae_, tmp_path):
    (pictures,) = re.findall(r"```python\n(# make_pictures.*?)```", TEXT, re.DOTALL)
    exec(pictures, {})
    run_sessions(TEXT, itae_, tmp_path)
    assert Path("why.html").stat().st_size > 1000
    scope: dict = {}
    for code in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)[1:]:
        exec(code, scope)
    assert scope["edit"].who == "Ann"
    assert [answer.label for answer in scope["answers"]] == ["one", "two", "zero"]
    assert itae.open_knowledge("album").snapshot().version == scope["edit"].edit
