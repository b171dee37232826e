"""The manual's chapter on search: its sessions are run, and print what it shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from chapters import run_sessions, sessions

pytest.importorskip("lance")

TEXT = (Path(__file__).parents[1] / "docs/search.md").read_text(encoding="utf-8")


def test_there_are_sessions():
    shown = " ".join(command for command, _ in sessions(TEXT))
    for option in ("--text", "--yes", "--no", "--session", "--replay", "--where", "--csv"):
        assert option in shown
    assert len(sessions(TEXT)) >= 8


@pytest.mark.slow
def test_the_sessions_print_what_the_chapter_shows(itae_, tmp_path):
    run_sessions(TEXT, itae_, tmp_path)
    assert len((tmp_path / "odd.jsonl").read_text(encoding="utf-8").splitlines()) == 4


@pytest.mark.slow
def test_the_rule_of_the_chapter_ranks(itae_, tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(# my_feedback.*?)```", TEXT, re.DOTALL)
    (command,) = re.findall(r"^itae search .*my_feedback.*$", TEXT, re.MULTILINE)
    (tmp_path / "my_feedback.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    itae_("knowledge", "init", "numbers", "--images", "embed")
    itae_("knowledge", "add", "numbers", "dataset=digits", "dataset.split=test")
    status, out, err = itae_(*command.split()[1:])
    assert (status, err) == (0, ""), err
    assert "rank" in out
