"""A byte that is not as it was written is found before anything is answered."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from bases import base, content, image, made, picture

from itae.base.errors import UserError
from itae.knowledge.base import open_knowledge
from itae.knowledge.disk.lance_files import names_of
from itae.knowledge.disk.lance_rows import check_labels
from itae.knowledge.disk.lance_store import LanceStore
from itae.knowledge.ledger.versions import Versions
from itae.knowledge.records.sealed import Damaged, sealed

pytest.importorskip("lance")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return a base with some edits, files put together once, an image of each row, and rows that are gone."""
    kb = base("lance", tmp_path_factory.mktemp("whole"), "embed")

    def add(ids, **more):
        kb.commit(kb.add(made(ids, width=32, image=lambda n: picture(ids[n]), **more)), why="because")

    add([f"cat/{i}" for i in range(60)], groups=[f"g{i % 7}" for i in range(60)], metadata={"age": list(range(60))})
    kb.commit(kb.correct(["cat/7", "cat/9"], ["dog", "pet"]))
    kb.tag("a tag")
    kb.compact()
    add([f"emu/{i}" for i in range(20)])
    kb.commit(kb.delete(ids=[f"cat/{i}" for i in range(0, 60, 9)]))
    return kb


def files_of(kb, version):
    """Return the files that a version depends on."""
    edit = kb.versions.edit(version)
    names = names_of(kb.store._at(kb.versions.place(edit)[0]))
    return {"base.json", "head.json", f"journal/{version:08d}.json", *(f"rows.lance/{name}" for name in names)}


def outcome(folder):
    """Return what is in a base as somebody opens it now, or what it says of itself."""
    try:
        return content(open_knowledge(folder).snapshot())
    except UserError as error:
        return str(error)


def flipped(whole, copy, count, seed):
    """Flip one bit after the other in files that a version depends on; return those that were not found.

    What the newest depends on must be found as it is opened, else it answers as it should and `verify` finds it.
    """
    shutil.copytree(whole.path, copy)
    right, chance, missed = content(whole.snapshot()), random.Random(seed), []
    newest = files_of(whole, 4)
    files = sorted({"tags.json"}.union(*(files_of(whole, version) for version in range(1, 5))))
    sizes = [max((copy / file).stat().st_size, 300) for file in files]  # small files have their turn as well
    for _ in range(count):
        (name,) = chance.choices(files, sizes)
        data = bytearray((copy / name).read_bytes())
        where, bit = chance.randrange(len(data)), 1 << chance.randrange(8)
        data[where] ^= bit
        (copy / name).write_bytes(data)
        told = outcome(copy)
        assert told == right or (isinstance(told, str) and "\n" not in told), told
        if told == right and (name in newest or not open_knowledge(copy).verify().problems):
            missed.append((name, where, bit))
        data[where] ^= bit
        (copy / name).write_bytes(data)
    assert outcome(copy) == right
    return missed


@pytest.fixture
def unnamed(monkeypatch):
    """Have no process name the rows, a second each time; whatever is damaged is found before."""
    monkeypatch.setattr(Versions, "_told_apart", lambda versions, edit: "")


def test_every_flip_of_60_is_found(whole, tmp_path, unnamed):
    seed = random.randrange(2**32)
    assert flipped(whole, tmp_path / "copy", 60, seed) == [], f"seed {seed}"


@pytest.mark.slow  # 2,000 bases are opened, and some verified
def test_every_flip_of_2000_is_found(whole, tmp_path, unnamed):
    seed = random.randrange(2**32)
    assert flipped(whole, tmp_path / "copy", 2000, seed) == [], f"seed {seed}"


def test_an_image_is_the_right_one_or_none_whatever_flips(whole, tmp_path):
    shutil.copytree(whole.path, tmp_path / "copy")
    chance = random.Random(seed := random.randrange(2**32))
    files = [file for file in sorted((tmp_path / "copy" / "images").rglob("*")) if file.is_file()]
    ids = ["cat/1", "emu/3"]
    for _ in range(60):
        data = bytearray((file := chance.choice(files)).read_bytes())
        where = chance.randrange(len(data))
        file.write_bytes(data[:where] + bytes([data[where] ^ 1 << chance.randrange(8)]) + data[where + 1 :])
        kb = open_knowledge(tmp_path / "copy")
        one = kb.snapshot()
        for each in ids:
            with contextlib.suppress(UserError):
                assert kb.image(one, one.position[each]) in (picture(each), None), f"seed {seed}"
        file.write_bytes(data)


@pytest.fixture
def copy(whole, tmp_path):
    shutil.copytree(whole.path, tmp_path / "copy")
    return tmp_path / "copy"


def hit(file, needle, other):
    data = file.read_bytes()
    assert data.count(needle) == 1, file
    file.write_bytes(data.replace(needle, other))


def newest_data(copy, needle):
    """Return the data files that hold some bytes."""
    return [file for file in (copy / "rows.lance" / "data").iterdir() if needle in file.read_bytes()]


def test_a_damaged_row_is_named_and_an_earlier_version_answers(whole, copy):
    snapshot = whole.snapshot()
    vector = snapshot.vectors_ME[snapshot.position["emu/3"]].tobytes()
    for file in newest_data(copy, vector):
        hit(file, vector, vector[:-1] + bytes([vector[-1] ^ 1]))
    with pytest.raises(UserError, match=r"is damaged .row 'emu/3'.: nothing is answered from it; .* --at VERSION"):
        open_knowledge(copy).snapshot()
    report = open_knowledge(copy).verify()
    assert (report.whole, report.damaged) == ((0, 1, 2), (3, 4))
    assert content(open_knowledge(copy).snapshot(2)) == content(whole.snapshot(2))
    with pytest.raises(UserError, match="is damaged"):
        open_knowledge(copy).commit(open_knowledge(copy).add(made(["x"], width=32)))


def test_lance_reads_no_file_in_this_process_that_is_not_as_it_was_written(copy, monkeypatch):
    """A length in what a file of deleted rows tells of itself: Lance 14 aborts there."""
    gone = sorted((copy / "rows.lance" / "_deletions").iterdir())[-1]
    data = gone.read_bytes()
    gone.write_bytes(data[:677] + bytes([data[677] ^ 1]) + data[678:])
    monkeypatch.setattr(LanceStore, "read", lambda *_: pytest.fail("it was read"))
    with pytest.raises(UserError, match=r"is damaged .(files of rows.lance|Lance can't read)"):
        open_knowledge(copy).snapshot()
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(UserError, match=r"is damaged .files of rows.lance are not as they were written"):
        open_knowledge(copy).snapshot()


@pytest.mark.parametrize("look", [lambda kb: kb.undo(5), lambda kb: kb.to_purge(), lambda kb: kb.purge()])
def test_rows_of_an_earlier_version_are_read_from_whole_files_alone(copy, monkeypatch, unnamed, look):
    gone = sorted((copy / "rows.lance" / "_deletions").iterdir())[-1]
    kb = open_knowledge(copy)
    kb.commit(kb.delete(ids=["cat/1"]))
    data = gone.read_bytes()
    gone.write_bytes(data[:677] + bytes([data[677] ^ 1]) + data[678:])
    other = open_knowledge(copy)
    assert len(other.snapshot()) == 72, "which the newest does not need"
    read = LanceStore.rows

    def rows(store, version, numbers):
        assert f"_deletions/{gone.name}" not in names_of(store._at(version)), "it was read"
        return read(store, version, numbers)

    monkeypatch.setattr(LanceStore, "rows", rows)
    with pytest.raises(UserError, match=r"is damaged .files of rows.lance are not as they were written"):
        look(other)


def test_an_edit_of_another_process_is_read_from_whole_files_alone(copy, monkeypatch):
    kb, other = open_knowledge(copy), open_knowledge(copy)
    kb.snapshot()
    other.commit(other.add(made(["new"], width=32, image=lambda n: picture("new"))))
    (file,) = newest_data(copy, b"new")
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    monkeypatch.setattr(LanceStore, "rows", lambda *_: pytest.fail("it was read"))
    with pytest.raises(UserError, match="is damaged"):
        kb.snapshot()


def test_a_store_that_gives_other_rows_than_were_written_is_found_out(whole, copy):
    """The digests are over what was read: they hold without the hashes of files."""
    other = open_knowledge(copy)
    other.store.files = lambda version, known=False: other.versions.place(other.versions.edit(4))[1]
    assert len(other.snapshot()) == len(whole.snapshot())
    other = open_knowledge(copy)
    other.store.files = lambda version, known=False: other.versions.place(other.versions.edit(4))[1]
    place = other.versions.place
    other.versions.place = lambda edit: (place(edit)[0] - 1, place(edit)[1])
    with pytest.raises(UserError, match=r"is damaged .(row|rows) "):
        other.snapshot()


@pytest.mark.parametrize("cut", [0, 1, 40, 100])
@pytest.mark.parametrize("name", ["journal/00000004.json", "base.json", "head.json"])
def test_a_torn_file_is_told(whole, copy, name, cut):
    file = copy / name
    file.write_bytes(file.read_bytes()[:cut])
    if name == "head.json":  # what no version needs but the newest
        assert content(open_knowledge(copy).snapshot(2)) == content(whole.snapshot(2))
        assert 2 in open_knowledge(copy).verify().whole
    with pytest.raises(UserError, match=rf"is damaged .{name} is not as it was written"):
        open_knowledge(copy).snapshot()
    if name.startswith("journal"):
        assert content(open_knowledge(copy).snapshot(3)) == content(whole.snapshot(3))
        assert any(name in problem for problem in open_knowledge(copy).verify().problems)


def test_what_a_writer_left_that_died_is_not_read(copy):
    for name in (".00000005.json-abc.tmp", "00000005.json.swp", "notes.txt"):
        (copy / "journal" / name).write_text("{")
    assert open_knowledge(copy).snapshot().version == 4


def test_an_edit_that_is_put_in_another_ones_place_is_found(copy):
    shutil.copy(copy / "journal" / "00000003.json", copy / "journal" / "00000004.json")
    with pytest.raises(UserError, match=r"journal/00000004.json is edit 3"):
        open_knowledge(copy).snapshot()
    assert open_knowledge(copy).verify().problems[0] == "journal/00000004.json is edit 3"


def test_an_edit_that_was_written_anew_breaks_the_chain(whole, copy):
    file = copy / "journal" / "00000002.json"
    told = json.loads(file.read_bytes())
    del told["seal"]
    file.write_bytes(sealed({**told, "why": "another reason"})[0])
    assert open_knowledge(copy).verify().problems == ("journal/00000003.json does not follow on the one before it",)


@pytest.mark.parametrize("file", ["journal/00000004.json", "base.json"])
def test_a_newer_format_is_told(copy, file):
    told = json.loads((copy / file).read_bytes())
    del told["seal"]
    (copy / file).write_bytes(sealed({**told, "format": 2})[0])
    with pytest.raises(UserError, match="is of format 2"):
        open_knowledge(copy).snapshot()


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.mkdir(), lambda p: p.write_text("x")])
def test_what_is_no_base_is_told(tmp_path, make):
    make(tmp_path / "there")
    with pytest.raises(UserError, match=r"is no knowledge base .it has no base.json"):
        open_knowledge(tmp_path / "there")


def test_rows_that_are_gone_from_the_disk_are_told(copy):
    shutil.rmtree(copy / "rows.lance")
    with pytest.raises(UserError, match=r"is damaged .version .* of rows.lance is gone"):
        open_knowledge(copy).snapshot()


def test_an_image_that_is_damaged_is_told(whole, copy):
    (file,) = (copy / "images").rglob(image("emu/3").hex()[2:])
    file.write_bytes(picture("emu/4"))
    other = open_knowledge(copy)
    snapshot = other.snapshot()
    assert other.image(snapshot, snapshot.position["emu/5"]) == picture("emu/5")
    with pytest.raises(UserError, match=r"is damaged .images/../.{62} has other bytes than it had"):
        other.image(snapshot, snapshot.position["emu/3"])
    assert len(other.verify().problems) == 1


def test_a_whole_base_has_no_problems(whole):
    report = whole.verify()
    assert (report.problems, report.damaged, report.whole, report.rows) == ((), (), (0, 1, 2, 3, 4), 73)
    assert not np.isnan(whole.snapshot().vectors_ME).any()


@pytest.fixture
def unhashed(monkeypatch):
    """Have files count as they were written whatever they hold, as in a store that has no hashes of them."""

    def files(store, version, known=False):
        kb = open_knowledge(Path(store.uri).parent)
        places = [kb.versions.place(edit) for edit in kb.log()]
        return dict(places).get(version)

    monkeypatch.setattr(LanceStore, "files", files)


def test_a_row_that_comes_back_is_held_against_its_checksum(whole, copy, unhashed):
    was = whole.snapshot(3)
    vector = was.vectors_ME[was.position["cat/18"]].tobytes()
    for file in newest_data(copy, vector):
        hit(file, vector, vector[:-1] + bytes([vector[-1] ^ 1]))
    other = open_knowledge(copy)
    assert content(other.snapshot()) == content(whole.snapshot()), "the row is deleted"
    with pytest.raises(UserError, match=r"is damaged .rows \['cat/18'\] of version 3"):
        other.undo(4)


def test_a_label_that_conditions_would_find_and_rows_do_not_have_is_damage():
    columns = {"id": ["a", "b", "c"], "labels": [["x"], ["x", "y"], []]}
    check_labels(pa.table({**columns, "label": pa.array(["x", None, None])}))
    for label in (["y", None, None], [None] * 3, ["x", "x", None], ["x", None, "x"]):
        with pytest.raises(Damaged, match="isn't the one among its labels"):
            check_labels(pa.table({**columns, "label": pa.array(label, pa.string())}))


@pytest.mark.parametrize("verb", ["add", "delete"])
def test_what_was_written_of_an_edit_that_was_not_made_does_not_count(whole, copy, monkeypatch, verb):
    class Dies(BaseException):
        pass

    def die(*_):
        raise Dies

    kb = open_knowledge(copy)
    rows = made(["half"], width=32, image=lambda n: picture("half"))
    change = kb.add(rows) if verb == "add" else kb.delete(label="dog")
    with monkeypatch.context() as patched:
        patched.setattr("itae.knowledge.ledger.journal.Journal.write", die)
        with pytest.raises(Dies):
            kb.commit(change)
    for one in (kb, open_knowledge(copy)):
        assert content(one.snapshot()) == content(whole.snapshot())
    other = open_knowledge(copy)
    other.commit(other.correct(["cat/1"], ["z"]))
    one = open_knowledge(copy).snapshot()
    assert set(content(one)) == set(content(whole.snapshot()))
    assert kb.snapshot().root == one.root
    assert other.verify().problems == ()


def test_a_version_is_found_by_its_number_where_tags_are_damaged(whole, tmp_path):
    shutil.copytree(whole.path, tmp_path / "copy")
    (tmp_path / "copy" / "tags.json").write_bytes(b"{}")
    assert content(open_knowledge(tmp_path / "copy").snapshot(1)) == content(whole.snapshot(1))
