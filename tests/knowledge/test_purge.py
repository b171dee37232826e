"""After a purge no byte of what was deleted is left, wherever one looks."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import numpy as np
import pytest
from bases import STORES, base, content, image, made, picture, vector

from itae.base.errors import UserError
from itae.edits.gathered import Gathered
from itae.embed import kept_arrays
from itae.knowledge.base import open_knowledge
from itae.knowledge.disk.folder import OnDisk
from itae.knowledge.ledger import purge as purging
from itae.store.entry import Key
from itae.store.store import Store

pytest.importorskip("lance")
GONE = ("secret/anna-1", "secret/anna-2")
STAYS = tuple(f"open/{i}" for i in range(6))


def filled(store, folder):
    """Return a base in which rows came, were corrected, replaced and deleted, with their images."""
    kb = base(store, folder, "embed")
    names = [*GONE, *STAYS]

    def add(ids, seed=0, **more):
        places = [f"/photos/{each}.png" for each in ids]
        rows = made(ids, seed=seed, image=lambda n: picture(ids[n], seed), places=places, **more)
        kb.commit(kb.add(rows, replace=True), why="upload")

    add(names, groups=["patient-anna", "patient-anna", *["p"] * 6])
    kb.tag("before")
    kb.commit(kb.correct([GONE[0]], ["secret-disease"]), who="doctor", why=f"{GONE[0]} was wrong")
    kb.commit(kb.correct([STAYS[0]], ["openly"]), why="a better label")
    add([STAYS[1]], seed=7)
    kb.commit(kb.delete(ids=GONE), why="anna asked for it")
    return kb


def traces():
    """Return byte strings of what is to be gone: ids, labels, groups, places, images, vectors, checksums."""
    replaced = STAYS[1]
    texts = [*GONE, "secret", "patient-anna", "secret-disease", "anna"]
    found = [text.encode() for text in texts]
    for each in (*GONE, replaced):
        unit = (vector(each) / np.linalg.norm(vector(each))).astype(np.float32)
        found += [picture(each), image(each), image(each).hex()[2:].encode(), unit.tobytes(), unit.tobytes()[:12]]
    return found


def found_in(folder):
    """Return which traces are in a file's bytes or its name, anywhere in a folder."""
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    return {(path.name, trace) for path in files for trace in traces() if trace in path.read_bytes() + bytes(path)}


def cached(folder):
    """Return a cache with an entry that has a deleted image and one that hasn't."""
    store = Store(folder)
    for name, ids in {"with": [GONE[0], STAYS[0]], "without": list(STAYS[2:4])}.items():
        key = Key({"model": "toy"}, {"name": name}, (name, "toy"))
        with store.claim([key]):
            draft = store.draft(key, len(ids), len(ids))
            vectors = np.array([vector(each) / np.linalg.norm(vector(each)) for each in ids], np.float32)
            draft.write(0, {"vectors": vectors}, {})
            draft.publish(ids, None, [image(each) for each in ids], {})
    return store


def test_no_byte_is_left_on_the_disk(tmp_path):
    kb = filled("lance", tmp_path)
    store = cached(tmp_path / "cache")
    assert {trace for _, trace in found_in(tmp_path)} >= {GONE[0].encode(), picture(GONE[0]), image(GONE[1])}
    before, numbers = content(kb.snapshot()), kb.snapshot().next_number
    done = kb.purge(tmp_path / "cache", who="me", why="as asked")
    assert found_in(tmp_path) == set()
    assert (done.edit.edit, done.edit.verb, done.rows) == (6, "purge", 5)
    assert done.places == tuple(f"/photos/{each}.png" for each in GONE)
    assert [path.parent.parent.name for path in done.entries] == ["with"]
    assert [item.path.parent.parent.name for item in store.survey()] == ["without"]
    other = open_knowledge(kb.path)
    for one in (kb, other):
        assert content(one.snapshot()) == before
        assert (one.snapshot().version, one.snapshot().next_number, one.tags()) == (6, numbers, {})
    assert other.images.get(image(STAYS[0])) == picture(STAYS[0])
    assert other.verify().problems == ()
    assert subprocess.run(["grep", "-rqa", "anna", str(tmp_path)], check=False).returncode == 1


def test_values_of_deleted_images_that_a_control_drew_from_go_too(tmp_path):
    kb = filled("lance", tmp_path)
    for name, ids in {"with": [GONE[0], STAYS[0]], "without": [STAYS[2]]}.items():
        owners = np.stack([np.frombuffer(image(each), np.uint8) for each in ids])[None]
        values = np.stack([vector(each) / np.linalg.norm(vector(each)) for each in ids]).astype(np.float32)[None]
        kept_arrays.remember(tmp_path / "cache", {"a": name}, Gathered({"owners.3": owners, "values.3": values}, 2))
    assert any(name.endswith(".safetensors") for name, _ in found_in(tmp_path / "cache"))
    done = kb.purge(tmp_path / "cache")
    assert found_in(tmp_path) == set()
    assert [path.suffix for path in done.entries] == [".safetensors"]
    assert kept_arrays.recall(tmp_path / "cache", {"a": "without"}) is not None


def test_no_byte_is_left_of_all_that_one_edit_added(tmp_path):
    """Then whole files go, and nothing is put together anew."""
    kb = base("lance", tmp_path, "embed")
    for names, seed in ((STAYS, 7), (GONE, 0)):
        rows = made(names, seed=seed, image=lambda n, names=names, seed=seed: picture(names[n], seed))
        kb.commit(kb.add(rows))
    kb.commit(kb.delete(ids=GONE))
    kb.purge()
    assert found_in(tmp_path) == set()
    assert kb.verify().problems == ()
    assert open_knowledge(kb.path).images.get(image(STAYS[0], 7)) == picture(STAYS[0], 7)
    folders = {path.name for path in (tmp_path / "kb" / "images").iterdir()}
    assert folders == {image(each, 7).hex()[:2] for each in STAYS}, "a folder is named by the first byte of a sha256"


@pytest.mark.parametrize(
    ("look", "told"),
    [
        (lambda kb: kb.verify().problems, "()"),
        (lambda kb: kb.to_purge(), "(0, ())"),
        (lambda kb: kb.undo(5), "Edit 5 can't be undone: edit 6 purged what was there before."),
        (lambda kb: kb.snapshot(2), "edit 6 purged all before it; there are 0 and 6."),
        (lambda kb: kb.diff(2, 5), "edit 6 purged all before it; there are 0 and 6."),
    ],
)
def test_what_a_purge_takes_away_while_somebody_looks_is_no_damage(tmp_path, look, told):
    kb = filled("lance", tmp_path)
    other = open_knowledge(kb.path)
    other.snapshot()
    files, purges = other.store.files, iter([kb.purge])

    def purged(version, known=False):
        for purge in purges:
            purge()
        return files(version, known)

    other.store.files = purged
    try:
        found = str(look(other))
    except UserError as error:
        found = str(error)
    assert found.endswith(told)


def test_what_a_writer_left_that_died_at_an_image_goes_with_a_purge(tmp_path):
    kb = filled("lance", tmp_path)
    kept = tmp_path / "kb" / "images" / image(STAYS[0]).hex()[:2]
    (kept / ".half-an-image-abc.tmp").write_bytes(picture(GONE[0])[:5])
    kb.purge()
    assert [file.name for file in kept.iterdir()] == [image(STAYS[0]).hex()[2:]]
    assert open_knowledge(kb.path).verify().problems == ()


@pytest.mark.parametrize("store", STORES)
def test_history_ends_at_a_purge_and_goes_on_after_it(store, tmp_path):
    kb = filled(store, tmp_path)
    kb.purge()
    for version in range(1, 6):
        with pytest.raises(UserError, match=f"Version {version} .* is gone: edit 6 purged all before it"):
            kb.snapshot(version)
        with pytest.raises(UserError, match="edit 6 purged what was there before"):
            kb.undo(version)
    with pytest.raises(UserError, match="edit 6 purged"):
        kb.undo(6)
    for wrong in (3, 9, "before"):
        with pytest.raises(UserError, match=r"there are 0 and 6\b(?! to)"):
            kb.snapshot(wrong)
    assert (len(kb.snapshot(0)), len(kb.snapshot(6))) == (0, 6)
    kb.commit(kb.delete(ids=[STAYS[2]]))
    kb.commit(kb.undo(7))
    assert content(kb.snapshot()) == content(kb.snapshot(6))
    for wrong in (3, 9, "before"):
        with pytest.raises(UserError, match="there are 0 and 6 to 8"):
            kb.snapshot(wrong)
    kb.commit(kb.delete(ids=[STAYS[3]]))
    kb.purge()
    assert kb.verify().problems == ()
    assert kb.verify().whole == (0, 10)


def test_the_journal_tells_what_was_done_and_not_to_whom(tmp_path):
    kb = filled("memory", tmp_path)
    told = kb.log()
    kb.purge()
    left = kb.log()
    assert [(e.edit, e.verb, e.when, e.counts) for e in left[:5]] == [(e.edit, e.verb, e.when, e.counts) for e in told]
    names = {each for each in left[0].touched.added if each.startswith("purged:")}
    assert len(names) == 2
    assert set(left[4].touched.deleted) == names, "the same names in all edits"
    assert set(left[0].touched.added) - names == set(STAYS)
    assert [e.why for e in left[:5]] == ["", "", "a better label", "upload", ""]
    assert left[2].touched == told[2].touched
    kb.commit(kb.delete(ids=[STAYS[0]]))
    kb.purge()
    assert {each for each in kb.log()[0].touched.added if each.startswith("purged:")} > names


def test_an_empty_base_has_nothing_to_purge(tmp_path):
    with pytest.raises(UserError, match="has no edits: there is nothing to purge"):
        base("lance", tmp_path).purge()


class Killed(BaseException):
    pass


STEPS = ("_left", "_edit", "finish", "_cleared", "_rewrite", "write_tags")


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_purge_that_is_cut_short_is_finished_by_the_next_who_writes(tmp_path, monkeypatch, step, late):
    kb = filled("lance", tmp_path)
    cached(tmp_path / "cache")
    before, real, calls = content(kb.snapshot()), getattr(purging, step), []

    def cut(*args):
        calls.append(step)
        if late:
            real(*args)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(purging, step, cut)
        with pytest.raises(Killed):
            kb.purge(tmp_path / "cache")
    assert calls
    other = open_knowledge(kb.path)
    assert content(other.snapshot()) == before
    purged = other.snapshot().version == 6
    assert purged is (step not in ("_left", "_edit"))
    assert other.status().unfinished is (step != "_left" and not (step == "finish" and late))
    other.commit(other.correct([STAYS[5]], ["x"]))
    assert not other.status().unfinished
    assert not (Path(kb.path) / "journal" / "purged").exists() or not list(
        (Path(kb.path) / "journal" / "purged").iterdir()
    )
    assert other.verify().problems == ()
    if purged:
        assert found_in(tmp_path) == set()
    else:
        assert len(other.snapshot(1)) == 8


@pytest.mark.parametrize("after", range(3))
def test_a_second_purge_may_be_cut_short_as_well(tmp_path, monkeypatch, after):
    kb = filled("lance", tmp_path)
    kb.purge()
    kb.commit(kb.delete(ids=[STAYS[0]]))
    write, written = OnDisk.write, []

    def cut(folder, name, data, new=False):
        if name.startswith("journal/0") and not new:
            if len(written) == after:
                raise Killed
            written.append(name)
        write(folder, name, data, new)

    with monkeypatch.context() as patched:
        patched.setattr(OnDisk, "write", cut)
        with pytest.raises(Killed):
            kb.purge()
    other = open_knowledge(kb.path)
    assert (other.verify().problems, other.status().unfinished) == ((), True)
    other.commit(other.correct([STAYS[5]], ["x"]))
    assert (other.verify().problems, other.status().unfinished) == ((), False)


def test_what_was_there_cannot_be_tried_out(tmp_path):
    """The seal that the chain keeps is of a text with a random number in it, which goes with the purge."""
    kb = filled("memory", tmp_path)
    first = kb.log()[0]
    kb.purge()
    left = kb.log()[0]
    assert left.was == first.seal
    assert (left.salt, left.root, left.blocks, left.files) == ("", "", {}, None)
    assert first.salt not in str([dataclasses.asdict(each) for each in kb.log()])


def test_who_opens_a_base_while_it_is_purged_gets_what_the_purge_left(tmp_path, monkeypatch):
    kb, other = filled("lance", tmp_path), open_knowledge(tmp_path / "kb")
    read = type(other.store).read
    rest = iter([kb.purge])

    def late(store, version, beside=None):
        for purge in rest:
            purge()
        return read(store, version, beside)

    monkeypatch.setattr(type(other.store), "read", late)
    assert other.snapshot().version == 6
    assert content(other.snapshot()) == content(kb.snapshot())
