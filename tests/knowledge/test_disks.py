"""Disks that are full or can't be written."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap

import pytest
from bases import base, content, made

from itae.base.errors import UserError
from itae.base.lock import Lock
from itae.knowledge.base import create, open_knowledge
from itae.knowledge.lance_store import LanceStore

pytest.importorskip("lance")
FULL = """
    import resource, signal, sys
    from bases import made
    from itae.base.errors import UserError
    from itae.knowledge.base import open_knowledge

    kb = open_knowledge(sys.argv[1])
    kb.snapshot()
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
    try:
        kb.commit(kb.add(made([f"x/{i}" for i in range(3000)], width=32)))
        print("made")
    except UserError as error:
        print(error)
    try:
        kb.commit(kb.correct(["a"], ["z"]))
    except UserError as error:
        print(error)
    print(len(kb.snapshot()))
"""


@pytest.mark.parametrize("room", [1000, 50_000])
def test_a_full_disk_is_told_and_leaves_the_base_as_it_was(tmp_path, room):
    kb = base("lance", tmp_path)
    kb.commit(kb.add(made(["a", "b"], width=32)))
    before = content(kb.snapshot())
    command = [sys.executable, "-c", textwrap.dedent(FULL), kb.path, str(room)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert "Traceback" not in done.stderr, done.stderr
    assert lines[0].startswith(f"No room for the knowledge base at {kb.path} (File too large"), done
    assert lines[-1] == "2"
    other = open_knowledge(kb.path)
    assert content(other.snapshot()).keys() == before.keys()
    assert other.log()[-1].verb == ("correct" if room > 20_000 else "add"), "what fits is made"
    assert other.verify().problems == ()
    other.commit(other.add(made(["c"], width=32)))
    assert len(open_knowledge(kb.path).snapshot()) == 3


def read_only(monkeypatch):
    """Have the disk of a base be one that can't be written, for those who are root as well."""

    def refused(self):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self.file))

    monkeypatch.setattr(Lock, "take", refused)


def test_a_base_on_a_disk_that_cannot_be_written_is_asked_and_not_edited(tmp_path, monkeypatch):
    kb = base("lance", tmp_path)
    kb.commit(kb.add(made(["a", "b"])))
    read_only(monkeypatch)
    other = open_knowledge(kb.path)
    assert len(other.snapshot()) == 2
    assert len(other.where("label = 'a'")) == 1
    change = other.correct(["a"], ["x"])
    assert change.counts["changed"] == 1
    with pytest.raises(UserError, match=r"can't be written .Read-only file system.: it can be asked"):
        other.commit(change)


def test_reading_writes_nothing(tmp_path):
    kb = base("lance", tmp_path)
    kb.commit(kb.add(made(["a", "b"])))
    kb.compact()

    def listed():
        return {path: path.stat().st_mtime_ns for path in (tmp_path / "kb").rglob("*")}

    before = listed()
    other = open_knowledge(kb.path)
    other.snapshot()
    other.snapshot(1)
    other.where("label = 'a'")
    other.verify()
    other.status()
    assert listed() == before


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="can't be written"):
        create(tmp_path / "file" / "kb", {}, {})


def test_one_base_is_not_made_over_another(tmp_path):
    base("lance", tmp_path)
    with pytest.raises(UserError, match="There is a knowledge base at"):
        base("lance", tmp_path)
    with pytest.raises(UserError, match="images='link' is not one of refer, embed"):
        create(tmp_path / "other", {}, {}, images="link")


def test_without_pylance_one_sentence_tells_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lance", None)
    with pytest.raises(UserError, match=r"needs pylance, which is not installed: pip install 'itae\[knowledge\]'"):
        LanceStore(str(tmp_path))


def test_whatever_goes_wrong_as_files_are_put_together_the_edit_stands(tmp_path, monkeypatch, caplog):
    kb = base("lance", tmp_path)

    def broken(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("itae.knowledge.writing._SMALL_FILES", 1)
    monkeypatch.setattr(LanceStore, "compact", broken)
    for each in "abc":
        kb.commit(kb.add(made([each])))
    assert "could not be put together" in caplog.text
    assert len(open_knowledge(kb.path).snapshot()) == 3


def test_many_small_files_are_put_together_now_and_then(tmp_path, monkeypatch):
    monkeypatch.setattr("itae.knowledge.writing._SMALL_FILES", 4)
    kb, most = base("lance", tmp_path), 0
    for i in range(14):
        kb.commit(kb.add(made([f"cat/{i}"])))
        most = max(most, kb.store.small_files(kb.versions.newest().store))
    assert most <= 5
    assert kb.verify().problems == ()
    assert [len(open_knowledge(kb.path).snapshot(i)) for i in range(15)] == list(range(15))
