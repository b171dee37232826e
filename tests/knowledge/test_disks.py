"""Disks that are full or can't be written."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap

import pytest
from bases import base, made, picture
from children import with_tests

from itae.base.errors import UserError
from itae.base.lock import Lock
from itae.knowledge.base import KnowledgeBase, create, open_knowledge
from itae.knowledge.disk.lance_store import LanceStore

pytest.importorskip("lance")
FULL = """
    import resource, sys
    from bases import content, made, picture
    from itae.base.errors import UserError
    from itae.knowledge.base import open_knowledge

    kb, most = open_knowledge(sys.argv[1]), resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    for room in map(int, sys.argv[2:]):
        ids = [f"x{room}/{i}" for i in range(300)]
        rows = made(ids, width=32, image=lambda n: picture(ids[n]))
        ways = [lambda: kb.add(rows), lambda: kb.correct(["a"], [f"z{room}"]), lambda: kb.delete(ids=["b"])]
        for way in ways:
            before = content(kb.snapshot())
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, most))
            try:
                made_it = kb.commit(way())
            except UserError as error:
                made_it = None
                assert str(error).startswith(f"No room for the knowledge base at {kb.path} ("), error
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
            other = open_knowledge(kb.path)
            assert (content(other.snapshot()) == before) is not bool(made_it), (room, made_it)
            assert content(kb.snapshot()) == content(other.snapshot())
            assert other.verify().problems == (), (room, other.verify().problems)
            print(room, bool(made_it))
            if made_it:
                kb.commit(kb.undo(made_it.edit))
"""


def full(kb, *rooms):
    """Edit a base while no file may be larger than a number of bytes, with one number after the other."""
    command = [sys.executable, "-c", textwrap.dedent(FULL), kb.path, *map(str, rooms)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=with_tests())
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


@pytest.mark.parametrize("images", ["refer", "embed"])
def test_a_full_disk_is_told_and_leaves_the_base_as_it_was(tmp_path, images):
    kb = base("lance", tmp_path, images)
    kb.commit(kb.add(made(["a", "b"], width=32, image=lambda n: picture("ab"[n]))))
    told = full(kb, 100, 1000, 3000, 10**6)
    assert [made for room, made in told if room == "100"] == ["False"] * 3
    assert [made for room, made in told if room == "1000000"] == ["True"] * 3
    other = open_knowledge(kb.path)
    other.commit(other.add(made(["c"], width=32, image=lambda n: picture("c"))))
    assert len(open_knowledge(kb.path).snapshot()) == 3


@pytest.mark.slow  # forty rooms
def test_a_disk_that_is_full_sooner_or_later_leaves_the_base_as_it_was(tmp_path):
    kb = base("lance", tmp_path, "embed")
    kb.commit(kb.add(made(["a", "b"], width=32, image=lambda n: picture("ab"[n]))))
    told = full(kb, *range(0, 8000, 250), *range(10_000, 90_000, 10_000))
    assert {made for _, made in told} == {"True", "False"}


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


UNREADABLE = ("base.json", "tags.json", "journal", "journal/00000002.json", "rows.lance", "rows.lance/_versions",
              "rows.lance/_versions/*", "rows.lance/data/*", "rows.lance/_deletions/*", "images/*")  # fmt: skip
READS = {
    "snapshot": lambda kb: kb.image(kb.snapshot(), 0),
    "at": lambda kb: kb.snapshot(2),
    "log": KnowledgeBase.log,
    "verify": KnowledgeBase.verify,
    "status": KnowledgeBase.status,
    "undo": lambda kb: kb.undo(2),
    "to_purge": KnowledgeBase.to_purge,
    "tags": KnowledgeBase.tags,
}


@pytest.mark.parametrize("pattern", UNREADABLE)
def test_what_cannot_be_read_is_told_as_that(tmp_path, pattern):
    """Links that go round in a circle: root may not read these either."""
    kb = base("lance", tmp_path, "embed")
    kb.commit(kb.add(made(list("abcd"), image=lambda n: picture("abcd"[n]))))
    kb.commit(kb.delete(ids=["b"]))
    kb.commit(kb.delete(ids=["c"]))
    kb.tag("x")
    for path in (tmp_path / "kb").glob(pattern):
        path.rename(tmp_path / f"away-{path.name}")
        path.symlink_to(path.name)
    told = []
    for read in READS.values():
        try:
            read(open_knowledge(kb.path))
        except UserError as error:
            told.append(str(error))
    assert told
    assert all("can't be read (Too many levels of symbolic links" in one for one in told), told


@pytest.mark.parametrize("name", ["journal/00000002.json", "tags.json", "journal", "rows.lance/data/*", "base.json"])
def test_a_file_in_a_folders_place_or_the_reverse_is_damage(tmp_path, name):
    kb = base("lance", tmp_path)
    kb.commit(kb.add(made(list("abcd"))))
    kb.commit(kb.delete(ids=["b"]))
    kb.tag("x")
    for path in (tmp_path / "kb").glob(name):
        folder = path.is_dir()
        path.rename(tmp_path / f"away-{path.name}")
        (path.touch if folder else path.mkdir)()
    told = []
    for read in READS.values():
        try:
            found = read(open_knowledge(kb.path))
            told += found.problems if read is KnowledgeBase.verify else ()
        except UserError as error:
            told.append(str(error))
            assert "is damaged (" in told[-1]
    assert told


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file", tmp_path / "file" / "kb"):
        with pytest.raises(UserError, match=r"can't be written .Not a directory.: give a folder that you may write to"):
            create(folder, {}, {})
    with pytest.raises(
        UserError, match=r"^The knowledge base at /proc/x can't be written .*: give a folder that you may"
    ):
        create("/proc/x", {}, {})


def test_a_cache_that_cannot_be_written_is_not_told_of_the_base(tmp_path):
    kb = base("lance", tmp_path)
    kb.commit(kb.add(made(list("abcd"))))
    (tmp_path / "cache").write_text("x")
    with pytest.raises(UserError, match=r"The cache can't be written at .*cache.*set paths.cache to a folder"):
        kb.snapshot_beside(tmp_path / "cache" / "vectors")


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


def test_without_pylance_no_base_is_begun(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lance", None)
    with pytest.raises(UserError, match="needs pylance"):
        create(tmp_path / "kb", {}, {})
    assert not (tmp_path / "kb").exists()


def test_whatever_goes_wrong_as_files_are_put_together_the_edit_stands(tmp_path, monkeypatch, caplog):
    kb = base("lance", tmp_path)

    def broken(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("itae.knowledge.ledger.writing._SMALL_FILES", 1)
    monkeypatch.setattr(LanceStore, "compact", broken)
    for each in "abc":
        kb.commit(kb.add(made([each])))
    assert "could not be put together" in caplog.text
    assert len(open_knowledge(kb.path).snapshot()) == 3


def test_many_small_files_are_put_together_now_and_then(tmp_path, monkeypatch):
    monkeypatch.setattr("itae.knowledge.ledger.writing._SMALL_FILES", 4)
    kb, most = base("lance", tmp_path), 0
    for i in range(14):
        kb.commit(kb.add(made([f"cat/{i}"])))
        most = max(most, kb.store.small_files(kb.versions.newest().store))
    assert most <= 5
    assert kb.verify().problems == ()
    assert [len(open_knowledge(kb.path).snapshot(i)) for i in range(15)] == list(range(15))


def test_images_for_which_there_is_no_room_are_written_again(tmp_path, monkeypatch):
    kb = base("lance", tmp_path, "embed")
    kb.commit(kb.add(made(["a"], image=lambda n: picture("a"))))

    def cut(path, chunks):
        path.write_bytes(b"".join(chunks)[:3])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    rows = made(["b"], image=lambda n: picture("b"))
    with monkeypatch.context() as patched:
        patched.setattr("itae.base.disk.write_file", cut)
        with pytest.raises(UserError, match="No room for the knowledge base"):
            kb.commit(kb.add(rows))
    kb.commit(kb.add(rows))
    other = open_knowledge(kb.path)
    assert [other.image(other.snapshot(), i) for i in (0, 1)] == [picture("a"), picture("b")]
    assert other.verify().problems == ()


def test_who_writes_into_the_rows_in_between_is_noticed(tmp_path, monkeypatch):
    """As two could in an object store, which has no locks."""
    kb = base("lance", tmp_path)
    kb.commit(kb.add(made(["a", "b"])))

    def meddle(store, dataset, put):
        import lance

        other = lance.dataset(store.uri)
        other.insert(other.to_table().slice(0, 1))
        return 0

    with monkeypatch.context() as patched:
        patched.setattr(LanceStore, "_widened", meddle)
        with pytest.raises(UserError, match=r"Somebody else writes into .* nothing of this edit counts"):
            kb.commit(kb.add(made(["c"])))
    kb.commit(kb.add(made(["d"])))
    assert set(open_knowledge(kb.path).snapshot().position) == {"a", "b", "d"}
    assert kb.verify().problems == ()
