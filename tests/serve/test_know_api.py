"""Answers, lists and the journal by HTTP, held against the functions of the base on the same version."""

from __future__ import annotations

from urllib.parse import quote

import numpy as np
import pytest
from bases import STORES, base, made
from desks import app_of, client_of, desk_of

from itae.knowledge.answers.why import why
from itae.knowledge.curate.duplicates import duplicates, near_duplicate
from itae.knowledge.curate.outliers import outliers
from itae.knowledge.curate.suspects import suspects
from itae.knowledge.records.rows import Rows
from itae.serve.know import lists_api

HOSTILE = '<img src=x onerror="alert(1)">/\n\x00\u202e&amp;'


def clusters(n=40, seed=0, images=True):
    """Return rows of two classes that lie apart, two of them labelled wrongly, three the same picture."""
    draw = np.random.default_rng(seed)
    classes = np.arange(n) % 2
    vectors = draw.normal(size=(n, 4)) * 0.3 + np.eye(4)[classes] * 2
    labels = [["cat", "dog"][one] for one in classes]
    labels[3], labels[8], labels[9] = "cat", "dog", HOSTILE
    vectors[[20, 22]] = vectors[18]
    ids = [f"s/{i}" for i in range(n)]
    ids[5] = HOSTILE
    digests = draw.integers(0, 256, (n, 32), np.uint8)
    digests[[20, 22]] = digests[18]
    held = [[label] for label in labels]
    held[7] = []
    held[11] = ["cat", "dog"]
    return Rows(ids, vectors, held, "web", digests if images else None)


@pytest.fixture(params=STORES)
def kb(request, tmp_path):
    if request.param == "lance":
        pytest.importorskip("lance")
    one = base(request.param, tmp_path)
    one.commit(one.add(clusters()), who="root")
    return one


@pytest.fixture
def desk(kb):
    return desk_of(kb)


@pytest.fixture
def ada(desk):
    return client_of(app_of(desk))


def got(client, path, status=200, **words):
    answer = client.get(path, params=words)
    assert answer.status_code == status, answer.text
    return answer.json() if status == 200 else answer.json()["error"]


def row(one, each):
    i = one.position[each]
    return {"id": each, "number": int(one.numbers_M[i]), "labels": list(one.labels_of(i))}


def without(told, *names):
    return {key: value for key, value in told.items() if key not in names}


def test_a_row_is_told_by_its_neighbours_as_if_it_were_not_there(kb, ada):
    one = kb.snapshot()
    for each in ("s/0", "s/7", HOSTILE, "s/18"):
        i = one.position[each]
        found = ada.post("/api/classify", json={"id": each}).json()
        told = why(one, one.vectors_ME[i], one.digests_M32[i].tobytes(), None, "cpu").plain()
        assert found.pop("query") == {"kind": "row", "id": each, "number": int(one.numbers_M[i])}
        rows = [*found["neighbours"], *found["turn"]["rows"], *found["known"]]
        assert rows
        assert all(told_row.pop("number") == one.numbers_M[one.position[told_row["id"]]] for told_row in rows)
        assert found == {**told, "notes": list(told["notes"])}
        assert each not in {near["id"] for near in found["neighbours"]}
    assert {each["id"] for each in found["known"]} == {"s/18", "s/20", "s/22"}


def test_a_row_without_a_picture_does_not_vote_for_itself(tmp_path):
    kb = base("memory", tmp_path)
    kb.commit(kb.add(clusters(images=False)))
    ada, rest = client_of(app_of(desk_of(kb))), base("memory", tmp_path)
    rows = clusters(images=False)
    keep = [i for i in range(40) if i != 3]
    ids, labels = ([column[i] for i in keep] for column in (rows.ids, rows.labels))
    rest.commit(rest.add(Rows(ids, rows.vectors_NE[keep], labels, "web")))
    found = ada.post("/api/classify", json={"id": "s/3"}).json()
    told = why(rest.snapshot(), kb.snapshot().vectors_ME[3], None, None, "cpu").plain()
    assert found["label"] == told["label"] == "dog"
    assert found["scores"] == told["scores"]
    assert [near["id"] for near in found["neighbours"]] == [near["id"] for near in told["neighbours"]]


def test_the_query_of_a_search_is_told(kb, desk, ada):
    kb.commit(kb.add(made(["q"], [["cat"]], width=4)))
    desk.edited()
    found = ada.post("/api/searches/q/classify", json={}).json()
    assert (found["query"], found["version"]) == ({"kind": "search", "search": "q"}, 2)
    assert [known["id"] for known in found["known"]] == ["q"]
    assert {**found, "query": None} == {**ada.post("/api/classify", json={"id": "q"}).json(), "query": None}
    assert ada.post("/api/searches/q/classify").json() == found
    for name, told in (("words q", "Words can't be classified,"), ("none", "No row of the base has the id 'none'")):
        refused = ada.post(f"/api/searches/{name}/classify", json={})
        assert refused.status_code == 400
        assert told in refused.json()["error"]


def test_suspects_are_those_of_the_base_with_their_neighbours(kb, ada):
    one = kb.snapshot()
    found = got(ada, "/api/lists/suspects", count=7)
    assert found["version"] == 1
    told = [each.plain(one) for each in suspects(one, 7, device="cpu")]
    assert [without(each, "number", "neighbours") for each in found["rows"]] == told
    assert {"s/3", "s/8"} <= {each["id"] for each in found["rows"][:4]}
    for each in found["rows"]:
        assert each["number"] == one.numbers_M[one.position[each["id"]]]
        assert 1 <= len(each["neighbours"]) <= 6
        similar = [near["similarity"] for near in each["neighbours"]]
        assert similar == sorted(similar, reverse=True)
        assert all(without(near, "similarity") == row(one, near["id"]) for near in each["neighbours"])
        assert each["id"] not in {near["id"] for near in each["neighbours"]}
    assert got(ada, "/api/lists/suspects")["rows"][:7] == found["rows"]
    assert len(got(ada, "/api/lists/suspects", count=1000)["rows"]) == len(one.voters)


def test_a_suspect_of_a_small_base_has_the_neighbours_that_there_are(tmp_path):
    kb = base("memory", tmp_path)
    rows = made(["cat/0", "cat/1", "dog/0"])
    rows.digests_N32[1] = rows.digests_N32[0]
    kb.commit(kb.add(rows))
    found = got(client_of(app_of(desk_of(kb))), "/api/lists/suspects")["rows"]
    assert {one["id"]: sorted(near["id"] for near in one["neighbours"]) for one in found} == {
        "cat/0": ["dog/0"],
        "cat/1": ["dog/0"],
        "dog/0": ["cat/0", "cat/1"],
    }


def test_duplicates_are_those_of_the_base(kb, ada):
    one = kb.snapshot()
    for same_bytes, threshold in ((False, near_duplicate(one)), (True, None)):
        found = got(ada, "/api/lists/duplicates", count=2, same_bytes=same_bytes)
        told = duplicates(one, threshold)
        assert (found["version"], found["total"]) == (1, len(told))
        assert len(found["groups"]) == min(2, len(told)) > 0
        for group, own in zip(found["groups"], told, strict=False):
            plain = own.plain(one)
            assert without(group, "rows") == without(plain, "rows")
            assert [without(each, "number") for each in group["rows"]] == plain["rows"]
            assert all(without(each, "similarity") == row(one, each["id"]) for each in group["rows"])
    assert {each["id"] for each in found["groups"][0]["rows"]} == {"s/18", "s/20", "s/22"}


def test_outliers_are_those_of_the_base(kb, ada):
    one = kb.snapshot()
    found = got(ada, "/api/lists/outliers", count=5)
    for name, told in zip(("all", "labels"), outliers(one, 5, "cpu"), strict=True):
        assert [{**without(each, "number", "labels"), "nearest": each["nearest"]["id"]} for each in found[name]] == [
            each.plain(one) for each in told
        ]
        assert len(found[name]) == 5
        for each in found[name]:
            assert without(each, "label", "distance", "nearest") == row(one, each["id"])
            assert each["nearest"] == row(one, each["nearest"]["id"])


def test_lists_are_made_once_for_a_version(kb, ada, monkeypatch):
    calls = []

    def counted(name):
        real = getattr(lists_api, name)

        def look(*words, **more):
            calls.append(name)
            return real(*words, **more)

        monkeypatch.setattr(lists_api, name, look)

    for name in ("suspects", "duplicates", "outliers"):
        counted(name)
    for _ in range(2):
        for name in ("suspects", "duplicates", "outliers"):
            got(ada, f"/api/lists/{name}", count=3)
    assert calls == ["suspects", "duplicates", "outliers"]
    ada.post("/api/edits", json={"verb": "correct", "labels": {"s/3": ["dog"]}, "seen": 1})
    found = got(ada, "/api/lists/suspects", count=3)
    assert found["version"] == 2
    assert "s/3" not in {each["id"] for each in found["rows"]}
    assert calls[3:] == ["suspects"]


def test_of_a_base_that_knows_nothing_lists_are_empty_and_answers_are_refused(tmp_path):
    kb = base("memory", tmp_path)
    desk = desk_of(kb)
    ada = client_of(app_of(desk))
    for told in ("No row of the base has the id 'x'", "None of the 1 rows of this base has a label"):
        assert got(ada, "/api/lists/suspects")["rows"] == []
        assert got(ada, "/api/lists/duplicates")["groups"] == []
        assert got(ada, "/api/lists/outliers")["all"] == []
        assert got(ada, "/api/journal", before=1)["edits"] == []
        answer = ada.post("/api/classify", json={"id": "x"})
        assert answer.status_code == 400
        assert told in answer.json()["error"]
        kb.commit(kb.add(made(["x"], [[]])))
        desk.edited()


def test_the_journal_tells_the_newest_first_and_what_was_undone(kb, desk, ada):
    kb.commit(kb.correct(["s/0"], [HOSTILE]), who="bob", why=HOSTILE)  # 2
    kb.commit(kb.delete(ids=["s/1"]), who="bob")  # 3
    kb.commit(kb.undo(3))  # 4
    kb.commit(kb.undo(2))  # 5
    kb.commit(kb.undo(5))  # 6: so 2 stands again
    found = got(ada, "/api/journal")
    assert found["version"] == 6
    assert [each["edit"] for each in found["edits"]] == [6, 5, 4, 3, 2, 1]
    assert [each["undone_by"] for each in found["edits"]] == [None, 6, None, 4, None, None]
    for told, edit in zip(found["edits"], reversed(kb.log()), strict=True):
        assert without(told, "undone_by") == {
            name: getattr(edit, name) for name in ("edit", "verb", "who", "why", "when", "counts")
        }
    assert found["edits"][4]["why"] == HOSTILE
    some = got(ada, "/api/journal", before=5, count=2)["edits"]
    assert some == found["edits"][2:4]
    assert got(ada, "/api/journal", before=1)["edits"] == []
    assert got(ada, "/api/journal", before=99)["edits"] == found["edits"]
    kb.commit(kb.undo(6))
    for client in (ada, client_of(app_of(desk_of(kb)))):
        desk.edited()
        found = got(client, "/api/journal")["edits"]
        assert [each["undone_by"] for each in found] == [None, 7, None, None, 4, 5, None]


def test_the_journal_forgets_what_a_purge_has(kb, desk, ada):
    kb.commit(kb.delete(ids=["s/1"]))
    kb.commit(kb.undo(2))
    assert [each["undone_by"] for each in got(ada, "/api/journal")["edits"]] == [None, 3, None]
    kb.purge(who="bob")
    desk.edited()
    first, second = (got(each, "/api/journal") for each in (ada, client_of(app_of(desk_of(kb)))))
    assert first == second
    assert [(each["verb"], each["undone_by"]) for each in first["edits"]] == [
        ("purge", None), ("undo", None), ("delete", None), ("add", None),
    ]  # fmt: skip


def test_an_earlier_version_is_shown_with_its_own_journal(kb):
    kb.commit(kb.delete(ids=["s/1"]))
    kb.commit(kb.undo(2))
    found = got(client_of(app_of(desk_of(kb, at=2))), "/api/journal")
    assert [(each["edit"], each["undone_by"]) for each in found["edits"]] == [(2, None), (1, None)]


def test_tags_are_given_moved_and_taken_away(kb, ada):
    kb.commit(kb.delete(ids=["s/1"]))
    strange = "<b>&amp;\u202e\t?#"
    for name in ("clean", "a/b c", strange):
        assert ada.put(f"/api/tags/{quote(name, safe='')}", json={"version": 1}).json()["tags"][name] == 1
    assert ada.put("/api/tags/clean", json={"version": 2}).json()["tags"]["clean"] == 2
    assert got(ada, "/api/tags")["tags"] == kb.tags()
    assert "clean" not in ada.delete("/api/tags/clean").json()["tags"]
    gone = ada.delete("/api/tags/clean")
    assert (gone.status_code, gone.json()["error"][:23]) == (404, "There is no tag 'clean'")
    for answer, words in (
        (ada.put("/api/tags/7", json={"version": 1}), "can't be tagged '7'"),
        (ada.put("/api/tags/x", json={"version": 9}), "There is no version 9"),
        (ada.put("/api/tags/x", json={}), "version"),
    ):
        assert answer.status_code == 400
        assert words in answer.json()["error"]
    assert sorted(kb.tags()) == sorted(["a/b c", strange])


@pytest.mark.parametrize("path", ["lists/suspects", "lists/duplicates", "lists/outliers", "journal"])
def test_counts_are_bounded(tmp_path, path):
    ada = client_of(app_of(desk_of(base("memory", tmp_path))))
    for count in (0, -1, 100_000, "x"):
        assert "count" in got(ada, f"/api/{path}", 400, count=count)
