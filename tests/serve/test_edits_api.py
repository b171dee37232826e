"""Edits by HTTP: looked at, made, refused, undone, each as the base itself has it."""

from __future__ import annotations

import errno
import os

import pytest
from bases import STORES, base, content, made
from desks import app_of, client_of, desk_of

from itae.knowledge.base import open_knowledge
from itae.knowledge.ledger.journal import Journal

IDS = [f"{label}/{i}" for label in ("cat", "dog") for i in range(12)]
HOSTILE = [
    "<script>alert(1)</script>",
    " a ",
    "a\nb\t\x00\x1f",
    "ü\u202e\U0001f600",
    "'; DROP TABLE rows; --",
    "../../etc",
]


@pytest.fixture(params=STORES)
def kb(request, tmp_path):
    if request.param == "lance":
        pytest.importorskip("lance")
    one = base(request.param, tmp_path)
    one.commit(one.add(made(IDS)), who="root")
    return one


@pytest.fixture
def app(kb):
    return app_of(desk_of(kb))


@pytest.fixture
def ada(app):
    return client_of(app)


def done(answer, status=200):
    assert answer.status_code == status, answer.text
    return answer.json() if status == 200 else answer.json()["error"]


def asked(verb, **what):
    return {"verb": verb, **what}


def edits(client, change, seen, status=200, why=""):
    return done(client.post("/api/edits", json={**change, "seen": seen, "why": why}), status)


def labels(kb):
    one = kb.snapshot()
    return {one.ids[i]: sorted(one.labels_of(i)) for i in one.live.tolist()}


def test_a_look_writes_nothing_and_is_what_the_edit_does(kb, ada):
    change = asked("correct", labels={"cat/0": ["dog"], "cat/1": ["cat"], "cat/2": [], "dog/1": ["dog", "pet"]})
    before = content(kb.snapshot())
    looked = done(ada.post("/api/edits/look", json=change))
    assert content(kb.snapshot()) == before
    assert len(kb.log()) == 1
    assert (looked["version"], looked["changed"], looked["same"]) == (1, ["cat/0", "cat/2", "dog/1"], 1)
    edited = edits(ada, change, looked["version"], why="looked at")
    assert edited == {"edit": 2, "version": 2, "rows": 24, "counts": looked["counts"]}
    (last,) = kb.log(2)
    assert [list(getattr(last.touched, kind)) for kind in ("added", "changed", "deleted")] == [
        looked["added"],
        looked["changed"],
        looked["deleted"],
    ]
    assert (last.who, last.why, last.verb) == ("ada", "looked at", "correct")
    assert labels(kb)["dog/1"] == ["dog", "pet"]
    assert labels(kb)["cat/2"] == []


def test_predictions_that_turn_are_those_of_the_base(kb, ada):
    from itae.knowledge.answers.turned import turned

    change = {f"cat/{i}": ["dog"] for i in range(9)}
    looked = done(ada.post("/api/edits/look", json=asked("correct", labels=change)))
    was = kb.snapshot()
    kb.commit(kb.correct_each(change))
    found = turned(was, kb.snapshot(), device="cpu")
    assert looked["turned_of"] == found.of == 24
    assert [{key: row[key] for key in ("id", "before", "after")} for row in looked["turned"]] == found.rows
    assert found.rows
    assert all(row["number"] == was.numbers_M[was.position[row["id"]]] for row in looked["turned"])


def test_rows_are_deleted_restored_and_brought_back_by_undo(kb, ada):
    root = kb.snapshot().root
    looked = done(ada.post("/api/edits/look", json=asked("delete", ids=["cat/3", "dog/0"])))
    assert looked["deleted"] == ["cat/3", "dog/0"]
    assert looked["counts"] == {"added": 0, "changed": 0, "deleted": 2, "rows": 22}
    edits(ada, asked("delete", ids=["cat/3", "dog/0"]), 1)
    assert len(kb.snapshot()) == 22
    assert edits(ada, asked("undo", edit=2), 2)["counts"]["added"] == 2
    assert kb.snapshot().root == root
    edits(ada, asked("delete", ids=["cat/3"]), 3)
    kb.tag("first", 1)
    assert done(ada.post("/api/edits/look", json=asked("restore", version="first")))["added"] == ["cat/3"]
    edits(ada, asked("restore", version=1), 4)
    assert kb.snapshot().root == root
    assert [(edit.verb, edit.who) for edit in kb.log()[1:]] == [
        ("delete", "ada"),
        ("undo", "ada"),
        ("delete", "ada"),
        ("restore", "ada"),
    ]


def test_what_changes_nothing_is_no_edit(kb, ada):
    change = asked("correct", labels={"cat/0": ["cat"]})
    looked = done(ada.post("/api/edits/look", json=change))
    assert (looked["same"], looked["changed"], looked["turned"], looked["turned_of"]) == (1, [], [], 0)
    told = edits(ada, change, 1)
    assert told == {"edit": None, "version": 1, "rows": 24, "counts": looked["counts"]}
    assert len(kb.log()) == 1


def test_a_row_that_another_user_has_edited_is_refused(app, kb, ada):
    bob = client_of(app, "bob")
    edits(bob, asked("correct", labels={"cat/0": ["dog"]}), 1)
    edits(bob, asked("delete", ids=["cat/1"]), 2)
    before = content(kb.snapshot())
    for change in (asked("correct", labels={"cat/0": ["bird"], "cat/5": ["bird"]}), asked("delete", ids=["cat/0"])):
        told = edits(ada, change, 1, 409)
        assert "'cat/0': touched by edit 2 (correct, by bob) since version 1" in told
    for change in (asked("correct", labels={"cat/1": ["bird"]}), asked("delete", ids=["cat/1", "cat/2"])):
        assert "'cat/1': touched by edit 3 (delete, by bob)" in edits(ada, change, 1, 409)
    edits(bob, asked("correct", labels={"cat/0": ["cow"]}), 3)
    assert "edit 4 (correct, by bob)" in edits(ada, asked("undo", edit=2), 2, 409)
    assert "Edit 2 can't be undone: edit 4" in edits(ada, asked("undo", edit=2), 4, 400)
    assert "edit 4" in edits(ada, asked("restore", version=1), 3, 409)
    assert {k: v for k, v in content(kb.snapshot()).items() if k != "cat/0"} == {
        k: v for k, v in before.items() if k != "cat/0"
    }
    assert edits(ada, asked("correct", labels={"cat/5": ["bird"]}), 1)["edit"] == 5


def test_where_nothing_may_be_edited_a_look_is_all_there_is(kb):
    kb.tag("mine")
    client = client_of(app_of(desk_of(kb, read_only="This base is served read-only.")))
    change = asked("delete", ids=["cat/0"])
    assert done(client.post("/api/edits/look", json=change))["deleted"] == ["cat/0"]
    assert edits(client, change, 1, 403) == "This base is served read-only."
    assert done(client.put("/api/tags/x", json={"version": 1}), 403) == "This base is served read-only."
    assert done(client.delete("/api/tags/mine"), 403) == "This base is served read-only."
    assert (len(kb.log()), kb.tags()) == (1, {"mine": 1})


MISTAKES = [
    (asked("correct", labels={"cat/00": ["dog"]}), 1, "No row of the base has the id 'cat/00'. Did you mean"),
    (asked("delete", ids=["cat/00"]), 1, "No row of the base has the id 'cat/00'. Did you mean"),
    (asked("correct", labels={"cat/0": [""]}), 1, "'' is no label"),
    (asked("correct", labels={"cat/0": "dog"}), 1, "labels.cat/0"),
    (asked("correct", labels={}), 1, "labels"),
    (asked("delete", ids=[]), 1, "ids"),
    (asked("delete", ids=["cat/0"], label="cat"), 1, "label: Extra inputs"),
    (asked("undo", edit=9), 1, "There is no edit 9"),
    (asked("undo", edit=True), 1, "edit"),
    (asked("undo", edit=0), 1, "edit"),
    (asked("restore", version=9), 1, "There is no version 9"),
    (asked("restore", version="nothing"), 1, "No version of"),
    (asked("forget", ids=["cat/0"]), 1, "'correct', 'delete', 'undo', 'restore'"),
    (asked("delete", ids=["cat/0"]), 7, "Nobody can have seen version 7"),
    (asked("delete", ids=["cat/0"]), -1, "seen"),
    (asked("delete", ids=["cat/0"]), True, "seen"),
    (asked("delete", ids=["cat/0"]), None, "seen"),
]


def test_mistakes_are_told_in_a_sentence_and_change_nothing(kb, ada):
    before = content(kb.snapshot())
    for change, seen, words in MISTAKES:
        assert words in edits(ada, change, seen, 400)
        assert (len(kb.log()), content(kb.snapshot())) == (1, before)


def test_labels_and_ids_that_look_like_something_else_come_back_as_they_are(kb, ada):
    kb.commit(kb.add(made(HOSTILE, [["x"]] * len(HOSTILE))))
    edits(ada, asked("correct", labels={each: [each, f"{each}!"] for each in HOSTILE}), 2, why=HOSTILE[2])
    there = labels(kb)
    assert all(there[each] == sorted([each, f"{each}!"]) for each in HOSTILE)
    assert kb.log()[-1].why == HOSTILE[2]
    looked = done(ada.post("/api/edits/look", json=asked("delete", ids=HOSTILE)))
    assert looked["deleted"] == sorted(HOSTILE)


def test_half_a_letter_is_told_and_changes_nothing(kb, ada):
    half = r"\ud800"
    for body in (
        f'{{"verb": "delete", "ids": ["{half}"], "seen": 1}}',
        f'{{"verb": "correct", "labels": {{"cat/0": ["{half}"]}}, "seen": 1}}',
        f'{{"verb": "delete", "ids": ["cat/0"], "why": "{half}", "seen": 1}}',
        f'{{"verb": "{half}", "seen": 1}}',
        f'{{"verb": "correct", "labels": {{"{half}": "x"}}, "seen": 1}}',
        f'{{"verb": "restore", "version": "{half}", "seen": 1}}',
    ):
        answer = ada.post("/api/edits", content=body, headers={"Content-Type": "application/json"})
        print(done(answer, 400))
        assert len(kb.log()) == 1


def test_ten_thousand_rows_in_one_edit(tmp_path):
    kb = base("memory", tmp_path)
    ids = [f"row/{i}" for i in range(10_000)]
    kb.commit(kb.add(made(ids, width=2)))
    ada = client_of(app_of(desk_of(kb)))
    assert edits(ada, asked("correct", labels={each: ["other"] for each in ids}), 1)["counts"]["changed"] == 10_000
    assert edits(ada, asked("delete", ids=ids[1:]), 2)["rows"] == 1


def test_a_disk_that_is_full_or_read_only_is_told_and_changes_nothing(tmp_path, monkeypatch):
    pytest.importorskip("lance")
    kb = base("lance", tmp_path)
    kb.commit(kb.add(made(IDS)))
    ada, before = client_of(app_of(desk_of(kb))), content(kb.snapshot())

    for number, words in (
        (errno.ENOSPC, "No room for the knowledge base"),
        (errno.EROFS, "can't be written (Read-only"),
    ):

        def fails(*_, number=number):
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patched:
            patched.setattr(Journal, "write", fails)
            assert words in edits(ada, asked("delete", ids=["cat/0"]), 1, 400)
    assert content(open_knowledge(kb.path).snapshot()) == content(kb.snapshot()) == before
    assert edits(ada, asked("delete", ids=["cat/0"]), 1)["edit"] == 2


def test_an_edit_is_seen_by_the_next_request(kb, ada):
    desk_sees = done(ada.get("/api/journal"))["version"]
    edits(ada, asked("delete", ids=["cat/0"]), desk_sees)
    assert done(ada.get("/api/journal"))["version"] == desk_sees + 1
