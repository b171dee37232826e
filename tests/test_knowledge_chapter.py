"""The manual's chapter on knowledge bases: its sessions are run, and print what it shows."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

import itae

pytest.importorskip("lance")

CHAPTER = Path(__file__).parents[1] / "docs/knowledge.md"
TEXT = CHAPTER.read_text(encoding="utf-8") if CHAPTER.exists() else ""


def sessions():
    """Return each command of the chapter and what it shows."""
    lines = [line for block in re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()]
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def plain(lines, home):
    """Return lines without what differs from one time to the next: roots, hours, users, folders, sizes, spaces."""
    text = "\n".join(" ".join(line.split()) for line in lines if line.strip()).replace(str(home), "/data")
    text = re.sub(r"\b(?=[0-9a-f]*\d)[0-9a-f]{16,64}\b", "ROOT", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S+", "WHEN WHO", text)
    return re.sub(r"\(\d+\.\d MB\)", "(SIZE)", text)


def test_there_are_sessions():
    assert len(sessions()) >= 35
    shown = " ".join(command for command, _ in sessions())
    from itae.app.knowledge.main import VERBS

    assert [verb for verb in VERBS if f"knowledge {verb}" not in shown] == []


@pytest.mark.slow  # forty commands
def test_the_sessions_print_what_the_chapter_shows(itae_, tmp_path):
    (pictures,) = re.findall(r"```python\n(# make_pictures.*?)```", TEXT, re.DOTALL)
    exec(pictures, {})
    for command, shown in sessions():
        program, *words = shlex.split(command)
        if program == "itae":
            _, out, err = itae_(*words)
            assert plain((out + err).splitlines(), tmp_path) == plain(shown, tmp_path), command
        else:
            {"cp": shutil.copy, "mv": shutil.move}[program](*words)
    assert Path("why.html").stat().st_size > 1000
    scope: dict = {}
    for code in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)[1:]:
        exec(code, scope)
    assert scope["edit"].who == "Ann"
    assert [answer.label for answer in scope["answers"]] == ["one", "two", "zero"]
    assert itae.open_knowledge("album").snapshot().version == scope["edit"].edit
